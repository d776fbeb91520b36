"""Baselines look back over days on which the feed was up."""

import pytest

from streams.core.baseline import Days
from streams.core.records import MILLION
from streams.core.sums import Sums, Tone


def days(*stories: int, score: int = 0) -> Days:
    made = Days()
    for day, n in enumerate(stories, 100):
        if n:
            tone = Tone(n * MILLION, n * MILLION * score)
            made.add(day * 1440 + 90, Sums(n, n, tone=tone))
    return made


def test_holes_of_the_feed_are_no_calm_days() -> None:
    # day:     100 101 102 103 104 | 105
    # stories:  10  10   0   2  12 |  ?      a quarter of the median (10) is 2.5
    assert days(10, 10, 0, 2, 12).up_days(105) == (100, 101, 104)


def test_a_day_does_not_look_at_itself_or_the_future() -> None:
    assert days(10, 10, 10).up_days(101) == (100,)
    assert days(10, 10).up_days(100) == ()


def test_thirty_feed_up_days_are_enough() -> None:
    assert days(*[5] * 44).up_days(144) == tuple(range(114, 144))


def test_days_that_no_baseline_needs_are_forgotten() -> None:
    made = days(*[5] * 50)
    before = made.up_days(149)
    made.expire(149)
    assert min(made.by_day) == 104
    assert made.up_days(149) == before


def test_volume_needs_five_days() -> None:
    made = days(*[10] * 5)
    assert made.volume_z("24h", 20, made.up_days(104)) is None
    assert made.volume_z("24h", 20, made.up_days(105)) == pytest.approx(10 / 0.5**0.5)


def test_volume_is_measured_in_the_spread_of_days() -> None:
    made = days(8, 12, 8, 12, 10)
    variance = (4 + 4 + 4 + 4) / 5
    z = (20 - 10 * 0.52) / (variance * 0.52**2 + 0.5) ** 0.5
    assert made.volume_z("8h", 20, made.up_days(105)) == pytest.approx(z)


def test_days_on_which_the_subject_was_silent_count_as_zero() -> None:
    partition, subject = days(*[10] * 6), days(0, 0, 0, 0, 0, 6)
    up = partition.up_days(106)
    assert subject.usual(up) == 1.0
    assert subject.volume_z("24h", 1, up) == 0.0


def test_tone_is_shrunk_by_ten_texts_towards_the_prior() -> None:
    made = days(10, score=MILLION)
    assert made.tone((100,), 0.0) == pytest.approx(0.5)
    assert made.tone((100,), 1.0) == pytest.approx(1.0)
    assert days().tone((), 0.3) == pytest.approx(0.3)
