"""Sliding sums and evidence equal what adding everything up anew gives."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import decay
from streams.core.distinct import member
from streams.core.records import MILLION, Origin
from streams.core.stories import Copy
from streams.core.sums import Sums, novelty, share_of_turn
from streams.core.votes import Vote
from streams.core.windows import KEPT_MINUTES, WINDOWS, Bucket, Buckets, Told

BEGIN = 28_000_000


def vote(number: int, score: int = 1, weight: int = MILLION, minute: int = BEGIN) -> Vote:
    return Vote(
        id=str(number),
        text_id=f"{number:032d}",
        subject="market",
        event_time=minute * 60_000 + number % 60_000,
        channel="cd"[number % 2],
        score=score,
        label=number % 3,
        relevance=weight,
        confidence=MILLION,
        fingerprint=f"{number % 7:016x}",
        author=f"author {number % 5}",
        origin=Origin("texts.news.v1", 0, number),
        index=0,
        model="m/1",
        ingested_at=0,
        scored_at=0,
        snippet="",
        news=number % 4 == 0,
    )


def count(bucket: Bucket, v: Vote, rank: int = 1, turn: int = 1) -> None:
    copy = Copy(v.minute, member(v.author), v.channel, v.from_news)
    bucket.count(v, Told(int(v.fingerprint, 16), int(v.text_id[:16], 16), copy), rank, turn)


VOTES = st.lists(
    st.tuples(
        st.integers(-MILLION, MILLION),
        st.integers(0, MILLION),
        st.integers(1, 60),
        st.integers(1, 30),
    ),
    max_size=12,
)


@given(VOTES)
def test_sums_do_not_depend_on_the_order(votes: list[tuple[int, int, int, int]]) -> None:
    ranked = [(vote(n, score, weight), at) for n, (score, weight, *at) in enumerate(votes)]
    one, two = Sums(), Sums()
    for v, (rank, turn) in ranked:
        one.count(v, rank, turn)
    for v, (rank, turn) in reversed(ranked):
        part = Sums()
        part.count(v, rank, turn)
        two.add(part)
    assert one == two == two.copy()
    two.add(one, -1)
    assert two == Sums()


@given(VOTES)
def test_indices_lie_in_their_range_and_in_their_intervals(
    votes: list[tuple[int, int, int, int]],
) -> None:
    sums = Sums()
    for n, (score, weight, rank, turn) in enumerate(votes):
        sums.count(vote(n, score, weight), rank, turn)
    tones = (sums.tone, sums.news, sums.social)
    for tone in tones:
        interval = tone.interval(tone.effective)
        assert (interval is None) == (tone.index is None)
        if tone.index is not None and interval is not None:
            low, high = interval
            assert -1 <= low <= tone.index <= high <= 1
    assert sums.echo_index is None or -1 <= sums.echo_index <= 1
    assert 0 <= sums.tone.effective <= len(votes) + 1e-9
    assert sums.effective <= max(sums.stories, 1)
    inner, outer = sums.tone.interval(sums.tone.effective), sums.interval
    if inner is not None and outer is not None:
        assert outer[0] <= inner[0]
        assert inner[1] <= outer[1]
    assert sums.news.w + sums.social.w == sums.tone.w
    assert sums.echo is None or 0 <= sums.echo <= 1
    assert sums.disagreement is None or 0 <= sums.disagreement <= 1
    assert (sums.divergence is None) == (sums.news.w == 0 or sums.social.w == 0)


@given(st.integers(1, 200), st.booleans())
def test_copies_of_one_story_are_one_text_of_evidence(copies: int, told_before: bool) -> None:
    sums = Sums()
    for n in range(copies):
        sums.count(vote(n, -MILLION // 2, MILLION), 1 + told_before + n, 1)
    assert sums.effective <= 1


@given(st.integers(1, 200))
def test_novelty_falls_by_a_quarter_with_each_copy(rank: int) -> None:
    assert abs(novelty(rank) - MILLION * 0.75 ** (rank - 1)) < 1.1
    assert novelty(rank + 1) <= novelty(rank)


@given(st.integers(0, 10_000))
def test_no_author_ever_counts_more_than_four_full_texts(texts: int) -> None:
    counted = sum(share_of_turn(turn) for turn in range(1, texts + 1))
    assert min(texts, 3) * MILLION <= counted <= 4 * MILLION
    assert share_of_turn(texts + 2) <= share_of_turn(texts + 1)


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
def test_running_windows_and_evidence_equal_brute_force(
    steps: list[tuple[int, int, int, int | None, bool]],
) -> None:
    buckets = Buckets()
    everything: list[tuple[int, Vote]] = []
    now = asked = BEGIN
    for number, (ahead, place, score, look, expire) in enumerate(steps):
        now += ahead
        minute = now + place
        v = vote(number, score * (-1) ** number, minute=minute)
        everything.append((minute, v))
        bucket = buckets.reopen(minute) if minute in buckets else Bucket()
        count(bucket, v)
        buckets.put(minute, bucket)
        if look is not None:
            at = now + look
            running, strongest = buckets.at(at), buckets.strongest(at, 3)
            for name, length in WINDOWS.items():
                inside = [v for m, v in everything if at - length < m <= at]
                before = [v for m, v in everything if at - 2 * length < m <= at - length]
                assert running[name].now == total(inside)
                assert running[name].authors.number == len({v.author for v in inside})
                assert running[name].channels.number == len({v.channel for v in inside})
                wanted = sorted(inside, key=lambda v: (abs(v.score), v.text_id), reverse=True)
                assert [c.text_id for c in strongest[name]] == [v.text_id for v in wanted[:3]]
                if at >= asked:  # of what lies two windows back, the first minutes are forgotten
                    assert running[name].before == total(before)
                    assert buckets.decayed(at) == pytest.approx(
                        (decayed(everything, at), decayed(everything, at - 15)), abs=1e-8
                    )
            asked = max(asked, at)
        if expire and look == 0:
            for gone, _ in buckets.expire(now):
                assert gone <= now - KEPT_MINUTES


def total(votes: list[Vote]) -> Sums:
    sums = Sums()
    for v in votes:
        sums.count(v, 1, 1)
    return sums


def decayed(everything: list[tuple[int, Vote]], at: int) -> float:
    return sum(
        v.score / MILLION * 0.5 ** ((at - m) / 960)
        for m, v in everything
        if at - decay.SPAN < m <= at
    )


@given(st.lists(st.integers(-MILLION, MILLION), max_size=20), st.integers(0, 20))
def test_a_bucket_comes_back_from_its_rows(scores: list[int], cut: int) -> None:
    one = Bucket()
    two = Bucket()
    for number, score in enumerate(scores):
        if number == cut:
            two = read_back(two)
        count(one, vote(number, score), 1 + number % 3, 1 + number % 5)
        count(two, vote(number, score), 1 + number % 3, 1 + number % 5)
    two.rows = one.rows
    assert two == one
    assert read_back(one) == one


def read_back(bucket: Bucket) -> Bucket:
    return Bucket.from_rows(BEGIN, orjson.loads(orjson.dumps(bucket.to_rows())))
