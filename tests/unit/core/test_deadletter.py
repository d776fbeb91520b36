"""Dead letters keep the original and tell its story; the budget tells a flood."""

import pytest

from streams.core.deadletter import (
    MAX_ERROR_BYTES,
    MAX_VALUE_BYTES,
    DeadLetter,
    DeadLetterBudget,
)


def letter(**fields: object) -> DeadLetter:
    defaults: dict[str, object] = {
        "topic": "texts.news.v1",
        "partition": 2,
        "offset": 17,
        "timestamp_ms": 1_790_000_000_000,
        "key": b"k",
        "value": b"\xff not json",
        "stage": "decode",
        "reason": "undecodable",
        "failed_at_ms": 1_790_000_000_123,
    }
    return DeadLetter(**{**defaults, **fields})  # type: ignore[arg-type]


def test_the_headers_are_readable() -> None:
    headers = dict(letter(error="UndecodableRecord: no JSON", model="opinion/1").to_headers())
    assert headers["dl.version"] == b"1"
    assert headers["dl.topic"] == b"texts.news.v1"
    assert headers["dl.offset"] == b"17"
    assert headers["dl.failed_at"] == b"2026-09-21T14:13:20.123+00:00"
    assert "dl.cut" not in headers


def test_the_id_is_that_of_the_place() -> None:
    assert letter().id == letter(reason="schema", failed_at_ms=0).id
    assert letter().id != letter(offset=18).id
    assert letter().origin == ("texts.news.v1", 2, 17)


def test_a_large_value_is_cut_and_marked_once() -> None:
    cut = letter(value=b"x" * (MAX_VALUE_BYTES + 5)).bounded()
    assert cut.value == b"x" * MAX_VALUE_BYTES
    assert cut.cut == MAX_VALUE_BYTES + 5
    assert cut.bounded() == cut
    assert dict(cut.to_headers())["dl.cut"] == str(MAX_VALUE_BYTES + 5).encode()


def test_a_long_error_is_cut_between_characters() -> None:
    error = letter(error="é" * MAX_ERROR_BYTES + "\ud800").bounded().error
    assert error == "é" * (MAX_ERROR_BYTES // 2)
    assert letter().bounded() == letter()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"dl.version": b"2"}, "version '2'"),
        ({"dl.offset": b"x"}, "invalid literal"),
        ({"dl.failed_at": b"yesterday"}, "Invalid isoformat"),
        ({"dl.topic": None}, "header 'dl.topic' is missing"),
    ],
)
def test_foreign_headers_are_refused(change: dict[str, bytes | None], complaint: str) -> None:
    headers = {**dict(letter().to_headers()), **change}
    given = [(name, value) for name, value in headers.items() if value is not None]
    with pytest.raises(ValueError, match=complaint):
        DeadLetter.from_headers(given, None, None)


def record(budget: DeadLetterBudget, dead: str) -> list[bool]:
    spent = []
    for char in dead:
        budget.record(char == "x")
        spent.append(budget.spent)
    return spent


def test_the_share_counts_only_once_the_window_is_full() -> None:
    # window:  xx.x | x.x.  -> 3 of 4 is over a half, 2 of 4 is not
    budget = DeadLetterBudget(window=4, ratio=0.5, run=100)
    assert record(budget, "xx.xx..") == [False, False, False, True, True, False, False]


def test_a_run_of_dead_texts_spends_the_budget_before_the_window_is_full() -> None:
    budget = DeadLetterBudget(window=1000, ratio=0.5, run=3)
    assert record(budget, "xx.xxx") == [False] * 5 + [True]


def test_an_accepted_flood_begins_a_new_budget() -> None:
    budget = DeadLetterBudget(window=4, ratio=0.5, run=3)
    record(budget, "xxxx")
    budget.accept()
    assert record(budget, "xx.") == [False, False, False]
