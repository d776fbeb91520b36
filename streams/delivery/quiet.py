"""Quiet hours: when somebody does not want to be told, by the clock on their wall."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

_MINUTE_MS = 60_000


class QuietHours(BaseModel):
    """A stretch of every day, [begin, end) in local time; over midnight if begin > end.

    Where the clock is turned back within the stretch's end, it is quiet as often as the clock
    says so; where it is turned forward past the end, the stretch ends with the jump.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    begin: time
    end: time
    zone: str
    """IANA name, such as Europe/London"""

    @field_validator("begin", "end")
    @classmethod
    def _whole_minute(cls, value: time) -> time:
        if value.second or value.microsecond or value.tzinfo:
            raise ValueError("must be hours and minutes, such as 22:30")
        return value

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            _zone(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be an IANA time zone, such as Europe/London") from None
        return value

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.begin == self.end:
            raise ValueError("begin and end must differ")
        return self

    def covers(self, now: int) -> bool:
        """Return whether a moment (milliseconds since the epoch) lies within."""
        local = datetime.fromtimestamp(now / 1000, _zone(self.zone)).time()
        if self.begin < self.end:
            return self.begin <= local < self.end
        return local >= self.begin or local < self.end

    def over_at(self, now: int) -> int:
        """Return the first moment from `now` on that is not quiet."""
        if not self.covers(now):
            return now
        day = datetime.fromtimestamp(now / 1000, _zone(self.zone)).date()
        ends = {
            moment
            for days in range(3)
            for moment in _moments(datetime.combine(day + timedelta(days), self.end), self.zone)
        }
        return min(at for at in ends if at > now and not self.covers(at))


def _moments(wall: datetime, name: str) -> Iterator[int]:
    """Yield when a clock on the wall says so: once, twice, or, if it jumps past, at the jump."""
    zone = _zone(name)
    first, second = (_ms(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if second >= first:
        yield first
        yield second
        return
    # Reading it by the offset of before or after lands behind or before the jump.
    low, high = second, first
    before = _offset(low, zone)
    while high - low > _MINUTE_MS:
        middle = (low + high) // 2 // _MINUTE_MS * _MINUTE_MS
        low, high = (middle, high) if _offset(middle, zone) == before else (low, middle)
    yield high


def _offset(ms: int, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(ms / 1000, zone).utcoffset()


def _ms(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1000)


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
