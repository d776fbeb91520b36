"""Laws of dead letters."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from streams.core.deadletter import DeadLetter, DeadLetterBudget

TEXT = st.text(st.characters(codec="utf-8"))
NUMBER = st.integers(0, 2**53)
LETTERS = st.builds(
    DeadLetter,
    topic=TEXT,
    partition=st.integers(0, 2**31 - 1),
    offset=NUMBER,
    timestamp_ms=st.integers(-1, 2**53),
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    stage=TEXT,
    reason=TEXT,
    error=TEXT,
    field=TEXT,
    service=TEXT,
    model=TEXT,
    failed_at_ms=st.integers(0, 4_000_000_000_000),
    attempts=NUMBER,
    cut=st.none() | NUMBER,
)


@given(LETTERS)
def test_from_headers_undoes_to_headers(letter: DeadLetter) -> None:
    assert DeadLetter.from_headers(letter.to_headers(), letter.key, letter.value) == letter


@given(LETTERS)
def test_bounding_is_idempotent_and_keeps_the_id(letter: DeadLetter) -> None:
    bounded = letter.bounded()
    assert bounded.bounded() == bounded
    assert bounded.id == letter.id


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 20), st.integers(1, 20))
def test_the_budget_agrees_with_its_definition(fates: list[bool], window: int, run: int) -> None:
    budget = DeadLetterBudget(window, 0.5, run)
    recent: deque[bool] = deque(maxlen=window)
    for count, dead in enumerate(fates, 1):
        budget.record(dead)
        recent.append(dead)
        share = count >= window and sum(recent) > window / 2
        in_a_row = count >= run and all(fates[count - run : count])
        assert budget.spent == (share or in_a_row)
