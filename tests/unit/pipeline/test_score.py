"""A batch in, its opinions, votes and dead letters out: nothing is lost or made up."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.entities import EntityIndex
from streams.core.errors import ClassifierUnavailable, UnscorableText
from streams.core.labels import TOPICS
from streams.core.records import MILLION, Opinion, Origin
from streams.core.topics import DEAD, OPINIONS, TEXTS_NEWS, TEXTS_SOCIAL, VOTES
from streams.core.votes import Vote
from streams.pipeline.score import Result, Scorer
from streams.ports import Incoming, Outgoing, Prediction
from streams.testing import FakeClassifier

INDEX = EntityIndex.load()
NOW = 1_790_000_000_000
DAY_MS = 86_400_000
CHINESE = "贵州茅台股价上涨,创历史新高"


def scorer(model: FakeClassifier | None = None, cache_texts: int = 0) -> Scorer:
    return Scorer(
        model or FakeClassifier(),
        INDEX,
        b"key",
        cache_texts=cache_texts,
        lateness_ms=60_000,
        service="tickertone/test",
        now_ms=lambda: NOW + 50,
    )


def incoming(offset: int, body: str | bytes, partition: int = 0, **fields: Any) -> Incoming:
    if isinstance(body, str):
        body = orjson.dumps({"text": body, "published_at": NOW - 1000 + offset, **fields})
    return Incoming(TEXTS_NEWS, partition, offset, NOW, b"k", body, {})


def end(offset: int, value: bytes) -> Incoming:
    return replace(incoming(offset, value), headers={"kind": b"end"})


async def score(made: Scorer, *records: Incoming) -> Result:
    return await made.score(made.plan(records), records)


def votes(result: Result) -> list[Vote]:
    return [Vote.from_json(o.value or b"") for o in result.outgoing if o.topic == VOTES]


def opinions(result: Result) -> list[Opinion]:
    values = [o.value or b"" for o in result.outgoing if o.topic == OPINIONS]
    return [Opinion.model_validate_json(value) for value in values]


async def test_a_text_about_two_companies_votes_for_each_the_market_and_its_topic() -> None:
    result = await score(scorer(), incoming(3, "$AAPL gains as $NOK sinks"))
    found = votes(result)
    topic = found[3].subject
    assert [v.subject for v in found] == ["ticker:AAPL", "ticker:NOK", "market", topic]
    assert topic.startswith("topic:")
    assert [v.index for v in found] == [0, 1, 2, 3]
    assert {v.origin for v in found} == {Origin(TEXTS_NEWS, 0, 3)}
    assert [o.key for o in result.outgoing if o.topic == VOTES] == [
        v.subject.encode() for v in found
    ]


class _WithoutTopics(FakeClassifier):
    """As a model that was imported without a topic head."""

    async def classify(self, texts: Sequence[str]) -> list[Prediction | UnscorableText]:
        even = (MILLION // len(TOPICS),) * len(TOPICS)
        found = await super().classify(texts)
        return [replace(p, topic=even) if isinstance(p, Prediction) else p for p in found]


async def test_a_model_that_says_nothing_about_topics_casts_no_vote_on_one() -> None:
    result = await score(scorer(_WithoutTopics()), incoming(3, "$AAPL gains as $NOK sinks"))
    assert [v.subject for v in votes(result)] == ["ticker:AAPL", "ticker:NOK", "market"]
    (opinion,) = opinions(result)
    assert (opinion.outcome, opinion.topic, opinion.topic_probability) == ("scored", None, None)


async def test_sources_name_the_id_of_their_topic_and_origins_do_not() -> None:
    made = scorer()
    made.topic_ids = {TEXTS_NEWS: "vDt-GHZKTT-Cp0jgXpmZzQ"}
    source = f"{TEXTS_NEWS}@vDt-GHZKTT-Cp0jgXpmZzQ/1"
    result = await score(made, incoming(3, "$AAPL gains", 1))
    assert {vote.source for vote in votes(result)} == {source}
    assert {vote.origin for vote in votes(result)} == {Origin(TEXTS_NEWS, 1, 3)}
    assert {opinion.origin for opinion in opinions(result)} == {Origin(TEXTS_NEWS, 1, 3)}
    assert set(result.event_times) == {source}
    ended = await score(made, replace(end(4, b'{"event_time": 1}'), partition=1))
    assert set(ended.event_times) == {source}


async def test_the_market_gets_the_relevance_weighted_mean() -> None:
    result = await score(scorer(), incoming(0, "$AAPL gains as $NOK rests"))
    apple, nokia, market, _ = votes(result)
    mean = (apple.score * apple.relevance + nokia.score * nokia.relevance) / (
        apple.relevance + nokia.relevance
    )
    assert abs(market.score - mean) <= 2


async def test_a_text_about_nobody_votes_for_market_and_topic_with_its_own_score() -> None:
    market, topic = votes(await score(scorer(), incoming(0, "stocks fall")))
    assert (market.subject, market.index, topic.index) == ("market", 0, 1)
    assert market.score == topic.score < 0
    assert market.label == 0


async def test_a_round_up_is_scored_once_and_weighs_little() -> None:
    model = FakeClassifier()
    result = await score(scorer(model), incoming(0, "$A $AAPL $BA $GE $IBM $NOK gain"))
    assert len(model.calls[0]) == 1
    (opinion,) = opinions(result)
    assert opinion.round_up
    entities = votes(result)[:6]
    assert all(v.relevance < MILLION // 8 for v in entities)
    assert len({v.score for v in entities}) == 1


async def test_a_filtered_text_leaves_an_opinion_and_moves_time() -> None:
    result = await score(scorer(), incoming(5, CHINESE))
    (opinion,) = opinions(result)
    assert (opinion.outcome, opinion.reason, votes(result)) == ("filtered", "language", [])
    assert result.event_times == {f"{TEXTS_NEWS}/0": NOW - 995}


async def test_a_refused_text_is_dead_and_counts_so_in_the_budget() -> None:
    model = FakeClassifier()
    model.refuse = {"bad one"}
    result = await score(scorer(model), incoming(0, "a"), incoming(1, "bad one"), incoming(2, b"{"))
    assert dict(result.dead) == {"unscorable": 1, "undecodable": 1}
    assert result.order == [False, True, True]
    assert result.scored == 1
    assert result.event_times == {f"{TEXTS_NEWS}/0": NOW - 1000}
    letters = [o for o in result.outgoing if o.topic == DEAD]
    assert {letter.value for letter in letters} == {b"{", incoming(1, "bad one").value}
    assert all(letter.key == b"k" for letter in letters)


async def test_one_refused_target_makes_the_whole_text_a_dead_letter() -> None:
    model = FakeClassifier()
    model.refuse = {"[O] gains as [T] sinks"}
    result = await score(scorer(model), incoming(0, "$AAPL gains as $NOK sinks"))
    assert [o.topic for o in result.outgoing] == [DEAD]


async def test_a_text_from_the_future_moves_time_to_its_ingestion_only() -> None:
    result = await score(scorer(), incoming(0, "a", observed_at=NOW + 200_000))
    assert result.event_times == {f"{TEXTS_NEWS}/0": NOW}


async def test_an_end_lies_a_day_and_the_lateness_behind_the_last_text() -> None:
    first, second = (b'{"event_time":%d}' % (NOW - n) for n in (5, 9))
    result = await score(scorer(), incoming(0, "a"), end(1, first), end(2, second))
    assert result.event_times == {f"{TEXTS_NEWS}/0": NOW - 5 + DAY_MS + 60_000}
    assert result.next_offsets == {(TEXTS_NEWS, 0): 3}
    assert result.order == [False]


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"\xff", b"[]", b"3", b"{}", b'{"event_time":null}', b'{"event_time":"9"}'),
        *(b'{"event_time":true}', b'{"event_time":1e300}', b'{"event_time":1e400}'),
        b'{"event_time":%d}' % 10**30,
        b'{"event_time":%d}' % 2**63,
        b'{"event_time":-1}',
        b'{"event_time":%d}' % (NOW + 300_001),
    ],
)
async def test_a_senseless_end_closes_nothing(value: bytes) -> None:
    result = await score(scorer(), end(0, value))
    assert (result.event_times, result.outgoing) == ({}, [])
    assert result.next_offsets == {(TEXTS_NEWS, 0): 1}


async def test_a_batch_can_be_scored_again_after_the_model_was_away() -> None:
    model = FakeClassifier()
    made = scorer(model, cache_texts=10)
    records = [incoming(0, "Apple gains"), incoming(1, b"?"), incoming(2, CHINESE)]
    plan = made.plan(records)
    model.down = True
    with pytest.raises(ClassifierUnavailable):
        await made.score(plan, records)
    model.down = False
    assert await made.score(plan, records) == replace(
        await score(scorer(), *records), inferences=1, cached=0
    )


class Changing(FakeClassifier):
    """A server that may load another version of its model during a call."""

    version = 1
    next_version = 1

    @property
    def model(self) -> str:
        return f"fake/{self.version}"

    async def classify(self, texts: Any) -> Any:
        self.version = self.next_version
        return await super().classify(texts)


async def test_predictions_of_an_old_model_are_never_given_out_as_the_new_ones() -> None:
    model = Changing()
    made = scorer(model, cache_texts=10)
    await score(made, incoming(0, "one"))
    assert (await score(made, incoming(1, "one"))).cached == 1
    model.next_version = 2
    result = await score(made, incoming(2, "one"), incoming(3, "two"))
    assert (result.cached, result.inferences) == (0, 2)
    assert model.calls[-2:] == [("two",), ("one",)]
    assert {v.model for v in votes(result)} == {"fake/2"}


async def test_two_copies_in_a_batch_are_asked_once_and_both_vote() -> None:
    model = FakeClassifier()
    result = await score(scorer(model), incoming(0, "gain", id="x"), incoming(1, "gain", id="x"))
    assert model.calls == [("gain",)]
    one, two = opinions(result)
    assert (one.id, one.origin.offset, two.origin.offset) == (two.id, 0, 1)
    assert len(votes(result)) == 4


BODIES = st.sampled_from(
    [
        *("Apple Inc. gains", "$AAPL gains as $NOK sinks", "$A $AAPL $BA $GE $IBM $NOK gain"),
        *("market falls", CHINESE, "refused", "", "http://x.y", "x" * 9000, "$AAPL $AAPL"),
        *(b"", b"\xff", b"[]", b"{}", b'{"text":"x","published_at":1}'),
    ]
)
BATCHES = st.lists(st.tuples(BODIES, st.integers(0, 1)), max_size=10)


def records_of(batch: list[tuple[str | bytes, int]]) -> list[Incoming]:
    return [incoming(offset, body, partition) for offset, (body, partition) in enumerate(batch)]


@settings(max_examples=40, deadline=None)
@given(BATCHES)
def test_every_record_ends_once_as_scored_filtered_or_dead(
    batch: list[tuple[str | bytes, int]],
) -> None:
    model = FakeClassifier()
    model.refuse = {"refused"}
    records = records_of(batch)
    result = asyncio.run(score(scorer(model), *records))
    assert result.scored + result.filtered + sum(result.dead.values()) == len(records)
    assert len(result.order) == len(records)
    assert sum(result.order) == sum(result.dead.values())
    ends = [(*o.origin,) for o in opinions(result)]
    for letter in (o for o in result.outgoing if o.topic == DEAD):
        headers = dict(letter.headers)
        place = [headers[f"dl.{name}"].decode() for name in ("topic", "partition", "offset")]
        ends.append((place[0], int(place[1]), int(place[2])))
    assert sorted(ends) == sorted((r.topic, r.partition, r.offset) for r in records)
    for vote in votes(result):
        assert -MILLION <= vote.score <= MILLION
        assert 0 <= vote.weight <= MILLION
        assert len(vote.snippet) <= 200


@settings(max_examples=25, deadline=None)
@given(BATCHES, st.integers(1, 4), st.integers(1, 6))
def test_the_cache_and_the_batches_do_not_show_in_the_output(
    batch: list[tuple[str | bytes, int]], size: int, cache_texts: int
) -> None:
    model = FakeClassifier()
    model.refuse = {"refused"}
    records = records_of(batch)
    caching = scorer(model, cache_texts)
    parts = [records[at : at + size] for at in range(0, len(records), size)]

    async def both() -> tuple[list[Outgoing], list[Outgoing]]:
        plain = (await score(scorer(model), *records)).outgoing
        return plain, [o for part in parts for o in (await score(caching, *part)).outgoing]

    plain, cut = asyncio.run(both())
    by_topic = {t: [o for o in plain if o.topic == t] for t in (VOTES, OPINIONS)}
    assert {t: [o for o in cut if o.topic == t] for t in (VOTES, OPINIONS)} == by_topic
    dead = [{o.value for o in out if o.topic == DEAD} for out in (plain, cut)]
    assert dead[0] == dead[1]


async def test_sources_are_kept_apart() -> None:
    other = replace(incoming(0, "b"), topic=TEXTS_SOCIAL, partition=3)
    result = await score(scorer(), incoming(4, "a"), other)
    assert result.event_times == {f"{TEXTS_NEWS}/0": NOW - 996, f"{TEXTS_SOCIAL}/3": NOW - 1000}
    assert result.next_offsets == {(TEXTS_NEWS, 0): 5, (TEXTS_SOCIAL, 3): 1}


async def test_an_opinion_names_the_grave_events_its_text_reports() -> None:
    result = await score(
        scorer(),
        incoming(0, "Nokia recalls 40,000 phones, and prosecutors raid its offices"),
        incoming(1, "Nokia denies that prosecutors raided its offices"),
        incoming(2, CHINESE),
    )
    assert [opinion.grave for opinion in opinions(result)] == [["recall", "investigation"], [], []]
