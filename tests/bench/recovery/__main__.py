"""Recovery at scale: state sizes, bytes per vote, read-back, transactions, rebalances.

    python -m tests.bench.recovery measure --size full      writes .bench/recovery-full.json
    python -m tests.bench.recovery render --size full       picture and tables of docs/operations.md

On one node of Apache Kafka, on loopback. Nothing here gates.
"""

import argparse
import asyncio
import gc
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console

from streams.settings import KafkaSettings
from tests.bench.recovery import report
from tests.bench.recovery.load import PARTITIONS, Load
from tests.bench.recovery.readback import read_backs
from tests.bench.recovery.rebalance import rebalances
from tests.bench.recovery.state import grown, sizes, written
from tests.bench.recovery.transactions import transactions
from tests.support.kafka import VERSION, Cluster

RATE: Final = 500.0
_OUT: Final = Path(".bench")
console = Console()


@dataclass(frozen=True)
class Size:
    """How much to measure."""

    subjects: tuple[int, ...]
    history: int
    """votes of the 49 hours before, all partitions together"""
    minutes: int
    """at full rate, for bytes per vote"""
    hour: int
    """minutes at full rate before the read-back"""
    batches: int
    workers: tuple[int, ...]
    repeats: int
    rebalance_rate: float
    """votes a second while workers come and go"""


SIZES: Final = {
    "small": Size((1_000, 10_000), 20_000, 1, 2, 60, (1, 2), 1, 100.0),
    "full": Size((1_000, 10_000, 100_000), 100_000, 3, 60, 300, (1, 2, 4), 2, RATE),
}


def _state(size: Size) -> list[dict[str, Any]]:
    results = []
    for subjects in size.subjects:
        now_ms = int(time.time()) // 60 * 60_000
        load = Load(subjects)
        partitions = grown(load, range(PARTITIONS), now_ms, size.history, RATE)
        found = sizes(partitions)
        cost = written(load, partitions, now_ms, size.minutes, RATE)
        results.append({"subjects": subjects, "sizes": found, "written": cost})
        console.print(f"  {subjects} subjects: {cost['bytes_per_vote']:.0f} bytes a vote")
    return results


def _about(name: str, size: Size) -> dict[str, Any]:
    return {
        "size": name,
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kafka": VERSION,
        "rate": RATE,
        "rebalance_rate": size.rebalance_rate,
        "history": size.history,
    }


def measure(name: str, only: list[str]) -> None:
    """Measure and write the results; sections that are not measured anew stay as they are."""
    gc.set_threshold(50_000, 20, 20)  # as the workers do
    size = SIZES[name]
    path = _OUT / f"recovery-{name}.json"
    results = orjson.loads(path.read_bytes()) if path.exists() else {}
    _OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder) / "kafka")
        kafka = KafkaSettings(bootstrap=cluster.bootstrap, prefix="bench.", partitions=PARTITIONS)
        sections: dict[str, Callable[[], Any]] = {
            "state": lambda: _state(size),
            "read_back": lambda: asyncio.run(
                read_backs(kafka, cluster.stored, size.subjects, size.history, size.hour, RATE)
            ),
            "transactions": lambda: asyncio.run(
                transactions(kafka, (12, 50, 400), size.batches, size.history // 10, RATE)
            ),
            "rebalance": lambda: asyncio.run(
                rebalances(
                    kafka,
                    _OUT / "workers",
                    size.workers,
                    size.repeats,
                    size.rebalance_rate,
                    console.print,
                )
            ),
        }
        try:
            cluster.start()
            for section in only or sections:
                console.print(f"{section} …")
                started = time.monotonic()
                results[section] = sections[section]()
                results["about"] = _about(name, size)
                path.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
                console.print(f"  {time.monotonic() - started:.0f} s")
        finally:
            cluster.close()
    report.show(results, console)
    console.print(f"written to {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["measure", "render"])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=["state", "read_back", "transactions", "rebalance"],
        help="measure this section alone; may be repeated",
    )
    given = parser.parse_args()
    if given.what == "measure":
        measure(given.size, given.only)
    else:
        report.render(orjson.loads((_OUT / f"recovery-{given.size}.json").read_bytes()))
