"""The agent of score: at least once, in order per input partition, repeatable.

Batches are scored side by side and published one after the other. An input offset is committed
only after its outputs, and the marker behind them, are confirmed in every votes partition.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import faust
import structlog
from aiokafka.structs import TopicPartition as TP

from streams.adapters.actions import read_actions, record_of
from streams.adapters.clock import now_ms
from streams.adapters.faust_app import Feed
from streams.adapters.prometheus import ScoreMetrics
from streams.adapters.publisher import Publisher
from streams.adapters.readiness import ASSIGNMENT, CLASSIFIER, DEAD_LETTERS, Readiness
from streams.adapters.topic_watch import TopicWatch
from streams.core.actions import Action, acceptance, open_hold
from streams.core.deadletter import DeadLetterBudget
from streams.core.errors import (
    ClassifierUnavailable,
    ConfigurationError,
    ContractError,
)
from streams.core.records import KIND_HEADER, Kind
from streams.core.topics import INPUTS, VOTES, Names
from streams.core.votes import Marker
from streams.pipeline.score import Plan, Result, Scorer
from streams.ports import Classifier, Incoming, Outgoing
from streams.settings import KafkaSettings, ScoreSettings

log = structlog.get_logger()

_MARKER: Final = ((KIND_HEADER, Kind.MARKER.value.encode()),)
_MARKER_EVERY_S: Final = 1.0
_PROBE_EVERY_S: Final = 5.0
_HOLD_S: Final = (0.5, 5.0)
_ASK_EVERY_S: Final = 2.0
_SPENT: Final = (
    "too many dead letters: look with `tickertone dead-letters list`, mend what sends them; "
    "to let them pass: tickertone accept dead-letters --why '…'"
)


class Hook(Protocol):
    """Called at the named steps of a batch; tests make it fail."""

    async def __call__(self, step: str) -> None:
        """Be told that a step was reached."""


async def no_fault(step: str) -> None:
    """Let every step pass."""


@dataclass(frozen=True, slots=True)
class _Work:
    generation: int
    texts: int
    task: "asyncio.Task[Result]"


class ScoreAgent:
    """Reads texts, writes opinions, votes, markers and dead letters."""

    def __init__(
        self,
        app: faust.App,
        kafka: KafkaSettings,
        settings: ScoreSettings,
        scorer: Scorer,
        classifier: Classifier,
        publisher: Publisher,
        metrics: ScoreMetrics,
        readiness: Readiness,
        hook: Hook = no_fault,
    ) -> None:
        self._app = app
        self._kafka = kafka
        self._names = Names(kafka.prefix)
        self._settings = settings
        self._scorer = scorer
        self._classifier = classifier
        self._publisher = publisher
        self._metrics = metrics
        self._readiness = readiness
        self._hook = hook
        self._feed = Feed(app, kafka, on_lost=metrics.lost)
        self._budget = DeadLetterBudget(
            settings.dead_window, settings.dead_ratio, settings.dead_run
        )
        self._queue: asyncio.Queue[_Work] = asyncio.Queue(settings.batches_in_flight)
        self._publishing = asyncio.Lock()
        self._reached: dict[str, int] = {}
        self._last_text: dict[str, float] = {}
        self._confirmed: dict[TP, int] = {}
        self._idle_generation = -1
        self._awake: set[str] = set()
        self._reported_at = 0.0
        self._scored_at = 0.0
        self._topics = TopicWatch(kafka, INPUTS)
        self._sources: tuple[str, ...] = ()
        self._votes_partitions = 0
        app.on_partitions_assigned.connect(self._on_assigned)  # type: ignore[arg-type]

    async def _on_assigned(self, sender: Any, assigned: set[Any], **kwargs: Any) -> None:
        # A member without partitions is ready as well: it stands by.
        self._readiness.clear(ASSIGNMENT)

    @property
    def feed(self) -> Feed:
        """What it reads from."""
        return self._feed

    async def run(self, stream: Any) -> None:
        """Work until the stream ends, which it never should.

        Raises:
            ContractError: the stream ended, or an input topic was made anew.
            PublishFailed: the broker did not confirm; a restart reads on from what is committed.
        """
        self._votes_partitions = await self._publisher.partitions(VOTES)
        await self._topics.check()
        self._scorer.topic_ids = self._topics.ids
        self._sources = tuple(
            [
                self._scorer.source(topic, partition)
                for topic in INPUTS
                for partition in range(await self._publisher.partitions(topic))
            ]
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(stream))
            tasks.create_task(self._publish_in_order())
            tasks.create_task(self._tick())
            tasks.create_task(self._probe())
            tasks.create_task(self._topics.run())

    async def _read(self, stream: Any) -> None:
        settings = self._settings
        async for runs in self._feed.runs(
            stream, settings.batch_texts, settings.batch_wait_s, self._abandon
        ):
            generation = self._feed.read_in
            records = [record for run in runs.values() for record in run]
            for part in _bounded(records, settings.batch_bytes):
                plan = self._scorer.plan(part)
                texts = len(plan.order)  # ends of replays are none
                self._metrics.consumed(texts)
                task = asyncio.create_task(self._score(plan, part))
                await self._queue.put(_Work(generation, texts, task))
        raise ContractError("the stream of texts ended")

    async def _score(self, plan: Plan, records: Sequence[Incoming]) -> Result:
        """Score a batch; while the model is away it is held, not committed, not lost."""
        pause = _HOLD_S[0]
        while True:
            started = time.monotonic()
            try:
                result = await self._scorer.score(plan, records)
            except ClassifierUnavailable as error:
                self._hold(CLASSIFIER, str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _HOLD_S[1])
                continue
            self._release(CLASSIFIER)
            self._scored_at = time.monotonic()
            self._metrics.inferred(time.monotonic() - started)
            return result

    async def _publish_in_order(self) -> None:
        await self._outlive_hold()
        while True:
            work = await self._queue.get()
            # Waiting for the task itself would hand our cancellation on to it, and a worker that
            # stops would go on with the next batch as if this one had been abandoned.
            await asyncio.wait({work.task})
            if work.task.cancelled():
                raise ContractError("a batch was cancelled on its way to the model")
            result = work.task.result()
            async with self._publishing:
                if work.generation != self._feed.generation:
                    self._metrics.abandoned(work.texts)
                    continue
                started = time.monotonic()
                await self._publish(result)
                self._metrics.published(result, work.texts, time.monotonic() - started)
            # Only now: held back, the batch that spends the budget would do so after every
            # restart, and nobody could get past it.
            await self._within_budget(result)

    async def _publish(self, result: Result) -> None:
        await self._publisher.send(result.outgoing, now_ms())
        await self._hook("outputs")
        at = time.monotonic()
        for source, event_time in result.event_times.items():
            self._reached[source] = max(event_time, self._reached.get(source, 0))
            self._last_text[source] = at
        if result.event_times:
            marks = {s: (self._reached[s], None) for s in result.event_times}
            await self._mark(await self._awoken() | marks)
        await self._hook("markers")
        offsets = {
            TP(self._names.topic(topic), partition): offset
            for (topic, partition), offset in result.next_offsets.items()
        }
        self._confirmed.update(offsets)
        if not await self._feed.commit(offsets):
            self._metrics.commit_refused()
        await self._hook("commit")

    async def _awoken(self) -> dict[str, tuple[int | None, int | None]]:
        """Return marks of our sources that are said to be idle and have texts waiting.

        Only they can hold the time back until their texts are counted.
        """
        asleep = {self._source(tp): tp for tp in self._feed.assignment()}
        asleep = {source: tp for source, tp in asleep.items() if source not in self._awake}
        if not asleep:
            return {}
        exhausted = await self._feed.exhausted()
        return {
            source: (self._reached.get(source), None)
            for source, tp in asleep.items()
            if self._waiting(tp, exhausted)
        }

    def _source(self, tp: TP) -> str:
        return self._scorer.source(self._names.plain(tp.topic), tp.partition)

    async def _mark(self, marks: dict[str, tuple[int | None, int | None]]) -> None:
        marker = Marker(self._feed.generation, marks, self._sources).to_json()
        await self._publisher.send(
            [
                Outgoing(VOTES, None, marker, _MARKER, partition)
                for partition in range(self._votes_partitions)
            ],
            now_ms(),
        )
        self._awake |= {source for source, (_, idle) in marks.items() if idle is None}
        self._metrics.marked()

    async def _within_budget(self, result: Result) -> None:
        spent = False
        for dead in result.order:
            self._budget.record(dead)
            spent = spent or self._budget.spent  # a good text behind a flood does not undo it
        if spent:
            hold = Action.hold(who=f"score on {socket.gethostname()}", at=now_ms(), why=_SPENT)
            await self._publisher.send([record_of(hold)], now_ms())
            await self._wait_for_acceptance(hold)

    async def _outlive_hold(self) -> None:
        """A restart is no decision: a hold that nobody has accepted goes on."""
        hold = open_hold(await self._actions())
        if hold:
            await self._wait_for_acceptance(hold)

    async def _wait_for_acceptance(self, hold: Action) -> None:
        """Hold until an operator accepts the dead letters, which must be after the hold began."""
        while not (action := acceptance(await self._actions(), hold)):
            self._hold(DEAD_LETTERS, _SPENT)
            await asyncio.sleep(_ASK_EVERY_S)
        log.warning("flood_accepted", who=action.who, at=action.at, why=action.why)
        self._budget.accept()
        self._release(DEAD_LETTERS)

    async def _actions(self) -> list[Action]:
        while True:
            try:
                return await read_actions(str(self._kafka.bootstrap), self._names)
            except ConfigurationError as error:
                log.warning("actions_unread", error=str(error))
            await asyncio.sleep(_ASK_EVERY_S)

    async def _tick(self) -> None:
        """Say once a second how far all our sources have come and which are idle, however many
        markers go out behind batches: those are silent about sources without texts.
        """
        while True:
            await asyncio.sleep(_MARKER_EVERY_S / 4)
            if time.monotonic() - self._reported_at < _MARKER_EVERY_S:
                continue
            assigned = self._feed.assignment()
            if not assigned:
                continue
            await self._begin_generation(assigned)
            async with self._publishing:
                exhausted = await self._feed.exhausted()
                marks = {}
                for tp in assigned:
                    source = self._source(tp)
                    idle = self._idle_ms(tp, source, exhausted)
                    marks[source] = (self._reached.get(source), idle)
                self._awake.clear()
                await self._mark(marks)
            self._reported_at = time.monotonic()

    async def _begin_generation(self, assigned: set[TP]) -> None:
        """Forget how long a source was idle: in between it may have been another member's."""
        if self._idle_generation != self._feed.generation:
            self._idle_generation = self._feed.generation
            self._last_text.clear()
            for tp in assigned:
                first = await self._feed.first_offset(tp)
                # A batch may have been confirmed meanwhile.
                self._confirmed[tp] = max(first, self._confirmed.get(tp, 0))

    def _idle_ms(self, tp: TP, source: str, exhausted: dict[TP, int]) -> int | None:
        at = time.monotonic()
        idle_s = at - self._last_text.setdefault(source, at)
        if idle_s < self._settings.idle_s or self._waiting(tp, exhausted):
            return None
        return int(idle_s * 1000)

    def _waiting(self, tp: TP, exhausted: dict[TP, int]) -> bool:
        """Whether there may be records that are not fetched, or fetched and still in hand."""
        if tp not in exhausted:
            return True
        confirmed = self._confirmed.get(tp)
        return exhausted[tp] >= 0 and (confirmed is None or exhausted[tp] >= confirmed)

    async def _probe(self) -> None:
        """Notice a model server that is gone while no text comes."""
        while True:
            if time.monotonic() - self._scored_at > _PROBE_EVERY_S:
                if await self._classifier.ready():
                    self._release(CLASSIFIER)
                else:
                    self._hold(CLASSIFIER, "no answer to a probe")
            await asyncio.sleep(_PROBE_EVERY_S)

    async def _abandon(self, generation: int) -> None:
        """Give up the batches in hand: the new generation reads on from what is committed."""
        await self._topics.check()
        async with self._publishing:
            self._awake.clear()  # another member may have called them idle
            given_up = 0
            while not self._queue.empty():
                work = self._queue.get_nowait()
                work.task.cancel()
                given_up += work.texts
            if given_up:
                self._metrics.abandoned(given_up)
            log.info("generation_started", generation=generation, abandoned=given_up)

    def _hold(self, reason: str, detail: str) -> None:
        if reason not in self._readiness.blocked:
            log.warning("holding", reason=reason, detail=detail)
        self._readiness.block(reason, detail)
        self._metrics.holding(reason, True)

    def _release(self, reason: str) -> None:
        if reason in self._readiness.blocked:
            log.info("going_on", reason=reason)
        self._readiness.clear(reason)
        self._metrics.holding(reason, False)


def _bounded(records: list[Incoming], most_bytes: int) -> list[list[Incoming]]:
    """Cut a batch so that no part is over the limit, unless it is a single record."""
    parts: list[list[Incoming]] = []
    size = 0
    for record in records:
        length = len(record.value or b"")
        if not parts or size + length > most_bytes:
            parts.append([])
            size = 0
        parts[-1].append(record)
        size += length
    return parts
