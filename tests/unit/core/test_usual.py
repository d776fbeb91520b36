"""What is usual and how rare the rest: tails, hours of the week, holes of the feed, S(t)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import decay
from streams.core.baseline import Days
from streams.core.feed import feed_at
from streams.core.records import MILLION
from streams.core.subject import Subject
from streams.core.sums import Sums, Tone
from streams.core.tails import rarity
from streams.core.week import HOURS, own, pooled

DAY = 1440
MONDAY = 19_702
"""a Monday since the epoch"""


def days(counts: dict[int, int], score: int = 0) -> Days:
    """Days with so many stories at each hour since the epoch."""
    made = Days()
    for hour, n in counts.items():
        tone = Tone(n * MILLION, n * MILLION * score)
        made.add(hour * 60 + 7, Sums(n, n, tone=tone))
    return made


@given(st.integers(1, 60), st.floats(0.05, 60), st.floats(0.5, 1000))
def test_rarity_is_the_tail_added_up(count: int, mean: float, shape: float) -> None:
    p = shape / (shape + mean)
    below = math.fsum(
        math.exp(
            math.lgamma(k + shape)
            - math.lgamma(shape)
            - math.lgamma(k + 1)
            + shape * math.log(p)
            + k * math.log1p(-p)
        )
        for k in range(count)
    )
    if 1 - below > 1e-6:  # the sum has no more digits
        assert rarity(count, mean, shape) == pytest.approx(-math.log10(1 - below), abs=1e-4)


@given(st.integers(0, 100_000), st.floats(0.01, 100_000), st.floats(0.5, 1e6))
def test_more_is_rarer(count: int, mean: float, shape: float) -> None:
    assert 0 <= rarity(count, mean, shape) <= rarity(count + 1, mean, shape) + 1e-6 <= 301


def test_a_profile_adds_up_to_its_week_from_any_minute() -> None:
    counts = {(MONDAY + d) * 24 + 14: 10 + d for d in range(28)}
    up = tuple(range(MONDAY, MONDAY + 28))
    week = pooled(days(counts), up)
    for minute in (MONDAY * DAY, MONDAY * DAY + 12_345):
        assert week.expected(minute, HOURS * 60) == pytest.approx(week.total)
        halves = week.expected(minute, 200) + week.expected(minute - 200, 300)
        assert halves == pytest.approx(week.expected(minute, 500))
    assert week.expected(MONDAY * DAY + 15 * 60 - 1, 60) > 5 * week.expected(MONDAY * DAY + 59, 60)


def test_a_quiet_subject_has_the_hours_of_the_pool_and_a_loud_one_its_own() -> None:
    # the pool talks at 14 h, the subjects at 3 h
    up = tuple(range(MONDAY, MONDAY + 28))
    pool = pooled(days({day * 24 + 14: 100 for day in up}), up)
    quiet = own(days({MONDAY * 24 + 3: 1}), up, pool)
    loud = own(days({day * 24 + 3: 200 for day in up}), up, pool)
    three, two = MONDAY * DAY + 4 * 60 - 1, MONDAY * DAY + 15 * 60 - 1
    assert quiet.expected(two, 60) > quiet.expected(three, 60)
    assert loud.expected(three, 60) > 10 * loud.expected(two, 60)
    assert quiet.total == pytest.approx(1.5 / 4)
    assert loud.total == pytest.approx(1400, rel=1e-3)


def test_a_feed_that_brings_under_a_quarter_is_a_hole_where_enough_is_expected() -> None:
    # 28 days of 40 stories an hour | then an hour of 5
    first = MONDAY * 24
    counts = {first + n: 40 for n in range(28 * 24 + 12)}
    hour = first + 28 * 24 + 12
    assert not any(feed_at(days(counts), hour * 60, None).holes.values())
    silent = feed_at(days({**counts, hour - 1: 5}), hour * 60, None)
    assert silent.holes == {"5m": True, "30m": True, "8h": False, "24h": False}
    thin = dict.fromkeys(counts, 1)
    assert not any(feed_at(days(thin), hour * 60, None).holes.values())


def test_states_tell_why_numbers_are_none() -> None:
    subject = Subject("ticker:AAPL")
    values = subject.values(MONDAY * DAY, feed_at(Days(), MONDAY * DAY))
    assert {v.state for v in values.values()} == {"blind"}
    assert {v.expected for v in values.values()} == {None}
    known = feed_at(days({(MONDAY + n) * 24: 10 for n in range(6)}), (MONDAY + 6) * DAY)
    values = subject.values((MONDAY + 6) * DAY, known)
    assert {v.state for v in values.values()} == {"thin"}
    assert all(v.expected is not None and v.buzz is not None for v in values.values())


def test_s_halves_in_sixteen_hours() -> None:
    grown = decay.grown(2 * MILLION * MILLION, MONDAY * DAY + 30, MONDAY)
    assert decay.level(grown, MONDAY * DAY + 30, MONDAY) == pytest.approx(2.0, rel=1e-5)
    assert decay.level(grown, MONDAY * DAY + 30 + 960, MONDAY) == pytest.approx(1.0, rel=1e-5)


def test_s_is_measured_in_the_spread_of_twenty_days() -> None:
    # one full positive text at the end of each day, none, one, none ...
    up = tuple(range(MONDAY, MONDAY + 24))
    made = days({d * 24 + 23: d % 2 for d in up}, score=MILLION)
    ends = [(d % 2) * 0.5 ** (52 / 960) for d in up[-20:]]
    mean = sum(ends) / 20
    scale = made.s_scale(up)
    assert scale is not None
    assert scale[0] == pytest.approx(mean, rel=1e-5)
    variance = sum((s - mean) ** 2 for s in ends) / 20
    assert scale[1] == pytest.approx((variance + 0.35**2) ** 0.5, rel=1e-5)
    assert made.s_scale(up[:4]) is None
