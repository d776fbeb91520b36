"""Score and aggregate end to end with the fake model: exact, on both brokers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from itertools import pairwise
from typing import Any, Self

import aiokafka
import faust
import orjson
import pytest
from prometheus_client import CollectorRegistry

from streams.adapters.clock import now_ms
from streams.adapters.faust_app import make_app, serve
from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.kafka_scan import scan
from streams.adapters.prometheus import AggregateMetrics, ScoreMetrics
from streams.adapters.publisher import Fenced, Publisher
from streams.adapters.readiness import Readiness
from streams.agents.aggregate import AggregateAgent
from streams.agents.score import Hook, ScoreAgent, no_fault
from streams.core.entities import EntityIndex
from streams.core.errors import PublishFailed
from streams.core.fold import Fold
from streams.core.records import KIND_HEADER
from streams.core.topics import ALERTS, INPUTS, OPINIONS, VOTES, WINDOWS, Names
from streams.core.votes import Marker
from streams.ledger import check_ledger
from streams.pipeline.score import Scorer
from streams.ports import Outgoing
from streams.settings import AggregateSettings, KafkaSettings, ScoreSettings
from streams.testing import FakeClassifier
from streams.worker import load_rules

Broker = tuple[str, KafkaSettings]
BASE = 1_700_000_000_000
TEXTS = 2000
STEP_MS = 7000
WORDS = ("gains after a strong quarter", "sinks on a profit warning", "holds its meeting")
TICKERS = ("AAPL", "MSFT", "IBM", "GE", "NVDA")


@pytest.fixture
def settings(any_broker: Broker) -> KafkaSettings:
    return any_broker[1].model_copy(update={"partitions": 4})


async def feed(settings: KafkaSettings, number: int = TEXTS) -> None:
    """Write texts over hours of event time to all input partitions, some of them no texts."""
    await asyncio.to_thread(ensure_topics, settings)
    records = []
    for n in range(number):
        words = f"${TICKERS[n % 5]} and ${TICKERS[n * 7 % 5]} {WORDS[n % 3]}, item {n}"
        text = {"id": f"x{n}", "text": words, "published_at": BASE + n * STEP_MS, "lang": "en"}
        value = b"not json" if n % 100 == 50 else orjson.dumps(text)
        records.append(Outgoing(INPUTS[n % 2], f"x{n}".encode(), value))
    end = orjson.dumps({"event_time": BASE + number * STEP_MS})
    sender = Publisher(settings)
    await sender.start()
    try:
        await sender.send(records, now_ms())
        ends = [
            Outgoing(t, None, end, ((KIND_HEADER, b"end"),), p) for t in INPUTS for p in range(4)
        ]
        await sender.send(ends, now_ms())
    finally:
        await sender.stop()


class Running:
    """An agent in an app of its own, as `streams.worker` runs it."""

    def __init__(self, app: faust.App, topics: list[str], body: Callable[[Any], Any]) -> None:
        self.stop = asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def agent(stream: Any) -> None:
            try:
                await body(stream)
            except Exception as error:  # noqa: BLE001
                if not self.failed.done() and not self.stop.is_set():
                    self.failed.set_exception(error)

        channel = app.topic(*topics, key_serializer="raw", value_serializer="raw")
        app.agent(channel, name="agent", concurrency=1)(agent)
        self.task = asyncio.create_task(serve(app, self.stop, self.failed))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self.stop.set()
        async with asyncio.timeout(20):
            await asyncio.gather(self.task, return_exceptions=raised[0] is not None)


@asynccontextmanager
async def score(settings: KafkaSettings, hook: Hook = no_fault) -> AsyncIterator[Running]:
    classifier, publisher = FakeClassifier(), Publisher(settings)
    await publisher.start()
    scorer = Scorer(
        classifier,
        EntityIndex.load(),
        b"key",
        cache_texts=0,
        lateness_ms=60_000,
        service="test",
        now_ms=now_ms,
    )
    names = Names(settings.prefix)
    app = make_app(names.group("score"), settings, 256)
    agent = ScoreAgent(
        app,
        settings,
        ScoreSettings(),
        scorer,
        classifier,
        publisher,
        ScoreMetrics(CollectorRegistry()),
        Readiness("assignment"),
        hook,
    )
    try:
        async with Running(app, [names.topic(t) for t in INPUTS], agent.run) as running:
            yield running
    finally:
        await publisher.stop()


@asynccontextmanager
async def aggregate(settings: KafkaSettings, hook: Hook = no_fault) -> AsyncIterator[Running]:
    names = Names(settings.prefix)
    app = make_app(names.group("aggregate"), settings, 1600)
    agent = AggregateAgent(
        app,
        settings,
        AggregateSettings(),
        load_rules(None),
        AggregateMetrics(CollectorRegistry()),
        Readiness("assignment"),
        hook,
    )
    async with Running(app, [names.topic(VOTES)], agent.run) as running:
        yield running


async def read(settings: KafkaSettings, topic: str) -> dict[int, list[Any]]:
    """Return the committed records of each partition, in order."""
    found: dict[int, list[Any]] = {}
    async with scan(str(settings.bootstrap), Names(settings.prefix).topic(topic)) as opened:
        async for tp, records in opened.batches():
            found.setdefault(tp.partition, []).extend(records)
    return found


async def behind(settings: KafkaSettings, group: str, *topics: str) -> dict[str, tuple[int, int]]:
    """Return the partitions whose committed offset is not the end of the log, with both."""
    names = Names(settings.prefix)
    async with scan(str(settings.bootstrap), *(names.topic(t) for t in topics)) as opened:
        async for _ in opened.batches():
            pass
        ends = dict(opened.ends)
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap, group_id=names.group(group), enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign(list(ends))
        committed = {tp: await consumer.committed(tp) or 0 for tp in ends}
    finally:
        await consumer.stop()
    return {
        f"{tp.topic}/{tp.partition}": (c, ends[tp]) for tp, c in committed.items() if c != ends[tp]
    }


async def caught_up(
    settings: KafkaSettings, running: Running, group: str, *topics: str, within_s: float = 60
) -> None:
    left: dict[str, tuple[int, int]] = {}
    try:
        async with asyncio.timeout(within_s):
            while left := await behind(settings, group, *topics):
                if running.task.done():
                    await running.task
                await asyncio.sleep(0.3)
    except TimeoutError:
        raise AssertionError(f"{group} stays behind: {left}") from None


def comparable(records: list[Any]) -> list[dict[str, Any]]:
    """Return the records without their wall-clock fields."""
    return [
        {k: v for k, v in orjson.loads(r.value).items() if k not in ("closed_at", "stages")}
        for r in records
    ]


async def offline(settings: KafkaSettings) -> dict[int, tuple[list[Any], list[Any]]]:
    """Fold votes.v1 in one go and return each partition's windows and alerts."""
    emitted = {}
    for partition, records in (await read(settings, VOTES)).items():
        fold = Fold(partition, settings.partitions, 60_000)
        fold.adopt(load_rules(None))
        for r in records:
            kind = dict(r.headers)[KIND_HEADER].decode()
            fold.apply(r.offset, r.timestamp, kind, r.value, 0)
        out, _ = fold.take()
        emitted[partition] = (out.windows, out.alerts)
    return emitted


def once(rows: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """Drop repeats, keeping the first, as readers of a broker without transactions do."""
    return list({tuple(row[key] for key in keys): row for row in reversed(rows)}.values())[::-1]


async def assert_exact(
    settings: KafkaSettings, texts: int = TEXTS, *, repeats: bool = False
) -> None:
    """Check the ledger, and windows and alerts against the offline fold."""
    report = await check_ledger(str(settings.bootstrap), Names(settings.prefix))
    assert report.balanced, report.differences
    assert sum(p.readable for p in report.inputs) == texts
    assert sum(p.dead for p in report.inputs) == texts // 100
    windows, alerts, wanted = (
        await read(settings, WINDOWS),
        await read(settings, ALERTS),
        await offline(settings),
    )
    closed = 0
    for partition, (expected, _) in wanted.items():
        rows = comparable(windows.get(partition, []))
        if repeats:
            rows = once(rows, "subject", "minute", "revision")
        assert rows == [_plain(window, "closed_at") for window in expected]
        closed += len(rows)
    assert closed > texts / 2
    found = comparable(alerts.get(0, []))
    if repeats:
        found = once(found, "id", "revision")
    expected_alerts = [_plain(a, "stages") for _, out in wanted.values() for a in out]
    order = lambda a: (a["id"], a["revision"])  # noqa: E731
    assert sorted(found, key=order) == sorted(expected_alerts, key=order)


def _plain(model: Any, without: str) -> dict[str, Any]:
    return orjson.loads(model.model_dump_json(exclude={without}))


async def test_every_text_ends_in_windows_that_equal_the_offline_fold(
    settings: KafkaSettings,
) -> None:
    """F8.12, F8.13: nothing lost, nothing twice, and both groups end at the end of their logs."""
    await feed(settings)
    async with aggregate(settings) as counting:
        async with score(settings) as scoring:
            await caught_up(settings, scoring, "score", *INPUTS)
        await caught_up(settings, counting, "aggregate", VOTES)
    await assert_exact(settings)
    opinions = [o for run in (await read(settings, OPINIONS)).values() for o in run]
    assert len(opinions) == TEXTS - TEXTS // 100


async def test_a_batch_that_fails_half_way_is_counted_once(
    settings: KafkaSettings, any_broker: Broker
) -> None:
    """protocol.md: any error ends the ownership; it is taken over and the votes come again."""
    left = {"outputs": 2, "rows": 1, "commit": 1}

    async def fail(step: str) -> None:
        if left.get(step, 0) > 0:
            left[step] -= 1
            raise PublishFailed(f"on purpose after {step}")

    await feed(settings, 600)
    async with score(settings) as scoring:
        await caught_up(settings, scoring, "score", *INPUTS)
    async with aggregate(settings, fail) as counting:
        await caught_up(settings, counting, "aggregate", VOTES)
    assert not any(left.values())
    await assert_exact(settings, 600, repeats=any_broker[0] == "tansu")


@pytest.mark.parametrize("error", [PublishFailed, Fenced])
async def test_an_owner_that_fails_at_every_try_does_not_take_over_in_a_hot_loop(
    on_kafka: KafkaSettings, error: type[PublishFailed]
) -> None:
    """Between two tries lies a fifth of a session; after five without a fence the agent ends."""
    tries: list[float] = []
    fifth = asyncio.Event()

    async def fail(step: str) -> None:
        if step == "outputs":
            tries.append(time.monotonic())
            if len(tries) == 5:
                fifth.set()
            raise error("on purpose, always")

    await asyncio.to_thread(ensure_topics, on_kafka)
    sender = Publisher(on_kafka)
    await sender.start()
    marker = Marker(1, {"s/0": (BASE, None)}, ("s/0",)).to_json()
    await sender.send([Outgoing(VOTES, None, marker, ((KIND_HEADER, b"marker"),), 0)], now_ms())
    await sender.stop()
    ends = error is PublishFailed
    with pytest.raises(ExceptionGroup) if ends else nullcontext():
        async with aggregate(on_kafka, fail) as counting, asyncio.timeout(60):
            await fifth.wait()
            if ends:
                await counting.task
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert min(pauses) >= on_kafka.session_timeout_s / 5
    assert len(tries) == 5
