"""Kafka → read model: plain consumers without a group, one per topic, each from the beginning.

A topic is caught up when the position has met the fetch high watermark once; end offsets are
never asked for (they are wrong on Tansu). A lost broker is waited for; positions are kept.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NoReturn

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from streams.adapters.kafka_scan import committed_reader
from streams.core.errors import ContractError, TransientError
from streams.core.records import Alert, Opinion, Window
from streams.core.topics import ALERTS, OPINIONS, WINDOWS, Names
from streams.gateway.feed import Event, Feed
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.shapes import TopicState, alert_event
from streams.gateway.store import Store

log = structlog.get_logger()

_FRESH_S: Final = 15.0
_RETRY_S: Final = (0.2, 5.0)


class TopicReader:
    """Follows one topic and hands every record to a function."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        apply: Callable[[ConsumerRecord], None],
        on_fetch: Callable[[int, int], None],
    ) -> None:
        """Prepare.

        Args:
            topic: the name on the broker.
            apply: raises `ValueError` for a record that is not what the topic promises.
            on_fetch: called with the records read and the unreadable ones among them.
        """
        self._bootstrap = bootstrap
        self._topic = topic
        self._apply = apply
        self._on_fetch = on_fetch
        self._next: dict[TopicPartition, int] = {}
        self._answered = 0.0
        self.lag: int | None = None
        self.caught_up = asyncio.Event()

    @property
    def state(self) -> TopicState:
        """Return how it is doing."""
        fresh = time.monotonic() - self._answered < _FRESH_S
        connected = self.lag is not None and fresh
        return TopicState(caught_up=self.caught_up.is_set(), connected=connected, lag=self.lag)

    async def follow(self) -> NoReturn:
        """Read for ever; only cancellation ends it."""
        shortest, longest = _RETRY_S
        pause = shortest
        while True:
            try:
                await self._session()
            except (KafkaError, TransientError, OSError, TimeoutError) as error:
                log.warning("reader_waits", topic=self._topic, error=str(error) or repr(error))
            except Exception:  # a reader that dies in silence would serve yesterday for ever
                log.exception("reader_failed", topic=self._topic)
            pause = shortest if self.lag is not None else min(2 * pause, longest)
            self.lag = None
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _session(self) -> None:
        await self._require_topic()
        consumer = committed_reader(self._bootstrap, self._topic)
        try:
            await consumer.start()
            for tp in consumer.assignment():
                if tp in self._next:
                    consumer.seek(tp, self._next[tp])
            while True:
                batches = await consumer.getmany(timeout_ms=500, max_records=500)
                for tp, records in batches.items():
                    self._take(records)
                    self._next[tp] = records[-1].offset + 1
                await self._judge(consumer)
                await asyncio.sleep(0)  # a long backlog must not starve the requests
        finally:
            await consumer.stop()

    async def _require_topic(self) -> None:
        # Subscribing to a topic that is not there could make the broker create it, in its shape.
        async with _started(AIOKafkaConsumer(bootstrap_servers=self._bootstrap)) as probe:
            if self._topic not in await probe.topics():
                raise TransientError("the topic does not exist yet")

    def _take(self, records: list[ConsumerRecord]) -> None:
        unreadable = 0
        for record in records:
            try:
                self._apply(record)
            except ValueError as error:
                unreadable += 1
                where = f"{record.topic}/{record.partition}/{record.offset}"
                kind = type(error).__name__
                log.warning("record_unreadable", origin=where, error=kind)
        self._on_fetch(len(records), unreadable)

    async def _judge(self, consumer: AIOKafkaConsumer) -> None:
        lag = 0
        polled = []
        for tp in consumer.assignment():
            end = consumer.highwater(tp)
            if end is None:
                return  # nothing was answered for this partition yet
            stable = consumer.last_stable_offset(tp)
            if stable is not None and stable >= 0:
                end = min(end, stable)  # what lies beyond is an open transaction
            lag += max(0, end - await consumer.position(tp))
            polled.append(consumer.last_poll_timestamp(tp) or 0)
        if polled:
            self.lag = lag
            self._answered = time.monotonic() - max(0.0, time.time() - min(polled) / 1000)
            if lag == 0:
                self.caught_up.set()


class Reader:
    """Follows the three topics the API answers from."""

    def __init__(
        self, bootstrap: str, names: Names, store: Store, feed: Feed, metrics: GatewayMetrics
    ) -> None:
        self._bootstrap = bootstrap
        self._names = names
        self._store = store
        self._feed = feed
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._topics = {
            OPINIONS: self._reader(OPINIONS, self._apply_opinion),
            WINDOWS: self._reader(WINDOWS, self._apply_window),
            ALERTS: self._reader(ALERTS, self._apply_alert),
        }

    def start(self) -> None:
        """Begin to read, in the background."""
        for reader in self._topics.values():
            self._tasks.append(asyncio.create_task(reader.follow()))
        self._tasks.append(asyncio.create_task(self._announce()))

    async def stop(self) -> None:
        """Stop reading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def states(self) -> dict[str, TopicState]:
        """Return how each topic is doing, by our name of it."""
        return {name: reader.state for name, reader in self._topics.items()}

    @property
    def ready(self) -> bool:
        """Whether the past has been read and the broker answers."""
        return all(state.caught_up and state.connected for state in self.states().values())

    async def replay(self, start: int, stop: int) -> AsyncIterator[Event]:
        """Yield alert events with start <= offset < stop from the broker.

        For a listener that resumes from before what memory holds.
        """
        tp = TopicPartition(self._names.topic(ALERTS), 0)
        async with _started(committed_reader(self._bootstrap)) as consumer:
            consumer.assign([tp])
            consumer.seek(tp, start)
            while await consumer.position(tp) < stop:
                for record in (await consumer.getmany(tp, timeout_ms=500)).get(tp, []):
                    if record.offset >= stop:
                        return
                    try:
                        alert = Alert.model_validate_json(record.value or b"")
                    except ValidationError:
                        continue  # counted when the reader met it
                    yield alert_event(alert, record.offset)

    def _reader(self, name: str, apply: Callable[[ConsumerRecord], None]) -> TopicReader:
        def on_fetch(records: int, unreadable: int) -> None:
            self._metrics.record_read(name, records, unreadable)

        return TopicReader(self._bootstrap, self._names.topic(name), apply, on_fetch)

    async def _announce(self) -> None:
        await self._topics[ALERTS].caught_up.wait()
        self._feed.go_live()

    def _apply_opinion(self, record: ConsumerRecord) -> None:
        self._store.apply_opinion(Opinion.model_validate_json(record.value or b""))

    def _apply_window(self, record: ConsumerRecord) -> None:
        self._store.apply_window(Window.model_validate_json(record.value or b""))

    def _apply_alert(self, record: ConsumerRecord) -> None:
        if record.partition != 0:
            raise ContractError(f"{record.topic} must have one partition: its offset is the order")
        alert = Alert.model_validate_json(record.value or b"")
        if self._store.apply_alert(alert, record.offset):
            dropped = self._feed.dropped
            self._feed.append(alert_event(alert, record.offset))
            self._metrics.record_dropped(self._feed.dropped - dropped)


@asynccontextmanager
async def _started(consumer: AIOKafkaConsumer) -> AsyncIterator[AIOKafkaConsumer]:
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
