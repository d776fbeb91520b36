"""What is normal for a subject: its own daily volume and its own tone, over feed-up days."""

import math
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, Self

from streams.core import decay
from streams.core.records import MILLION
from streams.core.sums import Sums

DAYS: Final = 30
"""Feed-up days that a baseline looks back over."""

LEAST_DAYS: Final = 5
"""Feed-up days without which nothing is called unusual."""

MINUTES_PER_DAY: Final = 1440
HOURS_PER_DAY: Final = 24

_REMEMBERED: Final = 45
_FEED_UP: Final = 0.25
# Share of a day's stories that a window holds; 8 h hold more than a third because talk has hours.
_SHARE: Final = {"5m": 5 / 1440, "30m": 30 / 1440, "8h": 0.52, "24h": 1.0}
_SHRINK_WEIGHT: Final = 10 * MILLION
_SCORE_DAYS: Final = 20
_TYPICAL_VARIANCE: Final = 0.35**2


@dataclass(slots=True)
class Day:
    """What a day holds."""

    stories: int = 0
    w: int = 0
    ws: int = 0
    grown: int | None = 0
    """what its texts add to S(t), as of its beginning; None in rows up to schema 3"""
    hours: list[int] | None = field(default_factory=lambda: [0] * HOURS_PER_DAY)
    """stories by hour; None in rows up to schema 3"""


_SILENT: Final = Day()


@dataclass(frozen=True, slots=True)
class Past:
    """Daily stories and tone over some feed-up days."""

    up_days: tuple[int, ...]
    mean: float
    variance: float
    w: int
    ws: int
    s: tuple[float, float] | None
    """mean and standard deviation of S(t) at the ends of days"""


@dataclass(slots=True)
class Days:
    """Stories and tone per day of event time (UTC), of a subject or of a whole partition."""

    by_day: dict[int, Day] = field(default_factory=dict)
    """day since the epoch → what it holds"""
    past_moved: bool = field(default=False, repr=False, compare=False)
    """whether `past_row` has changed since it was taken"""

    _past: Past | None = field(default=None, repr=False, compare=False)

    def add(self, minute: int, sums: Sums) -> None:
        """Add a closed minute, or what a revision added to it."""
        number, of_day = divmod(minute, MINUTES_PER_DAY)
        if self._past is not None and number in self._past.up_days:
            self._past = None
        day = self.by_day.get(number)
        if day is None:
            self.past_moved = True
            day = self.by_day[number] = Day()
        elif number < self._young:
            self.past_moved = True
        day.stories += sums.stories
        day.w += sums.tone.w
        day.ws += sums.tone.ws
        if day.grown is not None:
            day.grown += decay.grown(sums.tone.ws, minute, number)
        if day.hours is not None:
            day.hours[of_day // 60] += sums.stories

    def expire(self, day: int) -> None:
        """Forget the days that no baseline on that day can look back to."""
        for old in [d for d in self.by_day if d < day - _REMEMBERED]:
            del self.by_day[old]
            self.past_moved = True

    def up_days(self, day: int) -> tuple[int, ...]:
        """Return the last days before this one on which the feed was up, oldest first.

        A day without texts or with under a quarter of the median day's stories is a hole of the
        feed, not calm.
        """
        past = sorted(d for d in self.by_day if day - _REMEMBERED <= d < day)
        if not past:
            return ()
        least = _FEED_UP * median(self.by_day[d].stories for d in past)
        return tuple(d for d in past if self.by_day[d].stories >= least)[-DAYS:]

    def tone(self, up_days: tuple[int, ...], prior: float) -> float:
        """Return the mean index over the days, shrunk towards the prior by ten texts' weight.

        (Σws + 10·prior)/(Σw + 10), the posterior mean under a prior of ten texts. Financial texts
        are positive on average: only a subject's own usual tells what is negative for it.

        Source:
            Shrinkage: Efron, Morris: Stein's Estimation Rule and its Competitors. JASA 68 (1973);
            the debiasing against the own past is InsiderStreet's and the alert-budget method's.
        """
        past = self.over(up_days)
        return (past.ws / MILLION + prior * _SHRINK_WEIGHT) / (past.w + _SHRINK_WEIGHT)

    def volume_z(self, window: str, stories: int, up_days: tuple[int, ...]) -> float | None:
        """Return how unusual so many stories in the window are; None with under five days.

        z = (N - m·f) / √(v·f² + ½), with mean m and variance v of the daily stories over the
        feed-up days and f the window's share of a day.

        Source:
            The alert-budget method, measured on the 2014-15 replay.
        """
        if len(up_days) < LEAST_DAYS:
            return None
        past, share = self.over(up_days), _SHARE[window]
        return (stories - past.mean * share) / math.sqrt(past.variance * share * share + 0.5)

    def s_scale(self, up_days: tuple[int, ...]) -> tuple[float, float] | None:
        """Return S-Mean and S-Volatility; None with under five days.

        Our choice where the vendor's pages differ: both are of S, not of Raw-S; taken at the ends
        of the last 20 feed-up days; and the variance of one text is added to that of S, so that a
        subject that is always silent is not infinitely surprised by its first text.

        Source:
            Social Market Analytics: S-Score = (S - S-Mean) / S-Volatility over 20 days.
        """
        return self.over(up_days).s

    def usual(self, up_days: tuple[int, ...]) -> float:
        """Return the mean number of stories a day."""
        return self.over(up_days).mean

    def hours_between(self, first: int, last: int) -> int:
        """Return the stories of the hours first … last, counted since the epoch."""
        total = 0
        for hour in range(first, last + 1):
            day, of_day = divmod(hour, HOURS_PER_DAY)
            total += (self.by_day.get(day, _SILENT).hours or _SILENT.hours or [])[of_day]
        return total

    def over(self, up_days: tuple[int, ...]) -> Past:
        """Return what the days add up to: the same object until one of them changes."""
        if self._past is None or self._past.up_days != up_days:
            days = [self.by_day.get(d, _SILENT) for d in up_days]
            mean = sum(d.stories for d in days) / max(len(days), 1)
            variance = sum((d.stories - mean) ** 2 for d in days) / max(len(days), 1)
            w, ws = sum(d.w for d in days), sum(d.ws for d in days)
            self._past = Past(up_days, mean, variance, w, ws, self._scale(up_days))
        return self._past

    def _scale(self, up_days: tuple[int, ...]) -> tuple[float, float] | None:
        ends = [
            decay.level(grown, (d + 1) * MINUTES_PER_DAY - 1, d)
            for d in up_days[-_SCORE_DAYS:]
            if (grown := self.by_day.get(d, _SILENT).grown) is not None
        ]
        if len(ends) < LEAST_DAYS:
            return None
        mean = sum(ends) / len(ends)
        variance = sum((s - mean) ** 2 for s in ends) / len(ends)
        return mean, math.sqrt(variance + _TYPICAL_VARIANCE)

    # -- rows -------------------------------------------------------------------------------

    @property
    def _young(self) -> int:
        """The first day that may still change: revisions reach back a day."""
        return max(self.by_day, default=0) - 1

    def to_row(self) -> list[list[Any]]:
        """Return the two newest days, which change all the time."""
        young = self._young
        return self._rows(d for d in self.by_day if d >= young)

    def past_row(self) -> list[list[Any]]:
        """Return the days before, which are written down once a day."""
        young = self._young
        self.past_moved = False
        return self._rows(d for d in self.by_day if d < young)

    def _rows(self, days: Any) -> list[list[Any]]:
        # Σws is split in two and S(t) is text: both pass the 64 bits of a row's integer.
        return [
            [number, day.stories, day.w, *divmod(day.ws, MILLION), _text(day.grown), day.hours]
            for number, day in sorted((d, self.by_day[d]) for d in days)
        ]

    def restore(self, row: list[list[Any]]) -> None:
        """Read days back, also as schema 3 wrote them."""
        for number, stories, w, high, low, *rest in row:
            grown, hours = rest or (None, None)
            # All days stood in one row: the older ones need theirs.
            self.past_moved = self.past_moved or not rest
            known = None if grown is None else int(grown)
            self.by_day[number] = Day(stories, w, high * MILLION + low, known, hours)
        self._past = None

    @classmethod
    def from_row(cls, row: list[list[Any]]) -> Self:
        """Return the days of a row."""
        days = cls()
        days.restore(row)
        return days


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
