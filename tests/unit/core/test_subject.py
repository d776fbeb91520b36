"""A story's copies are ranked over the horizon, late ones behind those that are closed."""

from streams.core.fold import Fold
from streams.core.records import MILLION, Kind, Origin
from streams.core.subject import Subject
from streams.core.sums import novelty
from streams.core.votes import Marker, Vote

BEGIN = 28_000_000


def vote(number: int, minute: int, story: str = "0" * 16, seconds: int = 0) -> Vote:
    return Vote(
        id=str(number),
        text_id=f"{number:016d}".ljust(32, "0"),
        subject="market",
        event_time=(BEGIN + minute) * 60_000 + seconds * 1000,
        channel="c",
        score=-MILLION,
        label=0,
        relevance=MILLION,
        confidence=MILLION,
        fingerprint=story,
        author="",
        origin=Origin("texts.news.v1", 0, number),
        index=0,
        model="m/1",
        ingested_at=0,
        scored_at=0,
        snippet="",
    )


def close(subject: Subject, minute: int, *votes: Vote) -> int:
    """Close a minute with these votes; return the weight that they added."""
    for v in votes:
        subject.receive(v)
    weight = subject.close(BEGIN + minute)[0].tone.w
    if subject.closed is None or subject.closed < BEGIN + minute:
        subject.advance(BEGIN + minute)
    return weight


def test_copies_rank_by_event_time_whatever_the_order_they_came_in() -> None:
    one, two = Subject("market"), Subject("market")
    votes = [vote(1, 0, seconds=9), vote(2, 0, seconds=3), vote(3, 0, seconds=3)]
    assert close(one, 0, *votes) == close(two, 0, *reversed(votes))
    assert [c.text_id for c in one.buckets[BEGIN].top] == [
        v.text_id for v in [votes[i] for i in (1, 2, 0)]
    ]


def test_a_copy_weighs_less_within_the_horizon_only() -> None:
    # market: 15 minutes      0 ........ 14 | 30
    #                         1st       2nd | 1st again
    subject = Subject("market")
    assert close(subject, 0, vote(1, 0)) == novelty(1)
    assert close(subject, 14, vote(2, 14)) == novelty(2)
    assert close(subject, 30, vote(3, 30)) == novelty(1)


def test_a_late_copy_ranks_behind_those_already_closed() -> None:
    # minutes:  0      10      16
    # closed:  1st           2nd (another story)
    # late:           2nd               though minute 16 is closed and 0 lies 16 minutes back
    subject = Subject("market")
    close(subject, 0, vote(1, 0))
    close(subject, 16, vote(2, 16, story="f" * 16))
    assert close(subject, 10, vote(3, 10)) == novelty(2)
    assert close(subject, 5, vote(4, 5)) == novelty(3)


def test_a_restored_subject_ranks_the_same() -> None:
    one, two = Subject("market"), Subject("market")
    for minute, number in ((0, 1), (16, 2), (20, 3)):
        close(one, minute, vote(number, minute))
    for minute, bucket in reversed(list(one.buckets.items())):
        two.restore(minute, bucket)
    two.restore_row(one.to_row())
    late = vote(4, 6)
    assert close(one, 6, late) == close(two, 6, late) == novelty(4)


def test_a_text_is_known_again_only_after_the_horizon() -> None:
    subject = Subject("market")
    close(subject, 0, vote(1, 0))
    assert subject.knows(vote(1, 0))
    assert subject.knows(vote(1, 14))
    assert not subject.knows(vote(1, 15))
    assert not subject.knows(vote(2, 0))


def test_a_text_posted_again_after_the_horizon_stays_known_in_any_order_of_rows() -> None:
    one, two = Subject("market"), Subject("market")
    close(one, 0, vote(1, 0))
    close(one, 40, vote(1, 40))
    for minute, bucket in reversed(list(one.buckets.items())):
        two.restore(minute, bucket)
    two.restore_row(one.to_row())
    assert one.knows(vote(1, 41))
    assert two.knows(vote(1, 41))


def marker(minute: int) -> bytes:
    source = "texts.news.v1/0"
    return Marker(1, {source: ((BEGIN + minute) * 60_000, None)}, (source,)).to_json()


def test_late_votes_revise_inside_the_horizon_and_are_reported_beyond_it() -> None:
    # market: 15 minutes        4  5 ......... 20 | marker: minutes below 20 are closed
    #                        late  revision
    fold = Fold(0, 1, lateness_ms=0)
    records = [
        (Kind.VOTE, vote(1, 19).to_json()),
        (Kind.MARKER, marker(20)),
        (Kind.VOTE, vote(2, 4).to_json()),
        (Kind.VOTE, vote(3, 5).to_json()),
        (Kind.VOTE, vote(4, 19, seconds=59).to_json()),
        (Kind.MARKER, marker(20)),
    ]
    for offset, (kind, value) in enumerate(records):
        fold.apply(offset, 0, kind, value, 0)
    emitted, _ = fold.take()
    assert [v.text_id for v in emitted.late] == [vote(2, 4).text_id]
    assert [(w.minute - BEGIN, w.revision) for w in emitted.windows] == [(19, 1), (5, 1), (19, 2)]
    assert [w.windows["5m"].texts for w in emitted.windows] == [1, 1, 2]


def test_a_vote_of_an_open_minute_waits_for_its_marker() -> None:
    fold = Fold(0, 1, lateness_ms=0)
    fold.apply(0, 0, Kind.VOTE, vote(1, 20).to_json(), 0)
    fold.apply(1, 0, Kind.MARKER, marker(20), 0)
    emitted, rows = fold.take()
    assert emitted.windows == []
    assert f"market|{BEGIN + 20}|1" in rows
    fold.apply(2, 0, Kind.MARKER, marker(21), 0)
    emitted, rows = fold.take()
    assert [w.minute - BEGIN for w in emitted.windows] == [20]
    assert rows[f"market|{BEGIN + 20}|1"] is None
