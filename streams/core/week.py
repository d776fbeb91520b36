"""How much talk is usual at which hour of the week."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from streams.core.baseline import HOURS_PER_DAY, Days

HOURS: Final = 168
"""Hours of a week, from Monday 0:00 UTC."""

_MONDAY: Final = 3
"""The epoch began on a Thursday."""
_PRIOR_DAYS: Final = 1.0
_PRIOR_SHAPE: Final = 4.0
_LEAST_STORIES: Final = 0.5
_LEAST_RATE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Week:
    """Expected stories of each hour of the week."""

    rates: tuple[float, ...]
    sums: tuple[float, ...]
    """of the hours before each hour"""
    total: float
    """stories a week"""

    @classmethod
    def of(cls, rates: Sequence[float]) -> "Week":
        """Return the week with these rates."""
        sums = tuple(accumulate(rates, initial=0.0))
        return cls(tuple(rates), sums, sums[-1])

    def expected(self, minute: int, length: int) -> float:
        """Return the stories to expect in the minutes minute - length + 1 … minute."""
        end = self._until(minute + 1)
        return end - self._until(minute + 1 - length)

    def _until(self, minute: int) -> float:
        hours, rest = divmod(minute + _MONDAY * 1440, 60)
        weeks, hour = divmod(hours, HOURS)
        return weeks * self.total + self.sums[hour] + self.rates[hour] * rest / 60


def pooled(days: Days, up_days: Sequence[int]) -> Week:
    """Return the hour-of-week profile of a whole votes partition.

    Each hour's rate is shrunk towards the mean hour by one day's worth: four Mondays tell little.
    """
    counts, observed = _by_hour(days, up_days)
    mean = sum(counts) / max(sum(observed) * HOURS_PER_DAY, 1)
    return Week.of(
        [
            (n + _PRIOR_DAYS * mean) / (observed[hour // HOURS_PER_DAY] + _PRIOR_DAYS)
            for hour, n in enumerate(counts)
        ]
    )


def own(days: Days, up_days: Sequence[int], pool: Week) -> Week:
    """Return a subject's profile: its own level, and its own hours shrunk towards the pooled ones.

    With the subject's mean rate spread as the pool is, μ_h, the rate of an hour is the posterior
    mean (4 + n_h)/(4/μ_h + days) of a gamma prior of shape 4 around μ_h: a subject of few stories
    has the pool's hours, one of many has its own.

    Source:
        Gamma-Poisson shrinkage: Gelman et al., Bayesian Data Analysis (2013), section 2.6.
    """
    counts, observed = _by_hour(days, up_days)
    seen = max(sum(observed) * HOURS_PER_DAY, 1)
    level = (sum(counts) + _LEAST_STORIES) / seen * HOURS
    rates = []
    for hour, n in enumerate(counts):
        prior = max(level * pool.rates[hour] / (pool.total or 1.0), _LEAST_RATE)
        rates.append((_PRIOR_SHAPE + n) / (_PRIOR_SHAPE / prior + observed[hour // HOURS_PER_DAY]))
    scale = level / sum(rates)
    return Week.of([rate * scale for rate in rates])


def _by_hour(days: Days, up_days: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the stories of each hour of the week, and how many of each weekday were seen."""
    counts, observed = [0] * HOURS, [0] * 7
    for number in up_days:
        weekday = (number + _MONDAY) % 7
        day = days.by_day.get(number)
        if day is None:
            observed[weekday] += 1
        elif day.hours is not None:
            observed[weekday] += 1
            first = weekday * HOURS_PER_DAY
            for hour, n in enumerate(day.hours, first):
                counts[hour] += n
    return counts, observed
