"""Rows of the state: how large they are at rest, and how many bytes of them a vote costs."""

import gzip
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from streams.core.fold import PARTITION_ROW, Emitted, Fold, Rows
from streams.core.records import Kind
from tests.bench.recovery.load import LATENESS_MS, PARTITIONS, TOPIC_IDS, Load, Tick

ROW_LIMIT: Final = 256_000
HISTORY_S: Final = 49 * 3600
BATCH_MS: Final = 100
"""aggregate waits so long for a batch to fill"""
_BUSY_S: Final = 8 * 3600
_RECORD_BATCH_BYTES: Final = 512 << 10

KINDS: Final = {
    "open": "open votes",
    "minute": "closed minutes",
    "subject": "baselines",
    "@partition": "@partition",
    "@control": "@control",
}


def kind(key: str) -> str:
    """Return the kind of a row."""
    if key.startswith("@"):
        return key.split("|")[0]
    return ("subject", "minute", "open")[key.count("|")]


class Partition:
    """One votes partition: its fold, and the rows that stand."""

    def __init__(self, number: int, rows: dict[str, bytes]) -> None:
        self.number = number
        self.rows = rows
        self.fold = Fold.restore(rows, number, PARTITIONS, LATENESS_MS, TOPIC_IDS)

    def apply(self, tick: Tick) -> tuple[Emitted, Rows]:
        """Apply what came in a moment, as one batch."""
        fold, at = self.fold, tick.end_ms
        for _, vote in tick.votes.get(self.number, ()):
            fold.apply(fold.applied + 1, at, Kind.VOTE, vote, at)
        fold.apply(fold.applied + 1, at, Kind.MARKER, tick.marker, at)
        emitted, changes = fold.take()
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        return emitted, changes


def grown(
    load: Load, numbers: Iterable[int], now_ms: int, votes: int, rate: float
) -> list[Partition]:
    """Return partitions as they stand after weeks.

    Args:
        load: Whose subjects and votes.
        numbers: Of the partitions.
        now_ms: When it is, in event time.
        votes: In the last 49 hours, all partitions together, evenly.
        rate: Votes a second in the eight busy hours of each of the twenty days before.
    """
    start_ms = now_ms - HISTORY_S * 1000
    mean_rate = votes / HISTORY_S
    partitions = [Partition(n, load.baseline(n, start_ms, rate * _BUSY_S)) for n in numbers]
    for tick in load.ticks(start_ms, HISTORY_S, mean_rate, 60_000):
        for partition in partitions:
            partition.apply(tick)
    return partitions


def sizes(partitions: Iterable[Partition]) -> dict[str, Any]:
    """Return count, bytes and percentiles of the rows that stand, by kind."""
    lengths: dict[str, list[int]] = defaultdict(list)
    for partition in partitions:
        for key, value in partition.rows.items():
            lengths[kind(key)].append(len(key) + len(value))
    found = {
        name: {
            "rows": len(each),
            "bytes": sum(each),
            "p50": float(np.percentile(each, 50)),
            "p99": float(np.percentile(each, 99)),
            "max": max(each),
        }
        for name, each in lengths.items()
    }
    return {"kinds": found, "bytes": sum(each["bytes"] for each in found.values())}


class Written:
    """What is written to state.v1 over some time, by kind of row."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = defaultdict(int)
        self._rows: dict[str, int] = defaultdict(int)
        self._largest: dict[str, tuple[int, str]] = {}
        self._minute_keys = 0
        self._packed = 0
        self._packing_s = 0.0
        self.votes = 0
        self.batches = 0

    def add(self, votes: int, changes: Mapping[str, bytes | None]) -> None:
        """Count the rows of a batch."""
        self.votes += votes
        self.batches += 1
        run = bytearray()
        for key, value in changes.items():
            name = kind(key) if value is not None else f"{kind(key)} deleted"
            size = len(key) + len(value or b"")
            self._bytes[name] += size
            self._rows[name] += 1
            self._largest[name] = max(self._largest.get(name, (0, "")), (size, key))
            if name == "minute":
                self._minute_keys += len(key)
            run += key.encode() + (value or b"")
            if len(run) > _RECORD_BATCH_BYTES or key == PARTITION_ROW:
                self._pack(run)
                run = bytearray()

    def _pack(self, run: bytearray) -> None:
        started = time.process_time()
        self._packed += len(gzip.compress(run, 9))  # level 9 is what aiokafka asks for
        self._packing_s += time.process_time() - started

    def result(self) -> dict[str, Any]:
        """Return bytes per vote by kind, and what gzip on the wire would make of them.

        In the long run every row of a closed minute is deleted once, 49 hours later; the history
        has fewer of them than such a rate makes, so that one deletion is counted per new row.
        """
        counted = {name: size for name, size in self._bytes.items() if name != "minute deleted"}
        counted["minute deleted"] = self._minute_keys
        per_vote = {name: size / self.votes for name, size in sorted(counted.items())}
        whole = sum(self._bytes.values())
        return {
            "votes": self.votes,
            "batches": self.batches,
            "bytes_per_vote": sum(per_vote.values()),
            "by_kind": per_vote,
            "rows_per_vote": sum(self._rows.values()) / self.votes,
            "rows_by_kind": {k: n / self.votes for k, n in sorted(self._rows.items())},
            "largest": {name: list(each) for name, each in sorted(self._largest.items())},
            "gzip_ratio": self._packed / whole,
            "gzip_us_per_vote": self._packing_s / self.votes * 1e6,
        }


def written(
    load: Load, partitions: list[Partition], now_ms: int, minutes: int, rate: float
) -> dict[str, Any]:
    """Run at full rate and return what is written, all partitions together.

    The first three minutes close minutes of the history and don't count.
    """
    warm_up = 3
    total = Written()
    started = time.process_time()
    for tick in load.ticks(now_ms, (warm_up + minutes) * 60, rate, BATCH_MS):
        for partition in partitions:
            _, changes = partition.apply(tick)
            if tick.end_ms > now_ms + warm_up * 60_000:
                total.add(len(tick.votes.get(partition.number, ())), changes)
    return {**total.result(), "cpu_s": time.process_time() - started}
