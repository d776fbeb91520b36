"""Votes, markers and rows come back from their bytes as they were, at their limits too."""

from dataclasses import replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from streams.core.baseline import Days
from streams.core.records import MILLION, Origin
from streams.core.subject import Episode, Subject
from streams.core.sums import Sums, Tone
from streams.core.votes import Marker, Vote
from streams.core.windows import Bucket

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
VOTES = st.builds(
    Vote,
    id=TEXT,
    text_id=TEXT,
    subject=TEXT,
    event_time=INT64,
    channel=TEXT,
    score=st.integers(-MILLION, MILLION),
    label=st.integers(0, 2),
    relevance=st.integers(0, MILLION),
    confidence=st.integers(0, MILLION),
    fingerprint=TEXT,
    author=TEXT,
    origin=st.builds(Origin, TEXT, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1)),
    index=st.integers(0, 60),
    model=TEXT,
    ingested_at=INT64,
    scored_at=INT64,
    snippet=TEXT,
    source=TEXT,
)


@given(VOTES)
def test_a_vote_comes_back_from_its_record_and_its_row(vote: Vote) -> None:
    assert Vote.from_json(vote.to_json()) == vote
    row = Vote.from_list(orjson.loads(orjson.dumps(vote.to_list())))
    assert row == replace(vote, source=""), "state rows need no source"


@given(VOTES)
def test_unknown_fields_of_a_vote_are_ignored(vote: Vote) -> None:
    record = {"new": [1], **orjson.loads(vote.to_json())}
    assert Vote.from_json(orjson.dumps(record)) == vote


@given(VOTES)
def test_a_weight_lies_between_zero_and_one(vote: Vote) -> None:
    assert 0 <= vote.weight <= MILLION


@given(
    st.builds(
        Marker,
        generation=st.integers(-1, 2**31 - 1),
        marks=st.dictionaries(TEXT, st.tuples(st.none() | INT64, st.none() | INT64)),
        sources=st.lists(TEXT).map(tuple),
    )
)
def test_a_marker_comes_back_from_its_record(marker: Marker) -> None:
    assert Marker.from_json(marker.to_json()) == marker


def many(votes: int) -> Sums:
    """Return the sums of so many votes of the largest weight and score."""
    n, s = votes, MILLION
    tone = [n * s, n * s**2, n * s**2, n * s**2]
    return Sums.from_row([n, n, 0, 0, n, *tone, n * s, n * s**2, *tone])


def test_a_minute_of_nine_million_votes_fits_its_row() -> None:
    bucket = Bucket(sums=many(9_000_000))
    assert Bucket.from_rows(1, orjson.loads(orjson.dumps(bucket.to_rows()))) == bucket


def test_a_day_of_a_billion_votes_fits_its_row() -> None:
    days = Days()
    for sums in (many(10**9), many(3)):
        days.add(19_000 * 1440 + 1439, sums)
    for day in (19_001, 19_002):
        days.add(day * 1440, Sums(1, 1, tone=Tone(5, -7)))
    read = Days.from_row(orjson.loads(orjson.dumps(days.to_row())))
    assert read.by_day.keys() == {19_001, 19_002}
    read.restore(orjson.loads(orjson.dumps(days.past_row())))
    assert read == days
    assert not days.past_moved


def test_a_subject_comes_back_from_its_row() -> None:
    subject = Subject("ticker:AAPL")
    subject.advance(28_000_000)
    subject.days.add(19_000 * 1440, many(3))
    subject.episodes["rule"] = Episode("id", 27_999_000, "8h", 3, "critical", 27_999_999)
    other = Subject("ticker:AAPL")
    other.restore_row(orjson.loads(orjson.dumps(subject.to_row())))
    assert other.to_row() == subject.to_row()
    assert other.episodes == subject.episodes
