"""What is normal for a subject: its own daily volume and its own tone, over feed-up days."""

import math
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, Self

from streams.core.records import MILLION
from streams.core.windows import Sums

DAYS: Final = 30
"""Feed-up days that a baseline looks back over."""

MINUTES_PER_DAY: Final = 1440

_REMEMBERED: Final = 45
_LEAST_DAYS: Final = 5
_FEED_UP: Final = 0.25
# Share of a day's stories that a window holds; 8 h hold more than a third because talk has hours.
_SHARE: Final = {"5m": 5 / 1440, "30m": 30 / 1440, "8h": 0.52, "24h": 1.0}
_SHRINK_WEIGHT: Final = 10 * MILLION


@dataclass(frozen=True, slots=True)
class _Past:
    """Daily stories and tone over some feed-up days."""

    up_days: tuple[int, ...]
    mean: float
    variance: float
    w: int
    ws: int


@dataclass(slots=True)
class Days:
    """Stories and tone per day of event time (UTC), of a subject or of a whole partition."""

    by_day: dict[int, list[int]] = field(default_factory=dict)
    """day since the epoch → [stories, Σw, Σws]"""

    _past: _Past | None = field(default=None, repr=False, compare=False)

    def add(self, day: int, sums: Sums) -> None:
        """Add a closed minute, or what a revision added to it."""
        if self._past is not None and day in self._past.up_days:
            self._past = None
        total = self.by_day.setdefault(day, [0, 0, 0])
        total[0] += sums.stories
        total[1] += sums.w
        total[2] += sums.ws

    def expire(self, day: int) -> None:
        """Forget the days that no baseline on that day can look back to."""
        for old in [d for d in self.by_day if d < day - _REMEMBERED]:
            del self.by_day[old]

    def up_days(self, day: int) -> tuple[int, ...]:
        """Return the last days before this one on which the feed was up, oldest first.

        A day without texts or with under a quarter of the median day's stories is a hole of the
        feed, not calm.
        """
        past = sorted(d for d in self.by_day if day - _REMEMBERED <= d < day)
        if not past:
            return ()
        least = _FEED_UP * median(self.by_day[d][0] for d in past)
        return tuple(d for d in past if self.by_day[d][0] >= least)[-DAYS:]

    def tone(self, up_days: tuple[int, ...], prior: float) -> float:
        """Return the mean index over the days, shrunk towards the prior by ten texts' weight."""
        past = self._over(up_days)
        return (past.ws / MILLION + prior * _SHRINK_WEIGHT) / (past.w + _SHRINK_WEIGHT)

    def volume_z(self, window: str, stories: int, up_days: tuple[int, ...]) -> float | None:
        """Return how unusual so many stories in the window are; None with under five days.

        z = (N - m·f) / √(v·f² + ½), with mean m and variance v of the daily stories over the
        feed-up days and f the window's share of a day.

        Source:
            The alert-budget method, measured on the 2014-15 replay.
        """
        if len(up_days) < _LEAST_DAYS:
            return None
        past, share = self._over(up_days), _SHARE[window]
        return (stories - past.mean * share) / math.sqrt(past.variance * share * share + 0.5)

    def usual(self, up_days: tuple[int, ...]) -> float:
        """Return the mean number of stories a day."""
        return self._over(up_days).mean

    def _over(self, up_days: tuple[int, ...]) -> _Past:
        """Return what the days add up to; they rarely change, and every window asks."""
        if self._past is None or self._past.up_days != up_days:
            days = [self.by_day.get(d, (0, 0, 0)) for d in up_days]
            mean = sum(d[0] for d in days) / max(len(days), 1)
            variance = sum((d[0] - mean) ** 2 for d in days) / max(len(days), 1)
            w, ws = sum(d[1] for d in days), sum(d[2] for d in days)
            self._past = _Past(up_days, mean, variance, w, ws)
        return self._past

    def to_row(self) -> list[list[int]]:
        """Return what survives a restart.

        Σws is split in two, since a day of ten million votes passes the 64 bits of a row's integer.
        """
        days = sorted(self.by_day.items())
        return [[day, n, w, *divmod(ws, MILLION)] for day, (n, w, ws) in days]

    @classmethod
    def from_row(cls, row: list[list[Any]]) -> Self:
        """Read it back."""
        return cls({day: [n, w, high * MILLION + low] for day, n, w, high, low in row})
