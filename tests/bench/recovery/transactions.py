"""What a transaction per batch costs against plain sends of the same batches."""

import time
from typing import Any

import numpy as np

from streams.adapters.clock import now_ms
from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.publisher import Publisher
from streams.core.records import Kind
from streams.core.topics import STATE, WINDOWS
from streams.ports import Outgoing
from streams.settings import KafkaSettings
from tests.bench.recovery.load import Load
from tests.bench.recovery.state import BATCH_MS, grown

_BLOCK = 20

Batch = tuple[list[Outgoing], list[Outgoing]]
"""windows, rows: aggregate sends the one, then the other"""


def batches(size: int, most: int, history: int, rate: float) -> list[Batch]:
    """Return what aggregate writes for batches of so many votes of one partition."""
    load, start_ms = Load(1_000), now_ms() // 60_000 * 60_000
    number = load.market
    (partition,) = grown(load, [number], start_ms, history, rate)
    fold, found, waiting = partition.fold, [], 0
    for tick in load.ticks(start_ms, 24 * 3600, rate, BATCH_MS):
        at = tick.end_ms
        for _, vote in tick.votes.get(number, ()):
            fold.apply(fold.applied + 1, at, Kind.VOTE, vote, at)
            waiting += 1
            if waiting == size:
                emitted, changes = fold.take()
                windows = [
                    Outgoing(
                        WINDOWS, w.subject.encode(), w.model_dump_json().encode(), partition=number
                    )
                    for w in emitted.windows
                ]
                rows = [
                    Outgoing(STATE, k.encode(), v, partition=number) for k, v in changes.items()
                ]
                found.append((windows, rows))
                waiting = 0
                if len(found) == most:
                    return found
        fold.apply(fold.applied + 1, at, Kind.MARKER, tick.marker, at)
    raise AssertionError("a day has more votes than that")


async def transactions(
    kafka: KafkaSettings, sizes: tuple[int, ...], most: int, history: int, rate: float
) -> list[dict[str, Any]]:
    """Return throughput and latency of batches with and without transactions, by batch size.

    Both ways take turns every few batches, so that what else the machine does meets both.
    """
    ensure_topics(kafka)
    plain, transactional = Publisher(kafka), Publisher(kafka, f"{kafka.prefix}aggregate-bench")
    await plain.start()
    await transactional.start()
    results = []
    for size in sizes:
        work = batches(size, most, history, rate)
        seconds: dict[str, list[float]] = {"plain": [], "transactional": []}
        for start in range(0, len(work), _BLOCK):
            for name, publisher in (("plain", plain), ("transactional", transactional)):
                for windows, rows in work[start : start + _BLOCK]:
                    began = time.monotonic()
                    async with publisher.transaction():
                        await publisher.send(windows, now_ms())
                        await publisher.send(rows, now_ms())
                    seconds[name].append(time.monotonic() - began)
        results.append({"batch": size, **{n: _summary(size, s) for n, s in seconds.items()}})
    await plain.stop()
    await transactional.stop()
    return results


def _summary(size: int, seconds: list[float]) -> dict[str, float]:
    return {
        "batches": len(seconds),
        "votes_s": size * len(seconds) / sum(seconds),
        "p50_ms": float(np.percentile(seconds, 50)) * 1000,
        "p99_ms": float(np.percentile(seconds, 99)) * 1000,
    }
