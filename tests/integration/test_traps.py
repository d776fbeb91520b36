"""The traps of Faust that we found (pitfalls F2, F8), and that our adapters stay out of them."""

import asyncio
import gc
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Self

import aiokafka
import faust
import faust.streams
import pytest
from aiokafka.structs import TopicPartition as TP
from faust.transport.consumer import Consumer
from kafka import KafkaAdminClient, TopicPartition
from prometheus_client import CollectorRegistry

from streams.adapters.clock import now_ms
from streams.adapters.faust_app import Feed, make_app, serve
from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.kafka_scan import scan
from streams.adapters.prometheus import AggregateMetrics
from streams.adapters.publisher import Fenced, Publisher
from streams.adapters.readiness import Readiness
from streams.adapters.state_log import OWNER_ROW, read_rows
from streams.agents.aggregate import AggregateAgent
from streams.core.errors import ContractError, LostRecords
from streams.core.fold import PARTITION_ROW
from streams.core.records import KIND_HEADER
from streams.core.topics import STATE, VOTES, Names
from streams.core.votes import Marker
from streams.ports import Incoming, Outgoing
from streams.settings import AggregateSettings, KafkaSettings

Broker = tuple[str, KafkaSettings]

# Faust leaves an event loop open where an app did not run, and only a collection shows it.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed (event loop|.socket):ResourceWarning")


@pytest.fixture(autouse=True)
def collect() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
async def settings(any_broker: Broker) -> KafkaSettings:
    await asyncio.to_thread(ensure_topics, any_broker[1])
    return any_broker[1]


@pytest.fixture
async def kafka_settings(on_kafka: KafkaSettings) -> KafkaSettings:
    await asyncio.to_thread(ensure_topics, on_kafka)
    return on_kafka


@asynccontextmanager
async def publisher(settings: KafkaSettings, name: str | None = None) -> AsyncIterator[Publisher]:
    made = Publisher(settings, name)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def record(number: int, partition: int = 0) -> Outgoing:
    return Outgoing(VOTES, b"k", b"%d" % number, partition=partition)


def place(settings: KafkaSettings, topic: str = VOTES, partition: int = 0) -> TP:
    return TP(Names(settings.prefix).topic(topic), partition)


# -- what Faust does ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("committed", "acked", "wanted"),
    [
        (2585, [2586, 2587, 2588, 2589], 2590),  # 2585 is next to be read, and was not acked
        (None, [5, 6], 7),
        (0, [1, 2, 3], 4),
        (10, [12, 13], None),
        (10, [10, 11, 12, 13], 14),
    ],
)
def test_fausts_own_commit_skips_a_record_at_the_head(
    committed: int | None, acked: list[int], wanted: int | None
) -> None:
    """F2 (#606): why agents commit by themselves. A change here means that Faust was mended."""
    tp = TP("t", 0)
    stub = SimpleNamespace(
        _acked={tp: list(acked)},
        _gap={tp: []},
        _acked_index={tp: set(acked)},
        _committed_offset={tp: committed},
    )
    assert Consumer._new_offset(stub, tp) == wanted


async def test_take_acks_a_batch_that_failed_and_noack_take_does_not() -> None:
    """F2: an error in the loop body of `take` acks the failed batch."""
    assert await _acked_after_failure("take") == 1
    assert await _acked_after_failure("noack_take") == 0


async def _acked_after_failure(method: str) -> int:
    app = faust.App("trap", broker="kafka://localhost:9", store="memory://", autodiscover=False)
    acked = []
    seen = asyncio.Event()

    async def agent(stream: Any) -> None:
        real = stream.ack

        async def ack(event: Any) -> Any:
            acked.append(event)
            return await real(event)

        stream.ack = ack
        try:
            async for _ in getattr(stream, method)(1, within=0.2):
                raise RuntimeError("triton is down")
        except RuntimeError:
            seen.set()
            await asyncio.Event().wait()

    made = app.agent(app.topic("texts"))(agent)
    async with made.test_context() as context, asyncio.timeout(10):
        putting = asyncio.create_task(context.put(b"v0", wait=False))
        await seen.wait()
        await asyncio.sleep(0.1)
        putting.cancel()
    return len(acked)


async def test_there_is_no_broker_in_memory() -> None:
    """F1: tests need a real broker."""
    app = faust.App("trap", broker="memory://", autodiscover=False)
    with pytest.raises(ModuleNotFoundError, match="memory"):
        _ = app.transport


async def test_the_compiled_stream_iterator_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """F8.4: the pure-Python path acks skipped stale events."""
    settings = KafkaSettings(bootstrap="127.0.0.1:9")
    make_app("trap", settings, 10)
    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    with pytest.raises(ContractError, match="reinstall"):
        make_app("trap", settings, 10)


# -- our feed, fed by hand ------------------------------------------------------------------


class HandMade:
    """An app and a stream of batches of (generation of the event, partition, offset)."""

    def __init__(self, settings: KafkaSettings, start: int = 0) -> None:
        self.settings = settings
        self.app = SimpleNamespace(consumer_generation_id=1)
        self.generations: list[int] = []
        self.start = start
        self.feed = Feed(self.app, settings, self._start)  # type: ignore[arg-type]

    async def _start(self, tp: TP) -> int:
        return self.start

    async def _began(self, generation: int) -> None:
        self.generations.append(generation)

    def _event(self, generation: int, partition: int, offset: int) -> Any:
        return SimpleNamespace(
            message=SimpleNamespace(
                topic=place(self.settings).topic,
                partition=partition,
                offset=offset,
                timestamp=1.0,
                key=b"k",
                value=b"%d" % offset,
                headers=None,
                generation_id=generation,
            )
        )

    async def offsets(self, *batches: tuple[int, Sequence[tuple[int, int, int]]]) -> list[Any]:
        async def noack_take(most: int, within: float) -> AsyncIterator[Any]:
            for generation, events in batches:
                self.app.consumer_generation_id = generation
                yield [self._event(*event) for event in events]

        stream = SimpleNamespace(noack_take=noack_take)
        return [
            {tp.partition: [r.offset for r in run] for tp, run in runs.items()}
            async for runs in self.feed.runs(stream, 100, 0.1, self._began)
        ]


async def test_events_of_an_old_generation_are_dropped_one_by_one() -> None:
    """F8.11: dropping the batch lost the fresh ones."""
    made = HandMade(KafkaSettings(bootstrap="127.0.0.1:9"))
    mixed = [(1, 0, 5), (2, 0, 0), (1, 1, 7), (2, 0, 1)]
    assert await made.offsets((2, mixed), (2, [(1, 0, 6)])) == [{0: [0, 1]}]
    assert made.generations == [2]


async def test_repeats_are_dropped() -> None:
    """F8.10: the consumer lets the last record that it read pass again."""
    made = HandMade(KafkaSettings(bootstrap="127.0.0.1:9"))
    batches = [(1, [(1, 0, 0), (1, 0, 1)]), (1, [(1, 0, 1)]), (1, [(1, 0, 1), (1, 0, 2)])]
    assert await made.offsets(*batches) == [{0: [0, 1]}, {}, {0: [2]}]


async def test_a_new_generation_starts_where_it_is_told() -> None:
    """F8.13: nothing is remembered over a generation."""
    made = HandMade(KafkaSettings(bootstrap="127.0.0.1:9"))
    assert await made.offsets((1, [(1, 0, 0), (1, 0, 1)]), (2, [(2, 0, 0)])) == [
        {0: [0, 1]},
        {0: [0]},
    ]
    assert made.generations == [1, 2]


async def test_what_faust_skipped_is_read(settings: KafkaSettings) -> None:
    """F8.13: Faust skipped a record at two assignments 20 ms apart."""
    async with publisher(settings) as sender:
        await sender.send([record(n) for n in range(20)], now_ms())
    made = HandMade(settings, start=2)
    assert await made.offsets((1, [(1, 0, 5)]), (1, [(1, 0, 6), (1, 0, 9)])) == [
        {0: [2, 3, 4, 5]},
        {0: [6, 7, 8, 9]},
    ]
    assert made.feed.filled == 5


async def test_a_range_of_control_records_is_passed(kafka_settings: KafkaSettings) -> None:
    """F8.12: offsets without records are no hole; aborted records don't come."""
    async with publisher(kafka_settings, f"{kafka_settings.prefix}x") as sender:
        async with sender.transaction():
            await sender.send([record(0)], now_ms())  # 0, marker 1
        with pytest.raises(RuntimeError):  # noqa: PT012
            async with sender.transaction():
                await sender.send([record(2)], now_ms())  # 2, marker 3
                raise RuntimeError
        async with sender.transaction():
            await sender.send([record(4)], now_ms())
    made = HandMade(kafka_settings)
    assert await made.offsets((1, [(1, 0, 4)])) == [{0: [0, 4]}]
    assert await made.offsets((2, [(2, 0, 0), (2, 0, 4)])) == [{0: [0, 4]}]


async def test_a_hole_that_retention_made_ends_the_agent(kafka_settings: KafkaSettings) -> None:
    """protocol.md: never skip in silence."""
    async with publisher(kafka_settings) as sender:
        await sender.send([record(n) for n in range(10)], now_ms())
    tp = place(kafka_settings)
    admin = KafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap)
    try:
        await asyncio.to_thread(admin.delete_records, {TopicPartition(*tp): 5})
    finally:
        admin.close()
    with pytest.raises(LostRecords, match="retention"):
        await HandMade(kafka_settings, start=2).offsets((1, [(1, 0, 7)]))
    made = HandMade(kafka_settings, start=5)
    assert await made.offsets((1, [(1, 0, 7)])) == [{0: [5, 6, 7]}]


# -- our feed in a real app -----------------------------------------------------------------


class Reading:
    """An app that reads a topic through our feed."""

    def __init__(self, settings: KafkaSettings, body: Callable[[Any], Any] | None = None) -> None:
        self.records: list[Incoming] = []
        self.stop = asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.app = make_app(Names(settings.prefix).group("trap"), settings, 100)
        self.feed = Feed(self.app, settings, self._start)
        channel = self.app.topic(
            place(settings).topic, key_serializer="raw", value_serializer="raw"
        )
        self.app.agent(channel, name="agent", concurrency=1)(self._agent)
        self._body = body or self._collect
        self.task = asyncio.create_task(serve(self.app, self.stop, self.failed))

    async def _start(self, tp: TP) -> int:
        return await self.feed.first_offset(tp)

    async def _agent(self, stream: Any) -> None:
        try:
            await self._body(stream)
        except Exception as error:  # noqa: BLE001
            if not self.failed.done() and not self.stop.is_set():
                self.failed.set_exception(error)

    async def _collect(self, stream: Any) -> None:
        async def began(generation: int) -> None:
            pass

        async for runs in self.feed.runs(stream, 50, 0.1, began):
            for tp, run in runs.items():
                self.records += run
                if run:
                    assert await self.feed.commit({tp: run[-1].offset + 1})

    async def until(self, number: int) -> None:
        async with asyncio.timeout(30):
            while len(self.records) < number:
                if self.task.done():
                    await self.task
                await asyncio.sleep(0.05)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self.stop.set()
        async with asyncio.timeout(20):
            await asyncio.gather(self.task, return_exceptions=True)


async def test_any_bytes_arrive_as_they_are(settings: KafkaSettings) -> None:
    """F8.4: with other serializers Faust decodes JSON, acks what it can't and ends the agent.
    F8.5: no web server listens.
    """
    values = [b'{"a": 1}', b"not json", b"\xff\xfe", None, b"", b"[1, 2"]
    sent = [Outgoing(VOTES, key, v, partition=0) for v in values for key in (None, b"\xff")]
    async with publisher(settings) as sender:
        await sender.send(sent, now_ms())
    threads = threading.active_count()
    async with Reading(settings) as reading:
        await reading.until(len(sent))
        assert [(r.key, r.value) for r in reading.records] == [(o.key, o.value) for o in sent]
        assert not await reading.feed.commit({place(settings, partition=77): 1})
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", 6066)) != 0
        started = time.monotonic()
    assert time.monotonic() - started < 8
    assert threading.active_count() <= threads
    assert reading.app.conf.web_enabled is False


async def test_commits_pass_control_records(kafka_settings: KafkaSettings) -> None:
    """F8.12: Faust's acks stall there, and it reads what was aborted."""
    async with publisher(kafka_settings, f"{kafka_settings.prefix}x") as sender:
        for number in range(30):
            if number % 3 == 1:
                with pytest.raises(RuntimeError):  # noqa: PT012
                    async with sender.transaction():
                        await sender.send([record(number)], now_ms())
                        raise RuntimeError
            else:
                async with sender.transaction():
                    await sender.send([record(number), record(number)], now_ms())
    async with Reading(kafka_settings) as reading:
        await reading.until(40)
    wanted = [n for n in range(30) if n % 3 != 1 for _ in range(2)]
    assert [int(r.value or b"") for r in reading.records] == wanted
    last = reading.records[-1].offset
    assert last == 78  # 20 × 3 and 10 × 2 offsets, less the last marker and one
    assert await _committed(kafka_settings) == last + 1


async def _committed(settings: KafkaSettings) -> int | None:
    async with aiokafka.AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        group_id=Names(settings.prefix).group("trap"),
        enable_auto_commit=False,
    ) as consumer:
        return await consumer.committed(place(settings))  # type: ignore[no-any-return]


async def test_faust_commits_nothing_for_an_agent_that_has_ended(settings: KafkaSettings) -> None:
    """Once its loop is left, `noack_take` has Faust ack what still comes; the commit at the end
    of the app would pass over it.
    """
    came = asyncio.Event()

    async def read(stream: Any) -> None:
        async for _ in stream.noack_take(10, within=0.1):
            came.set()

    async def fail(stream: Any) -> None:
        reader = asyncio.create_task(read(stream))
        await came.wait()
        reader.cancel()
        await asyncio.sleep(1)
        raise ContractError("the model is wrong")

    reading = Reading(settings, fail)
    async with publisher(settings) as sender, asyncio.timeout(30):
        while not reading.task.done():
            await sender.send([record(0)], now_ms())
            await asyncio.sleep(0.005)
    with pytest.raises(ContractError, match="the model is wrong"):
        await reading.task
    assert await _committed(settings) is None


async def test_an_agent_that_ends_ends_the_process(settings: KafkaSettings) -> None:
    """F8.4: Faust would say Ready and commit on."""

    async def fail(stream: Any) -> None:
        raise ContractError("the stream ended")

    threads = threading.active_count()
    reading = Reading(settings, fail)
    async with asyncio.timeout(20):
        with pytest.raises(ContractError, match="the stream ended"):
            await reading.task
    assert threading.active_count() <= threads


async def test_a_held_batch_does_not_hold_up_the_end(settings: KafkaSettings) -> None:
    """F8.6: held longer than a session, still a member; then told to stop, gone in seconds."""
    async with publisher(settings) as sender:
        await sender.send([record(n) for n in range(1000)], now_ms())
    held = asyncio.Event()

    async def hold(stream: Any) -> None:
        async for _ in stream.noack_take(10, within=0.1):
            held.set()
            await asyncio.Event().wait()

    async with Reading(settings, hold) as reading:
        async with asyncio.timeout(30):
            await held.wait()
        generation = reading.feed.generation
        await asyncio.sleep(settings.session_timeout_s + 2)
        assert reading.feed.generation == generation
        assert place(settings) in reading.feed.assignment()
        started = time.monotonic()
    assert time.monotonic() - started < 8


# -- state ----------------------------------------------------------------------------------


def row(key: str, value: bytes | None) -> Outgoing:
    return Outgoing(STATE, key.encode(), value, partition=0)


async def test_rows_of_a_cut_short_batch_are_discarded(settings: KafkaSettings) -> None:
    """F8.3, protocol.md: without transactions a batch stands once its `@partition` came."""
    plain = settings.model_copy(update={"transactions": False})
    log = [
        row(OWNER_ROW, b"one"),
        row("a", b"1"),
        row("b", b"1"),
        row(PARTITION_ROW, b"1"),
        row("a", b"cut short"),
        row(OWNER_ROW, b"two"),
        row("b", None),
        row(PARTITION_ROW, b"2"),
        row("c", b"cut short"),
        row(OWNER_ROW, b"three"),
        row("a", b"written later"),
        row(PARTITION_ROW, b"3"),
    ]
    async with publisher(plain) as sender:
        await sender.send(log, now_ms())
    assert await read_rows(plain, 0, b"three") == {"a": b"1", PARTITION_ROW: b"2"}


async def test_rows_of_an_aborted_batch_are_invisible(kafka_settings: KafkaSettings) -> None:
    """F8.13: rows and outputs in one transaction."""
    async with publisher(kafka_settings, f"{kafka_settings.prefix}x") as sender:
        async with sender.transaction():
            await sender.send([row("a", b"1"), row(PARTITION_ROW, b"1")], now_ms())
        with pytest.raises(RuntimeError):  # noqa: PT012
            async with sender.transaction():
                await sender.send([row("a", b"2"), row(PARTITION_ROW, b"2")], now_ms())
                raise RuntimeError
        async with sender.transaction():
            await sender.send([row(OWNER_ROW, b"me")], now_ms())
    rows = await read_rows(kafka_settings, 0, b"me")
    assert rows == {"a": b"1", PARTITION_ROW: b"1"}


class Signal:
    def connect(self, receiver: Any) -> None:
        """Nobody sends it here."""


async def test_an_owner_that_was_replaced_can_not_write(kafka_settings: KafkaSettings) -> None:
    """F8.13: a frozen worker wakes up with a batch in hand."""
    committed: list[dict[TP, int]] = []

    def make() -> AggregateAgent:
        app: Any = SimpleNamespace(consumer_generation_id=1, on_partitions_assigned=Signal())
        metrics, ready = AggregateMetrics(CollectorRegistry()), Readiness()
        agent = AggregateAgent(app, kafka_settings, AggregateSettings(), (), metrics, ready)
        agent._partitions = 2

        async def commit(offsets: dict[TP, int]) -> bool:
            committed.append(offsets)
            return True

        agent._feed.commit = commit  # type: ignore[assignment,method-assign]
        return agent

    marker = Marker(1, {"s/0": (60_000_000, None)}, ("s/0",)).to_json()
    tp = place(kafka_settings)
    run = [Incoming(VOTES, 0, n, 0, None, marker, {KIND_HEADER: b"marker"}) for n in range(4)]
    old, new = make(), make()
    try:
        await old._apply(tp, run[:1])
        await new._apply(tp, run[:2])
        assert new._owners[0].fold.applied == 1
        with pytest.raises(Fenced):
            await old._apply(tp, run[1:3])
        await new._apply(tp, run[2:])
    finally:
        await old._drop(0)
        await new._drop(0)
    assert [c[tp] for c in committed] == [1, 2, 4]
    async with scan(str(kafka_settings.bootstrap), place(kafka_settings, STATE).topic) as state:
        keys = [r.key async for _, rows in state.batches() for r in rows]
    assert keys.count(PARTITION_ROW.encode()) == 3
    assert keys.count(OWNER_ROW.encode()) == 2
