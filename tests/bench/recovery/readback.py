"""How long a new owner takes to read one partition's rows back, on Apache Kafka.

The topic holds the rows as they stood, as compaction leaves them, and behind them every version of
an hour at full rate: the most that can lie there before compaction. To save time, a transaction
here holds some tens of batches where aggregate has one for each; the rows are the same, and there
are fewer control records between them.
"""

import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from streams.adapters.clock import now_ms
from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.publisher import Publisher
from streams.adapters.state_log import OWNER_ROW, read_rows
from streams.core.fold import Fold
from streams.core.topics import STATE, Names
from streams.ports import Outgoing
from streams.settings import KafkaSettings
from tests.bench.recovery.load import LATENESS_MS, PARTITIONS, TOPIC_IDS, Load
from tests.bench.recovery.state import BATCH_MS, Partition, grown

Stored = Callable[[str, int], int]

_SNAPSHOT_ROWS: Final = 2_000
_ROWS_TOGETHER: Final = 1_000


async def read_back(
    kafka: KafkaSettings,
    stored: Stored,
    subjects: int,
    history: int,
    minutes: int,
    rate: float,
    repeats: int,
) -> dict[str, Any]:
    """Return seconds of a take-over, before and after some minutes at full rate.

    The partition is the one that the market lies on, which has most of the votes.

    Args:
        kafka: The broker; the prefix must be unused.
        stored: Tells the bytes of a topic's partition on the broker's disk.
        subjects: Of all partitions together.
        history: Votes of the 49 hours before.
        minutes: How long the full rate lasts.
        rate: Votes a second, all partitions together.
        repeats: Take-overs to measure each time.
    """
    ensure_topics(kafka)
    load, start_ms = Load(subjects), now_ms() // 60_000 * 60_000
    (partition,) = grown(load, [load.market], start_ms, history, rate)
    publisher = _publisher(kafka, partition.number)
    await publisher.start()
    sent = _Sent(publisher, partition.number)
    standing = iter(partition.rows.items())
    while rows := list(itertools.islice(standing, _SNAPSHOT_ROWS)):
        await sent.transaction(rows)
    topic = Names(kafka.prefix).topic(STATE)
    at_first = stored(topic, partition.number)
    before = {"records": sent.records, "bytes": sent.bytes, "stored": at_first}
    before["take_overs"] = [await _take_over(kafka, partition) for _ in range(repeats)]
    await publisher.stop()
    publisher = sent.publisher = _publisher(kafka, partition.number)
    await publisher.start()
    votes = 0
    waiting: list[tuple[str, bytes | None]] = []
    for tick in load.ticks(start_ms, minutes * 60, rate, BATCH_MS):
        votes += len(tick.votes.get(partition.number, ()))
        _, changes = partition.apply(tick)
        waiting += changes.items()
        if len(waiting) >= _ROWS_TOGETHER:
            await sent.transaction(waiting)
            waiting = []
    await sent.transaction(waiting)
    await publisher.stop()
    return {
        "subjects": subjects,
        "partition_subjects": sum(p == partition.number for p in load.partition_of.values()),
        "minutes": minutes,
        "votes": votes,
        "compacted": before,
        "after": {
            "records": sent.records,
            "bytes": sent.bytes,
            "stored": stored(topic, partition.number),
            "take_overs": [await _take_over(kafka, partition) for _ in range(repeats)],
        },
    }


class _Sent:
    """Sends batches of rows as aggregate does and adds up what lies on the topic."""

    def __init__(self, publisher: Publisher, partition: int) -> None:
        self.publisher = publisher
        self.records = 0
        self.bytes = 0
        self._partition = partition

    async def transaction(self, changes: Sequence[tuple[str, bytes | None]]) -> None:
        async with self.publisher.transaction():
            rows = [
                Outgoing(STATE, key.encode(), value, partition=self._partition)
                for key, value in changes
            ]
            await self.publisher.send(rows, now_ms())
        self.records += len(changes)
        self.bytes += sum(len(k) + len(v or b"") for k, v in changes)


def _publisher(kafka: KafkaSettings, partition: int) -> Publisher:
    return Publisher(kafka, f"{kafka.prefix}aggregate-{partition}", compression="gzip")


async def _take_over(kafka: KafkaSettings, partition: Partition) -> dict[str, float]:
    """Do what aggregate does at a take-over; return the seconds of its steps."""
    started = time.monotonic()
    publisher = _publisher(kafka, partition.number)
    await publisher.start()
    token = secrets.token_hex(16).encode()
    async with publisher.transaction():
        row = Outgoing(STATE, OWNER_ROW.encode(), token, partition=partition.number)
        await publisher.send([row], now_ms())
    owned = time.monotonic()
    rows = await read_rows(kafka, partition.number, token)
    read = time.monotonic()
    Fold.restore(rows, partition.number, PARTITIONS, LATENESS_MS, TOPIC_IDS)
    restored = time.monotonic()
    await publisher.stop()
    if rows != partition.rows:
        raise AssertionError("the rows read back are not those that were written")
    return {
        "own_s": owned - started,
        "read_s": read - owned,
        "restore_s": restored - read,
        "total_s": restored - started,
    }


async def read_backs(
    kafka: KafkaSettings,
    stored: Stored,
    sizes: tuple[int, ...],
    history: int,
    minutes: int,
    rate: float,
) -> list[dict[str, Any]]:
    """Measure several sizes one after the other."""
    return [
        await read_back(
            kafka.model_copy(update={"prefix": f"read{subjects}."}),
            stored,
            subjects,
            history,
            minutes,
            rate,
            repeats=3,
        )
        for subjects in sizes
    ]
