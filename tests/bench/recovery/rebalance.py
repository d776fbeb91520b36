"""How long votes wait when an aggregate worker joins, stops or is killed."""

import asyncio
import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import TopicPartition as TP

from streams.adapters.clock import now_ms
from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.publisher import Publisher
from streams.core.records import KIND_HEADER, Kind
from streams.core.topics import VOTES, Names
from streams.ports import Outgoing
from streams.settings import KafkaSettings
from tests.bench.recovery.load import PARTITIONS, Load
from tests.bench.recovery.state import BATCH_MS
from tests.support.workers import Worker, until

_VOTE: Final = ((KIND_HEADER, Kind.VOTE.value.encode()),)
_MARKER: Final = ((KIND_HEADER, Kind.MARKER.value.encode()),)
_PATIENCE_S: Final = 120
_STEADY_S: Final = 5.0
_POLL_S: Final = 0.05


class Watch:
    """Asks every 50 ms how far votes are committed, and remembers when they were not."""

    def __init__(self, kafka: KafkaSettings) -> None:
        names = Names(kafka.prefix)
        self._group = names.group("aggregate")
        self._partitions = [TP(names.topic(VOTES), p) for p in range(PARTITIONS)]
        self._admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        self._consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
        self._committed = dict.fromkeys(self._partitions, 0)
        self._moves: dict[TP, list[float]] = defaultdict(list)

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._admin.start()
        await self._consumer.start()
        try:
            while True:
                # The broker makes the topic of offsets when the first group comes.
                with contextlib.suppress(GroupCoordinatorNotAvailableError):
                    self._note(await self._admin.list_consumer_group_offsets(self._group))
                await asyncio.sleep(_POLL_S)
        finally:
            await self._admin.close()
            await self._consumer.stop()

    def _note(self, found: dict[TP, Any]) -> None:
        at = time.monotonic()
        for tp in self._partitions:
            if tp in found and found[tp].offset > self._committed[tp]:
                self._committed[tp] = found[tp].offset
                self._moves[tp].append(at)

    async def caught_up(self) -> None:
        """Wait until all that lies on votes.v1 now is committed."""
        ends = await self._consumer.end_offsets(self._partitions)

        async def reached() -> bool:
            return all(self._committed[tp] >= end for tp, end in ends.items())

        await until(reached, _PATIENCE_S, "all votes are committed")

    def pause(self, since: float) -> float:
        """Return the longest time since then in which a partition's commits stood still."""
        longest = 0.0
        for tp in self._partitions:
            moves = [since, *(m for m in self._moves[tp] if m > since), time.monotonic()]
            longest = max(longest, *(b - a for a, b in itertools.pairwise(moves)))
        return longest


async def _feed(kafka: KafkaSettings, rate: float) -> None:
    """Write votes and markers as score does, in real time."""
    publisher = Publisher(kafka)
    await publisher.start()
    try:
        for tick in Load(1_000).ticks(now_ms(), 24 * 3600, rate, BATCH_MS):
            await asyncio.sleep((tick.end_ms - now_ms()) / 1000)
            votes = [
                Outgoing(VOTES, subject.encode(), vote, _VOTE, partition)
                for partition, each in tick.votes.items()
                for subject, vote in each
            ]
            await publisher.send(votes, now_ms())
            markers = [Outgoing(VOTES, None, tick.marker, _MARKER, p) for p in range(PARTITIONS)]
            await publisher.send(markers, now_ms())
    finally:
        await publisher.stop()


class Group:
    """Aggregate workers on one prefix, under load."""

    def __init__(self, kafka: KafkaSettings, folder: Path, watch: Watch) -> None:
        self._folder = folder
        self._watch = watch
        self._env = {
            "TICKERTONE_KAFKA__BOOTSTRAP": kafka.bootstrap or "",
            "TICKERTONE_KAFKA__PREFIX": kafka.prefix,
            "TICKERTONE_RUN_DIR": str(folder),
        }
        self._count = 0
        self.workers: list[Worker] = []

    def start(self) -> Worker:
        """Start one more."""
        self._count += 1
        name = f"aggregate-{self._count}"
        worker = Worker(name, "aggregate", self._folder, self._env)
        worker.start(restart=False)
        self.workers.append(worker)
        return worker

    async def steady(self, count: int) -> None:
        """Start what is missing and wait until all partitions have been read for a while."""
        while len(self.workers) < count:
            await until(self.start().ready, _PATIENCE_S, "a worker is ready")
        await self._watch.caught_up()
        await asyncio.sleep(_STEADY_S)
        await self._watch.caught_up()

    async def measured(self, event: str) -> dict[str, float]:
        """Let one worker join, stop or be killed; a lone one that goes is followed at once.

        The time counts until all is committed that lay there when the newcomer was ready, or
        when the old process was gone.
        """
        started = time.monotonic()
        if event == "join":
            await until(self.start().ready, _PATIENCE_S, "the newcomer is ready")
        else:
            worker = self.workers.pop(0)
            if event == "kill":
                worker.kill()
                await worker.ended(_PATIENCE_S)
            await worker.stop()
            if not self.workers:
                self.start()
        await self._watch.caught_up()
        recovered = time.monotonic()
        await asyncio.sleep(_STEADY_S)
        return {"recovered_s": recovered - started, "pause_s": self._watch.pause(started)}


@contextlib.asynccontextmanager
async def _group(kafka: KafkaSettings, folder: Path, rate: float) -> AsyncIterator[Group]:
    ensure_topics(kafka)
    watch = Watch(kafka)
    group = Group(kafka, folder, watch)
    tasks = [asyncio.create_task(_feed(kafka, rate)), asyncio.create_task(watch.run())]
    try:
        await asyncio.sleep(1)
        yield group
    finally:
        for worker in group.workers:
            await worker.stop()
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def rebalances(
    kafka: KafkaSettings,
    folder: Path,
    counts: tuple[int, ...],
    repeats: int,
    rate: float,
    told: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Return seconds per number of workers and event.

    Of n workers the last one joins, then one stops, then, n again, one is killed.

    Args:
        kafka: The broker.
        folder: For the workers' logs.
        counts: Numbers of workers.
        repeats: How often each.
        rate: Votes a second meanwhile.
        told: Is told of each event.
    """
    results: list[dict[str, Any]] = []
    for count in counts:
        own = kafka.model_copy(update={"prefix": f"group{count}."})
        async with _group(own, folder / f"group{count}", rate) as group:
            for _ in range(repeats):
                for event in ("join", "stop", "kill"):
                    if event == "join":
                        while len(group.workers) >= count:
                            await group.workers.pop().stop()
                        await group.steady(count - 1) if count > 1 else None
                    else:
                        await group.steady(count)
                    seconds = await group.measured(event)
                    results.append({"workers": count, "event": event, **seconds})
                    told(f"  {count} workers, {event}: {seconds['recovered_s']:.1f} s")
    return results
