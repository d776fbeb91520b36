"""The agent of aggregate: one owner per votes partition, state and outputs stand or fall together.

An owner has a transactional producer of its own; starting it fences every earlier owner. Any error
ends the ownership: the rows are forgotten, read back, and the same votes are worked on again.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import faust
import structlog
from aiokafka.structs import TopicPartition as TP

from streams.adapters.clock import now_ms
from streams.adapters.faust_app import Feed
from streams.adapters.prometheus import AggregateMetrics
from streams.adapters.publisher import Fenced, Publisher
from streams.adapters.readiness import ASSIGNMENT, Readiness
from streams.adapters.state_log import OWNER_ROW, read_rows
from streams.adapters.topic_watch import TopicWatch
from streams.agents.score import Hook, no_fault
from streams.core.errors import ContractError, PublishFailed
from streams.core.fold import Emitted, Fold
from streams.core.records import KIND_HEADER
from streams.core.rules import Rule
from streams.core.topics import ALERTS, LATE, STATE, VOTES, WINDOWS, Names
from streams.ports import Incoming, Outgoing
from streams.settings import AggregateSettings, KafkaSettings

log = structlog.get_logger()

EVENT_ID_HEADER: Final = "event_id"
_TRIES: Final = 5


@dataclass(slots=True)
class _Owner:
    fold: Fold
    publisher: Publisher


class AggregateAgent:
    """Reads votes, keeps state, writes windows and alerts."""

    def __init__(
        self,
        app: faust.App,
        kafka: KafkaSettings,
        settings: AggregateSettings,
        rules: Sequence[Rule],
        metrics: AggregateMetrics,
        readiness: Readiness,
        hook: Hook = no_fault,
    ) -> None:
        self._app = app
        self._kafka = kafka
        self._names = Names(kafka.prefix)
        self._settings = settings
        self._rules = rules
        self._metrics = metrics
        self._readiness = readiness
        self._hook = hook
        self._feed = Feed(app, kafka, self._start_offset, metrics.lost)
        self._owners: dict[int, _Owner] = {}
        self._partitions = 0
        self._topics = TopicWatch(kafka, (VOTES, STATE))
        app.on_partitions_assigned.connect(self._on_assigned)  # type: ignore[arg-type]

    @property
    def feed(self) -> Feed:
        """What it reads from."""
        return self._feed

    async def run(self, stream: Any) -> None:
        """Work until the stream ends, which it never should.

        Raises:
            ContractError: the stream ended, or state belongs to other topics.
            PublishFailed: the broker did not take a batch after several tries.
        """
        finder = Publisher(self._kafka)
        await finder.start()
        self._partitions = await finder.partitions(VOTES)
        await finder.stop()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._topics.run())
                tasks.create_task(self._read(stream))
        finally:
            for owner in self._owners.values():
                await owner.publisher.stop()

    async def _read(self, stream: Any) -> None:
        async for runs in self._feed.runs(
            stream, self._settings.batch_votes, self._settings.batch_wait_s, self._generation
        ):
            async with asyncio.TaskGroup() as tasks:
                for tp, run in runs.items():
                    tasks.create_task(self._work(tp, run))
        raise ContractError("the stream of votes ended")

    async def _on_assigned(self, sender: Any, assigned: set[Any], **kwargs: Any) -> None:
        # A partition that was away for a generation may have been another's: take it over anew.
        mine = {tp.partition for tp in assigned if tp.topic == self._names.topic(VOTES)}
        for partition in self._owners.keys() - mine:
            await self._drop(partition)
            self._metrics.released(partition)
        self._readiness.clear(ASSIGNMENT)

    async def _generation(self, generation: int) -> None:
        await self._topics.check()
        log.info("generation_started", generation=generation)

    async def _start_offset(self, tp: TP) -> int:
        owner = self._owners.get(tp.partition) or await self._take_over(tp)
        start = owner.fold.applied + 1
        # A crash between transaction and commit left it behind, and votes that were applied are
        # dropped unseen: with none after them, it would look as if they waited.
        await self._feed.commit({tp: start})
        return start

    async def _take_over(self, tp: TP) -> _Owner:
        partition = tp.partition
        started = time.monotonic()
        publisher = Publisher(
            self._kafka,
            f"{self._kafka.prefix}aggregate-{partition}",
            # Rows of one kind resemble each other: this more than halves what state costs. The
            # embedded broker has no transactions, keeps nothing, and shares our cores.
            compression="gzip" if self._kafka.transactions else None,
        )
        await publisher.start()
        try:
            token = secrets.token_hex(16).encode()
            async with publisher.transaction():
                row = Outgoing(STATE, OWNER_ROW.encode(), token, partition=partition)
                await publisher.send([row], now_ms())
            rows = await read_rows(self._kafka, partition, token, self._feed.progress)
            await self._hook("taken")
            lateness_ms = round(self._settings.lateness_s * 1000)
            fold = Fold.restore(rows, partition, self._partitions, lateness_ms, self._topics.ids)
        except BaseException:
            await publisher.stop()
            raise
        fold.adopt(self._rules)
        seconds = time.monotonic() - started
        log.info("partition_taken_over", partition=partition, rows=len(rows), seconds=seconds)
        self._metrics.taken_over(seconds)
        self._feed.progress()
        owner = self._owners[partition] = _Owner(fold, publisher)
        return owner

    async def _drop(self, partition: int) -> None:
        owner = self._owners.pop(partition, None)
        if owner:
            await owner.publisher.stop()

    async def _work(self, tp: TP, run: Sequence[Incoming]) -> None:
        """Apply a run in one transaction; on any error take over again and apply it anew."""
        generation = self._feed.read_in
        for attempt in range(1, _TRIES + 1):
            try:
                await self._apply(tp, run)
            except PublishFailed as error:
                await self._drop(tp.partition)
                fenced = isinstance(error, Fenced)
                log.warning("ownership_ended", partition=tp.partition, error=str(error))
                if fenced:
                    self._metrics.fenced()
                await asyncio.sleep(self._kafka.session_timeout_s / 5)
                if generation != self._feed.generation:
                    self._feed.restart(tp)
                    return  # another member's now; its votes come to it
                if attempt == _TRIES and not fenced:
                    raise
            else:
                return
        self._feed.restart(tp)

    async def _apply(self, tp: TP, run: Sequence[Incoming]) -> None:
        started = time.monotonic()
        owner = self._owners.get(tp.partition) or await self._take_over(tp)
        fold, publisher = owner.fold, owner.publisher
        todo = [record for record in run if record.offset > fold.applied]
        if not todo:
            return
        now = now_ms()
        for record in todo:
            kind = record.headers.get(KIND_HEADER, b"").decode()
            fold.apply(record.offset, record.timestamp_ms, kind, record.value or b"", now)
        emitted, rows = fold.take()
        async with publisher.transaction():
            await publisher.send(_outputs(emitted, tp.partition), now)
            await self._hook("outputs")
            await publisher.send(
                [Outgoing(STATE, k.encode(), v, partition=tp.partition) for k, v in rows.items()],
                now,
            )
            await self._hook("rows")
        await self._hook("transaction")
        await self._feed.commit({tp: fold.applied + 1})
        await self._hook("commit")
        self._metrics.applied(
            tp.partition,
            fold.counts,
            fold.watermark.value,
            len(emitted.windows),
            len(emitted.alerts),
            time.monotonic() - started,
        )


def _outputs(emitted: Emitted, partition: int) -> list[Outgoing]:
    outputs = [
        Outgoing(LATE, vote.subject.encode(), vote.to_json(), partition=partition)
        for vote in emitted.late
    ]
    outputs += [
        Outgoing(
            WINDOWS,
            window.subject.encode(),
            window.model_dump_json().encode(),
            partition=partition,
        )
        for window in emitted.windows
    ]
    outputs += [
        Outgoing(
            ALERTS,
            alert.id.encode(),
            alert.model_dump_json().encode(),
            ((EVENT_ID_HEADER, alert.event_id.encode()),),
            0,
        )
        for alert in emitted.alerts
    ]
    return outputs
