"""Faust as we use it: it consumes and distributes, we decide what is done.

Faust's own acks stall at control records and lose failed batches, it reads uncommitted records,
and it can skip records at a rebalance. This file is the one place that knows how to live with
that: a consumer thread that reads committed records and commits what we say, and a feed that
drops stale events and fills holes.
"""

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import aiokafka
import faust
import faust.streams
import structlog
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as TP
from faust.transport.drivers import aiokafka as driver
from mode.threads import WorkerThread

from streams.core.errors import ContractError, LostRecords
from streams.core.topics import Names
from streams.ports import Incoming
from streams.settings import KafkaSettings

log = structlog.get_logger()

_DAY_S: Final = 86_400.0
_ANSWERED_MS: Final = 10_000
_FETCH_WAIT_MS: Final = 100
_STOP_S: Final = 10.0


class _Worker(WorkerThread):
    """A thread that can't keep a process alive that must end, nor hold up its end for ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True

    def stop(self) -> None:
        self.is_stopped.wait(_STOP_S)


class _Thread(driver.AIOKafkaConsumerThread):
    Worker = _Worker

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fetched: dict[TP, int] = {}

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no setting for these; the fetcher reads them when the consumer starts.
        consumer._isolation_level = "read_committed"
        # One fetch at a time goes to a broker: while partitions under back-pressure are left out
        # of it, a long wait for the empty ones keeps the full ones waiting as well.
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer

    async def commit_held(self, offsets: Mapping[TP, int]) -> bool:
        """Commit the partitions that are still ours; whether that was all of them.

        Faust's own `_commit` crashes the worker when a partition is lost on the way.
        """
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        held = {tp: OffsetAndMetadata(o, "") for tp, o in offsets.items() if tp in assigned}
        if not held:
            return False
        try:
            await consumer.commit(held)
        except (KafkaError, IllegalStateError, ValueError) as error:
            log.warning("commit_refused", error=type(error).__name__)
            return False
        return len(held) == len(offsets)

    async def first_offset(self, tp: TP) -> int:
        """Return the committed offset, or the log's start where there is none."""
        consumer = self._ensure_consumer()
        committed = await consumer.committed(tp)
        if committed is not None:
            return int(committed)
        return int((await consumer.beginning_offsets([tp]))[tp])

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> Any:
        records = await super()._fetch_records(*args, **kwargs)
        for tp, run in records.items():
            self.fetched[TP(tp.topic, tp.partition)] = run[-1].offset
        return records

    async def exhausted(self) -> dict[TP, int]:
        """Return the partitions in which answered fetches find nothing new, and for each the
        offset of the last record that was fetched (-1: none).
        """
        consumer = self._ensure_consumer()
        found = {}
        for tp in consumer.assignment():
            highwater, polled = consumer.highwater(tp), consumer.last_poll_timestamp(tp)
            if highwater is None or time.time() * 1000 - polled > _ANSWERED_MS:
                continue
            if await consumer.position(tp) >= highwater:
                found[TP(tp.topic, tp.partition)] = self.fetched.get(tp, -1)
        return found


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer


def make_app(group: str, settings: KafkaSettings, buffer: int) -> faust.App:
    """Return a Faust app with the settings that lose nothing.

    Args:
        group: Consumer group id.
        settings: Where the broker is.
        buffer: Most records waiting in a stream; full streams pause their partitions.
    """
    if getattr(faust.streams, "_CStreamIterator", None) is None:
        # The pure-Python path acks skipped stale events.
        raise ContractError("faust-streaming lacks its compiled stream iterator; reinstall it")
    brokers = [f"aiokafka://{host.strip()}" for host in (settings.bootstrap or "").split(",")]
    session = settings.session_timeout_s
    app = faust.App(
        group,
        broker=";".join(brokers),
        autodiscover=False,
        key_serializer="raw",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        store="memory://",
        # Faust makes this folder even without tables, by default where we happen to stand.
        datadir=str(Path(tempfile.gettempdir()) / "tickertone-faust"),
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=buffer,
        stream_processing_timeout=_DAY_S,
        broker_commit_livelock_soft_timeout=_DAY_S,
        broker_session_timeout=session,
        broker_heartbeat_interval=session / 5,
        broker_rebalance_timeout=session,
        broker_request_timeout=session * 2,
        broker_max_poll_interval=_DAY_S,
        broker_max_poll_records=500,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
    )
    app.transport = _Transport(app.conf.broker_consumer, app)
    return app


class Feed:
    """The events of a Faust stream as contiguous runs per partition.

    Args:
        app: The app whose stream is read.
        settings: Where the broker is.
        start: Returns the offset at which a partition goes on in a new generation; by default where
            its commits stand.
    """

    def __init__(
        self,
        app: faust.App,
        settings: KafkaSettings,
        start: Callable[[TP], Awaitable[int]] | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._names = Names(settings.prefix)
        self._start = start or self.first_offset
        self._expected: dict[TP, int] = {}
        self._generation = -1
        self.filled = 0
        """records read again because Faust skipped them"""

    @property
    def generation(self) -> int:
        """The consumer group's generation as this member knows it."""
        return int(self._app.consumer_generation_id)

    @property
    def read_in(self) -> int:
        """The generation of the batch that `runs` yielded last; a newer one may have begun."""
        return self._generation

    def assignment(self) -> set[TP]:
        """Return the partitions that are ours now."""
        return {TP(tp.topic, tp.partition) for tp in self._app.consumer.assignment()}

    @property
    def _thread(self) -> _Thread:
        return cast(_Thread, cast(Any, self._app.consumer)._thread)

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; False means that some partition was not committed, which is no error."""
        return bool(await self._thread.call_thread(self._thread.commit_held, offsets))

    async def first_offset(self, tp: TP) -> int:
        """Return the committed offset, or the log's start where there is none."""
        return int(await self._thread.call_thread(self._thread.first_offset, tp))

    async def exhausted(self) -> dict[TP, int]:
        """Return our partitions in which nothing is left to fetch, and the last offset fetched."""
        return dict(await self._thread.call_thread(self._thread.exhausted))

    def restart(self, tp: TP) -> None:
        """Ask `start` again at the partition's next record."""
        self._expected.pop(tp, None)

    async def runs(
        self,
        stream: Any,
        most: int,
        within_s: float,
        on_generation: Callable[[int], Awaitable[None]],
    ) -> AsyncIterator[dict[TP, list[Incoming]]]:
        """Yield batches: per partition, records without a hole and without repeats.

        Args:
            stream: The stream of a Faust agent.
            most: Most records of a batch (holes that are filled come on top).
            within_s: Longest wait for a batch to fill.
            on_generation: Called at the first records of a new generation.
        """
        async for events in stream.noack_take(most, within=within_s):
            generation = self.generation
            fresh = defaultdict(list)
            for event in events:
                # A batch can hold events of two generations; only the stale ones go.
                if event.message.generation_id == generation:
                    message = event.message
                    fresh[TP(message.topic, message.partition)].append(message)
            if not fresh:
                continue
            if generation != self._generation:
                await on_generation(generation)
                self._expected.clear()
                self._generation = generation
            yield {tp: run for tp in fresh if (run := await self._run(tp, fresh[tp]))}

    async def _run(self, tp: TP, messages: Sequence[Any]) -> list[Incoming]:
        if tp not in self._expected:
            self._expected[tp] = await self._start(tp)
        run: list[Incoming] = []
        for message in messages:
            expected = self._expected[tp]
            if message.offset < expected:
                continue
            if message.offset > expected:
                missing = await self._missing(tp, expected, message.offset)
                self.filled += len(missing)
                run += missing
            run.append(
                Incoming(
                    self._names.plain(tp.topic),
                    tp.partition,
                    message.offset,
                    round(message.timestamp * 1000),
                    message.key,
                    message.value,
                    dict(message.headers or ()),
                )
            )
            self._expected[tp] = message.offset + 1
        return run

    async def _missing(self, tp: TP, start: int, end: int) -> list[Incoming]:
        found = [record async for record in read_range(self._settings, tp, start, end)]
        if found:
            log.warning("hole_filled", topic=tp.topic, partition=tp.partition, records=len(found))
        return found


async def read_range(
    settings: KafkaSettings, tp: TP, start: int, end: int
) -> AsyncIterator[Incoming]:
    """Yield the committed records of [start, end); a range without records is simply empty.

    Raises:
        LostRecords: retention has removed the start of the range.
    """
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    try:
        consumer.assign([tp])
        consumer.seek(tp, start)
        at = start
        while at < end:
            try:
                fetched = await consumer.getmany(tp, timeout_ms=200)
            except OffsetOutOfRangeError as error:
                raise LostRecords(
                    f"{tp.topic}/{tp.partition}: records from offset {start} on were removed "
                    "by retention before they were read"
                ) from error
            for record in fetched.get(tp, ()):
                if record.offset >= end:
                    return
                yield incoming(record, Names(settings.prefix))
            at = await consumer.position(tp)
    finally:
        await consumer.stop()


def incoming(record: Any, names: Names) -> Incoming:
    """Return an aiokafka record in our form."""
    return Incoming(
        names.plain(record.topic),
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        dict(record.headers),
    )


async def serve(app: faust.App, stop: asyncio.Event, failed: asyncio.Future[None]) -> None:
    """Run the app until it is told to stop, or until it or an agent fails.

    Raises:
        BaseException: what ended the agent or the app.
    """
    waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(stop.wait())}
    try:
        await app.start()
        waits.add(asyncio.ensure_future(cast(Any, app)._crashed.wait()))
        await asyncio.wait({*waits, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
        if app.crashed:
            raise ContractError(f"the consumer ended: {app.crash_reason!r}")
    finally:
        for wait in waits:
            wait.cancel()
        try:
            async with asyncio.timeout(_STOP_S):
                await app.stop()
        except TimeoutError:
            log.warning("consumer_did_not_stop")
