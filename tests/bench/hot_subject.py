"""Everybody talks about one subject: can one aggregate worker keep up?

    python -m tests.bench.hot_subject --rate 2000 --minutes 10

Votes are made beforehand, then written to Apache Kafka (one node, loopback) at the given rate, all
about the market and so all in one partition, while a real aggregate worker reads them. Printed are
how far it was behind, what it cost, the largest state row, and what the fold alone does with the
same votes on this machine. Nothing here gates.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import TopicPartition as TP
from rich.console import Console

from streams.adapters.clock import now_ms
from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.kafka_scan import scan
from streams.adapters.publisher import Publisher
from streams.core.fold import Fold
from streams.core.labels import MARKET
from streams.core.records import KIND_HEADER, Kind
from streams.core.topics import STATE, VOTES, Names
from streams.ports import Outgoing
from streams.settings import KafkaSettings
from tests.bench.recovery.load import LATENESS_MS, PARTITIONS, VOTES_PER_TEXT, Load
from tests.support.kafka import Cluster
from tests.support.workers import Worker, until

_STEP_MS: Final = 250
_START_MS: Final = 1_750_000_000_000 // 60_000 * 60_000
_PATIENCE_S: Final = 600
_VOTE: Final = ((KIND_HEADER, Kind.VOTE.value.encode()),)
_MARKER: Final = ((KIND_HEADER, Kind.MARKER.value.encode()),)
console = Console()


@dataclass(frozen=True, slots=True)
class Moment:
    """What is written within a quarter of a second: votes about the market, and a marker."""

    at_ms: int
    votes: list[bytes]
    marker: bytes


@dataclass
class Lag:
    """How far the worker was behind, once a second: votes that lie there and are not committed."""

    votes: list[int] = field(default_factory=list)

    async def run(self, kafka: KafkaSettings, partition: int) -> None:
        """Watch until cancelled."""
        names = Names(kafka.prefix)
        tp = TP(names.topic(VOTES), partition)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await consumer.start()
        try:
            while True:
                end = (await consumer.end_offsets([tp]))[tp]
                try:
                    found = await admin.list_consumer_group_offsets(names.group("aggregate"))
                except GroupCoordinatorNotAvailableError:
                    found = {}
                self.votes.append(end - max(found[tp].offset if tp in found else 0, 0))
                await asyncio.sleep(1)
        finally:
            await admin.close()
            await consumer.stop()


def main() -> None:
    """Read the arguments, measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=2000, help="votes a second")
    parser.add_argument("--minutes", type=float, default=10.0)
    args = parser.parse_args()
    load = Load(100)
    with console.status("making votes"):
        moments = list(_moments(load, args.minutes * 60, args.rate))
    count = sum(len(moment.votes) for moment in moments)
    console.print(f"{count:,} votes about the market, {args.rate} a second, {args.minutes} minutes")
    alone = _fold_alone(load.market, moments)
    console.print(
        f"the fold alone: {count / alone:,.0f} votes/s, {alone / count * 1e6:.0f} µs each"
    )
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder) / "kafka")
        try:
            cluster.start()
            kafka = KafkaSettings(bootstrap=cluster.bootstrap)
            asyncio.run(_through_kafka(kafka, Path(folder), load.market, moments, count))
        finally:
            cluster.close()


def _moments(load: Load, seconds: float, rate: int) -> Iterator[Moment]:
    for tick in load.ticks(_START_MS, seconds, rate * VOTES_PER_TEXT, _STEP_MS):
        votes = [vote for subject, vote in tick.votes[load.market] if subject == MARKET]
        yield Moment(tick.end_ms, votes, tick.marker)


def _fold_alone(partition: int, moments: list[Moment]) -> float:
    """Return the processor seconds of applying it all, rows included."""
    fold = Fold(partition, PARTITIONS, LATENESS_MS)
    offset, started = 0, time.process_time()
    for moment in moments:
        for kind, values in ((Kind.VOTE, moment.votes), (Kind.MARKER, [moment.marker])):
            for value in values:
                fold.apply(offset, moment.at_ms, kind, value, moment.at_ms)
                offset += 1
        fold.take()
    return time.process_time() - started


async def _through_kafka(
    kafka: KafkaSettings, folder: Path, partition: int, moments: list[Moment], count: int
) -> None:
    ensure_topics(kafka)
    worker = Worker(
        "aggregate",
        "aggregate",
        folder,
        {"TICKERTONE_KAFKA__BOOTSTRAP": kafka.bootstrap or "", "TICKERTONE_RUN_DIR": str(folder)},
    )
    worker.start(restart=False)
    lag = Lag()
    watch = asyncio.create_task(lag.run(kafka, partition))
    try:
        await until(worker.ready, _PATIENCE_S, "the worker is ready")
        process = psutil.Process(worker.pid)
        before, started = _cpu(process), time.monotonic()
        longest = await _send(kafka, partition, moments)
        sent_in = time.monotonic() - started
        during = max(lag.votes)
        seen = len(lag.votes)

        async def caught_up() -> bool:
            return len(lag.votes) > seen and lag.votes[-1] == 0

        await until(caught_up, _PATIENCE_S, "all votes are committed")
        behind, cpu = time.monotonic() - started - sent_in, _cpu(process) - before
        memory = process.memory_info().rss
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await worker.stop()
    rate = count / sent_in
    console.print(f"through Kafka and aggregate: {rate:,.0f} votes/s for {sent_in:.0f} s")
    console.print(f"  behind at most {during:,} votes ({during / rate:.1f} s of them)")
    console.print(f"  all committed {behind:.1f} s after the last was sent")
    console.print(f"  the sender was late by at most {longest:.1f} s")
    console.print(
        f"  aggregate took {cpu:.0f} s of processor time: {cpu / count * 1e6:.0f} µs each"
    )
    console.print(f"  it holds {memory / 2**20:.0f} MiB")
    largest = await _largest_row(kafka)
    console.print(f"  largest state row {largest / 1000:.0f} kB (bound 256)")


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _largest_row(kafka: KafkaSettings) -> int:
    largest = 0
    async with scan(kafka.bootstrap or "", Names(kafka.prefix).topic(STATE)) as rows:
        async for _, records in rows.batches():
            largest = max(largest, *(len(record.value or b"") for record in records))
    return largest


async def _send(kafka: KafkaSettings, partition: int, moments: list[Moment]) -> float:
    """Write the moments at their pace; return by how many seconds the pace was missed at most."""
    publisher = Publisher(kafka)
    await publisher.start()
    longest, started = 0.0, time.monotonic()
    try:
        for moment in moments:
            due = started + (moment.at_ms - _START_MS) / 1000
            await asyncio.sleep(due - time.monotonic())
            longest = max(longest, time.monotonic() - due)
            key = MARKET.encode()
            votes = [Outgoing(VOTES, key, vote, _VOTE, partition) for vote in moment.votes]
            await publisher.send(votes, now_ms())
            markers = [Outgoing(VOTES, None, moment.marker, _MARKER, p) for p in range(PARTITIONS)]
            await publisher.send(markers, now_ms())
    finally:
        await publisher.stop()
    return longest


if __name__ == "__main__":
    main()
