"""Sliding sums and evidence equal what adding everything up anew gives."""

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.records import MILLION, Origin
from streams.core.votes import Vote
from streams.core.windows import KEPT_MINUTES, WINDOWS, Bucket, Buckets, Sums, novelty

BEGIN = 28_000_000


def vote(number: int, score: int = 1, weight: int = MILLION, minute: int = BEGIN) -> Vote:
    return Vote(
        id=str(number),
        text_id=f"{number:032d}",
        subject="market",
        event_time=minute * 60_000 + number % 60_000,
        channel="c",
        score=score,
        label=number % 3,
        relevance=weight,
        confidence=MILLION,
        fingerprint=f"{number % 7:016x}",
        author="",
        origin=Origin("texts.news.v1", 0, number),
        index=0,
        model="m/1",
        ingested_at=0,
        scored_at=0,
        snippet="",
    )


VOTES = st.lists(
    st.tuples(st.integers(-MILLION, MILLION), st.integers(0, MILLION), st.integers(1, 60)),
    max_size=12,
)


@given(VOTES, st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_the_order(
    votes: list[tuple[int, int, int]], shuffle: object
) -> None:
    ranked = [(vote(n, score, weight), rank) for n, (score, weight, rank) in enumerate(votes)]
    one, two = Sums(), Sums()
    for v, rank in ranked:
        one.count(v, rank)
    for v, rank in reversed(ranked):
        part = Sums()
        part.count(v, rank)
        two.add(part)
    assert one == two
    two.add(one, -1)
    assert two == Sums()


@given(VOTES)
def test_indices_lie_in_their_range(votes: list[tuple[int, int, int]]) -> None:
    sums = Sums()
    for n, (score, weight, rank) in enumerate(votes):
        sums.count(vote(n, score, weight), rank)
    assert sums.index is None or -1 <= sums.index <= 1
    assert sums.echo_index is None or -1 <= sums.echo_index <= 1
    assert 0 <= sums.effective <= len(votes) + 1e-9
    assert (sums.standard_error is None) == (sums.index is None)


@given(st.integers(1, 200))
def test_novelty_falls_by_a_quarter_with_each_copy(rank: int) -> None:
    assert abs(novelty(rank) - MILLION * 0.75 ** (rank - 1)) < 1.1
    assert novelty(rank + 1) <= novelty(rank)


# now ----+-----------------+--------> minutes; every step may put a bucket somewhere in the last
#         | revise | put    | at        day, or in the future, and may ask for the present or past.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 2, 5, 30, 479, 480, 1441, 2941, 9000]),
        st.sampled_from([0, 0, -1, -4, -5, -29, -30, -479, -480, -1439, -1440, 3]),
        st.integers(1, 1000),
        st.sampled_from([None, 0, 0, -1, -30, -1440]),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_running_sums_and_evidence_equal_brute_force(
    steps: list[tuple[int, int, int, int | None, bool]],
) -> None:
    buckets = Buckets()
    everything: list[tuple[int, Vote]] = []
    now = BEGIN
    for number, (ahead, place, score, look, expire) in enumerate(steps):
        now += ahead
        minute = now + place
        v = vote(number, score * (-1) ** number, minute=minute)
        everything.append((minute, v))
        if minute in buckets:
            before = Sums(*buckets[minute].sums.to_row())
            buckets[minute].count(v, 1)
            added = Sums(*buckets[minute].sums.to_row())
            added.add(before, -1)
            buckets.revise(minute, added)
        else:
            bucket = Bucket()
            bucket.count(v, 1)
            buckets.put(minute, bucket)
        if look is not None:
            at = now + look
            sums, strongest = buckets.at(at), buckets.strongest(at, 3)
            for name, length in WINDOWS.items():
                inside = [v for m, v in everything if at - length < m <= at]
                assert sums[name] == total(inside)
                wanted = sorted(inside, key=lambda v: (abs(v.score), v.text_id), reverse=True)
                assert [c.text_id for c in strongest[name]] == [v.text_id for v in wanted[:3]]
        if expire and look == 0:
            for gone, _ in buckets.expire(now):
                assert gone <= now - KEPT_MINUTES


def total(votes: list[Vote]) -> Sums:
    sums = Sums()
    for v in votes:
        sums.count(v, 1)
    return sums


@given(st.lists(st.integers(-MILLION, MILLION), max_size=20), st.integers(0, 20))
def test_a_bucket_comes_back_from_its_rows(scores: list[int], cut: int) -> None:
    one = Bucket()
    two = Bucket()
    for number, score in enumerate(scores):
        if number == cut:
            two = read_back(two)
        one.count(vote(number, score), 1 + number % 3)
        two.count(vote(number, score), 1 + number % 3)
    assert two == one
    assert read_back(one) == one


def read_back(bucket: Bucket) -> Bucket:
    return Bucket.from_rows(orjson.loads(orjson.dumps(bucket.to_rows())))
