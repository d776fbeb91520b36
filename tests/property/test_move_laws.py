"""The parts of a move add up to it exactly, and so do the contributions of its texts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.feed import Feed
from streams.core.move import levels, move
from streams.core.records import MILLION, Origin
from streams.core.subject import Subject
from streams.core.sums import Sums
from streams.core.votes import Vote
from streams.core.windows import WINDOWS

BEGIN = 28_000_000
COUNTS = st.integers(0, 50)
WEIGHTS = st.integers(0, 50 * MILLION)


@st.composite
def sums(draw: st.DrawFn) -> Sums:
    negative, neutral, positive = draw(COUNTS), draw(COUNTS), draw(COUNTS)
    texts = negative + neutral + positive
    w = draw(WEIGHTS) if texts else 0
    echo = w + (draw(WEIGHTS) if texts else 0)
    ws, echo_ws = (x * draw(st.integers(-MILLION, MILLION)) for x in (w, echo))
    return Sums.from_row([texts, 0, negative, neutral, positive, w, ws, 0, 0, echo, echo_ws])


@given(sums(), sums(), st.none() | st.floats(-1, 1))
def test_volume_tone_and_novelty_are_the_whole_move(
    now: Sums, before: Sums, baseline: float | None
) -> None:
    moved = move(now, before, baseline)
    comparable = before.tone.w > 0 or baseline is not None
    assert (moved is not None) == (now.tone.w > 0 and comparable)
    if moved is not None:
        assert moved.total == moved.now - moved.before == moved.volume + moved.tone + moved.novelty
        assert moved.remainder == moved.total
        assert moved.since == ("window" if before.tone.w else "baseline")
        assert abs(moved.now - now.tone.ws / now.tone.w) <= 0.5


@given(sums())
def test_nothing_moves_between_equal_windows(same: Sums) -> None:
    moved = move(same, same, None)
    assert (moved is None) == (levels(same) is None)
    if moved is not None:
        assert (moved.total, moved.volume, moved.tone, moved.novelty) == (0, 0, 0, 0)


TEXTS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 6, 31, 500, 1441, 1900]),
        st.integers(-MILLION, MILLION),
        st.integers(0, MILLION),
        st.integers(0, 4),
        st.sampled_from(["", "ann", "bob"]),
    ),
    min_size=1,
    max_size=30,
)


def vote(number: int, minute: int, score: int, weight: int, story: int, author: str) -> Vote:
    return Vote(
        id=str(number),
        text_id=f"{number:032x}"[::-1],
        subject="ticker:AAPL",
        event_time=minute * 60_000 + number,
        channel="c",
        score=score,
        label=1 + (score > 300_000) - (score < -300_000),
        relevance=weight,
        confidence=MILLION,
        fingerprint=f"{story * 0x1111111111111111:016x}",
        author=author,
        origin=Origin("texts.news.v1", 0, number),
        index=0,
        model="m/1",
        ingested_at=0,
        scored_at=0,
        snippet="",
    )


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(0, 25))
def test_contributions_and_the_remainder_are_the_whole_move(
    texts: list[tuple[int, int, int, int, str]], most: int
) -> None:
    subject = Subject("ticker:AAPL")
    minute = BEGIN
    for number, (ahead, *rest) in enumerate(texts):
        minute += ahead
        subject.receive(vote(number, minute, *rest))
        if number + 1 < len(texts) and texts[number + 1][0] == 0:
            continue
        subject.close(minute)
        for values in subject.values(minute, Feed()).values():
            moved = values.move
            if moved is None:
                continue
            assert moved.total == sum(moved.contributions) + moved.remainder
            assert len(moved.contributions) == len(values.evidence)
            assert moved.remaining_texts == values.texts - len(values.evidence)
            assert values.index is not None
            assert abs(moved.now / MILLION - values.index) <= 1e-6
        for window in WINDOWS:
            moved, movers = subject.moved_by(window, minute, 0.1, most)
            if moved is None:
                continue
            assert moved.total == sum(moved.contributions) + moved.remainder
            assert len(movers) == len(moved.contributions) <= most
            sizes = [abs(part) for part in moved.contributions]
            assert sizes == sorted(sizes, reverse=True)
            if moved.remaining_texts == 0:  # all are shown: only rounding is left
                assert abs(moved.remainder) <= len(movers) / 2 + 0.5
        subject.advance(minute)
