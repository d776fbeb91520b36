"""The pauses are the specification's, and a receiver may lengthen them up to a day."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from streams.delivery.retries import ATTEMPTS, JITTER, PLAN_S, pause_ms, retry_after_ms

NOW = 1_792_108_805_000
DAY_MS = 86_400_000
# Time since the start of each attempt, as the specification's table has it.
SPECIFIED = ("0:00:05", "0:05:05", "0:35:05", "2:35:05", "7:35:05")
SPECIFIED_LATE = ("17:35:05", "31:35:05", "51:35:05", "75:35:05")


def test_the_plan_is_the_specifications() -> None:
    elapsed, said = 0, []
    for pause in PLAN_S:
        elapsed += pause
        said.append(f"{elapsed // 3600}:{elapsed // 60 % 60:02}:{elapsed % 60:02}")
    assert tuple(said) == SPECIFIED + SPECIFIED_LATE
    assert ATTEMPTS == 10


@pytest.mark.parametrize("attempt", range(1, ATTEMPTS))
def test_jitter_only_lengthens_a_pause(attempt: int) -> None:
    planned = PLAN_S[attempt - 1] * 1000
    assert pause_ms(attempt, 0.0) == planned
    assert pause_ms(attempt, 0.5) == round(planned * (1 + JITTER / 2))
    assert planned < (pause_ms(attempt, 0.999_999) or 0) <= planned * (1 + JITTER)


def test_after_the_last_attempt_there_is_none_whatever_is_asked() -> None:
    assert pause_ms(ATTEMPTS, 0.3, 5_000) is None


def test_the_longer_pause_counts() -> None:
    assert pause_ms(1, 0.0, 60_000) == 60_000
    assert pause_ms(2, 0.0, 60_000) == 300_000


@pytest.mark.parametrize(("attempt", "drawn"), [(0, 0.5), (1, 1.0), (1, -0.1)])
def test_nonsense_is_refused(attempt: int, drawn: float) -> None:
    with pytest.raises(ValueError, match="attempt"):
        pause_ms(attempt, drawn)


def test_retry_after_is_read_in_both_forms_and_bounded() -> None:
    in_an_hour = format_datetime(datetime.fromtimestamp(NOW / 1000 + 3600, UTC), usegmt=True)
    cases = {
        "0": 0,
        " 120 ": 120_000,
        "86400": DAY_MS,
        "86401": DAY_MS,
        "9" * 5000: DAY_MS,
        in_an_hour: 3_600_000,
        "Sun, 06 Nov 1994 08:49:37 GMT": 0,
        "Fri, 31 Dec 9999 23:59:59 GMT": DAY_MS,
    }
    assert {text: retry_after_ms(text, NOW) for text in cases} == cases


@pytest.mark.parametrize(
    "text", [None, "", "soon", "-5", "1.5", "1e3", "٣", "Sun, 99 Nov 1994 08:49:37 GMT"]
)
def test_what_is_no_pause_counts_as_not_given(text: str | None) -> None:
    assert retry_after_ms(text, NOW) is None
