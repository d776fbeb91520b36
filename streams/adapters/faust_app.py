"""Faust as we use it: it consumes and distributes, we decide what is done.

Faust's own acks stall at control records, lose failed batches and what comes in while an agent
ends; it reads uncommitted records, and it can skip records at a rebalance. This file is the one
place that knows how to live with that: a consumer that reads committed records and commits what we
say and nothing else, and a feed that drops stale events and fills holes.
"""

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import aiokafka
import faust
import faust.streams
import structlog
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as TP
from faust.transport.drivers import aiokafka as driver
from mode.threads import WorkerThread

from streams.adapters.holes import fill
from streams.core.errors import ContractError
from streams.core.topics import Names
from streams.ports import Incoming
from streams.settings import KafkaSettings

log = structlog.get_logger()

_DAY_S: Final = 86_400.0
_ANSWERED_MS: Final = 10_000
_FETCH_WAIT_MS: Final = 100
_STOP_S: Final = 10.0
_PROBE_S: Final = 3.0


class Waiting(NamedTuple):
    """Records of a partition that are not committed."""

    committed: int
    end: int
    """first offset that can't be read yet"""


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
        self.committed: dict[TP, int] = {}
        self.moved_at = time.monotonic()

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
        moves = any(offsets[tp] > self.committed.get(tp, -1) for tp in held)
        try:
            await consumer.commit(held)
        except (KafkaError, IllegalStateError, ValueError) as error:
            log.warning("commit_refused", error=type(error).__name__)
            return False
        if moves:
            self.moved_at = time.monotonic()
        self.committed.update({tp: offsets[tp] for tp in held})
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

    async def waiting(self) -> dict[TP, Waiting]:
        """Return our partitions with records that came, or can be had, and are not committed.

        What a broker keeps to itself does not count. Whatever seems to wait is held against the
        group's own commits, so an answer also says that the broker lives.

        Raises:
            TimeoutError: the broker does not answer.
        """
        consumer = self._ensure_consumer()
        found = {}
        async with asyncio.timeout(_PROBE_S):
            for tp in consumer.assignment():
                end, fetched = self._readable_end(consumer, tp), self.fetched.get(tp, -1)
                unread = end is not None
                if not unread and fetched < self.committed.get(tp, 0):
                    continue
                committed = await consumer.committed(tp) or 0
                self.committed[tp] = committed
                if unread or fetched >= committed:
                    place = TP(tp.topic, tp.partition)
                    found[place] = Waiting(committed, max(end or 0, fetched + 1))
        return found

    def _readable_end(self, consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> int | None:
        """Return the end of what can be fetched; None if the position has reached it, or if the
        broker sends nothing. Records of an open transaction can't be fetched yet.
        """
        subscription = consumer._subscription.subscription
        assignment = subscription and subscription.assignment
        state = assignment and assignment.state_value(tp)
        if not state or not state.has_valid_position or state.highwater is None:
            return None
        # A partition under back-pressure is not asked for, but has records here.
        here = tp in consumer._fetcher._records
        if not here and time.time() * 1000 - state.timestamp > _ANSWERED_MS:
            return None
        stable = state.highwater if state.lso is None or state.lso < 0 else state.lso
        end = min(state.highwater, stable)
        return end if state.position < end else None


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # Once an agent has left its loop, the stream acks what still comes in, unseen by us, and
        # Faust would commit that while the app stops. Only `commit_held` commits.
        return False


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
        on_lost: Told how many offsets were passed because an operator has accepted their loss.
    """

    def __init__(
        self,
        app: faust.App,
        settings: KafkaSettings,
        start: Callable[[TP], Awaitable[int]] | None = None,
        on_lost: Callable[[int], None] = lambda offsets: None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._on_lost = on_lost
        self._progressed_at = time.monotonic()
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

    def progress(self) -> None:
        """Say that work moves, though nothing can be committed yet."""
        self._progressed_at = time.monotonic()

    @property
    def moved_at(self) -> float:
        """When a commit, or other work, moved last, on the monotonic clock."""
        return max(self._progressed_at, self._thread.moved_at)

    async def waiting(self) -> dict[TP, Waiting]:
        """Return our partitions with records that wait.

        Raises:
            TimeoutError: the broker does not answer.
        """
        async with asyncio.timeout(2 * _PROBE_S):
            return dict(await self._thread.call_thread(self._thread.waiting))

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
        found = await fill(self._settings, tp, start, end, self.progress, self._on_lost)
        if found:
            log.warning("hole_filled", topic=tp.topic, partition=tp.partition, records=len(found))
        return found


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
