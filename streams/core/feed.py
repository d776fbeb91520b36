"""What a whole votes partition tells about a day: when the feed was up, and what is usual."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streams.core.baseline import LEAST_DAYS, MINUTES_PER_DAY, Days
from streams.core.week import Week, pooled

_HOURS: Final = {"5m": 1, "30m": 1, "8h": 8, "24h": 24}
"""Full hours before the present one by which a window's feed is judged."""
_FEED_UP: Final = 0.25
_LEAST_EXPECTED: Final = 20.0
"""With fewer stories to expect, their absence says nothing about the feed."""


@dataclass(frozen=True, slots=True)
class Feed:
    """The feed as seen from an hour."""

    up_days: tuple[int, ...] = ()
    """feed-up days before the present one, oldest first"""
    prior: float = 0.0
    """mean tone of the whole partition over them"""
    week: Week | None = None
    """the partition's usual week; None with under five feed-up days"""
    holes: Mapping[str, bool] = field(default_factory=dict)
    """window → whether the feed brought under a quarter of its usual"""


def feed_at(days: Days, minute: int, known: Feed | None = None) -> Feed:
    """Return the feed as seen from a minute.

    Args:
        days: Of the whole partition.
        minute: A minute since the epoch; the feed is the same for all of its hour.
        known: The feed seen from an earlier hour of the same day.
    """
    if known is None:
        up_days = days.up_days(minute // MINUTES_PER_DAY)
        week = pooled(days, up_days) if len(up_days) >= LEAST_DAYS else None
        known = Feed(up_days, days.tone(up_days, 0.0), week)
    hour = minute // 60
    holes = {name: _hole(days, known.week, hour, length) for name, length in _HOURS.items()}
    return Feed(known.up_days, known.prior, known.week, holes)


def _hole(days: Days, week: Week | None, hour: int, length: int) -> bool:
    if week is None:
        return False
    expected = week.expected(hour * 60 - 1, length * 60)
    if expected < _LEAST_EXPECTED:
        return False
    return days.hours_between(hour - length, hour - 1) < _FEED_UP * expected
