"""Share of late votes when event time comes in every unpleasant way, in full size.

    python -m tests.bench.watermarks [FILE] --texts 20000

FILE is JSON Lines for the replays (gzipped or not); the other scenarios write their own texts. The
figures go to .bench/watermarks.json, and from there into docs/measurements.md. Nothing here gates;
the same scenarios in small are tests/e2e/test_watermarks.py.
"""

import argparse
import asyncio
import json
import platform
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from streams.embedded.broker import broker_spec
from streams.embedded.process import free_ports
from streams.embedded.supervisor import Supervisor
from streams.embedded.triton import TritonPorts, shipped_repository, triton_spec
from streams.settings import KafkaSettings
from tests.support.flow import Outcome, Place
from tests.support.kafka import Cluster
from tests.support.page import table, write_between
from tests.support.watermarks import (
    backlog,
    disorder,
    fast_replay,
    killed,
    lagging,
    silent,
)

ROOT: Final = Path(__file__).parents[2]
FIGURES: Final = ROOT / ".bench" / "watermarks.json"
PAGE: Final = ROOT / "docs" / "measurements.md"
BEGIN: Final = "<!-- watermarks: written by tests/bench/watermarks.py -->"
END: Final = "<!-- end of watermarks -->"
NAMES: Final = {"tansu": "Tansu", "kafka": "Apache Kafka"}
HEADINGS: Final = (
    "scenario",
    "broker",
    "partitions",
    "texts",
    "votes",
    "late",
    "due",
    "closed minutes",
    "revised",
    "differ",
    "s",
)

Played = Callable[[Place], Awaitable[Outcome]]

console = Console(width=160)


def scenarios(texts: int, file: Path | None) -> Iterator[Played]:
    """Yield every scenario in full size."""
    for partitions in (1, 4, 8):
        yield lambda place, n=partitions: fast_replay(place, n, texts, file=file)
    yield lambda place: fast_replay(place, 4, texts, file=file, idle_s=2.0)
    yield lambda place: fast_replay(place, 4, texts, file=file, idle_s=2.0, scores=2)
    yield lambda place: backlog(place, texts)
    yield lambda place: silent(place, 120)
    yield lambda place: lagging(place, texts, 30)
    yield lambda place: disorder(place, min(texts // 20, 400))
    yield lambda place: killed(place, texts // 4, file=file)


@contextmanager
def broker(name: str, folder: Path) -> Iterator[str | None]:
    """Start a node of Apache Kafka; the other one is a child of the supervisor."""
    if name != "kafka":
        yield None
        return
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster.bootstrap
    finally:
        cluster.close()


async def play(name: str, bootstrap: str | None, folder: Path, all_of: Sequence[Played]) -> Any:
    """Play the scenarios on one broker, one after the other."""
    (port,) = free_ports(1)
    ports = TritonPorts(*free_ports(3))
    outcomes = []
    async with Supervisor(folder) as supervisor:
        if bootstrap is None:
            supervisor.add(broker_spec(port))
            bootstrap = f"127.0.0.1:{port}"
        supervisor.add(triton_spec(ports, run_dir=folder, repository=shipped_repository()))
        await supervisor.start_all()
        for number, scenario in enumerate(all_of):
            kafka = KafkaSettings(
                bootstrap=bootstrap,
                prefix=f"w{uuid.uuid4().hex[:8]}.",
                transactions=name != "tansu",
                session_timeout_s=6,
            )
            here = folder / f"scenario-{number}"
            here.mkdir()
            place = Place(NAMES[name], kafka, f"127.0.0.1:{ports.grpc}", here)
            outcomes.append(await scenario(place))
            console.print(outcomes[-1])
    return outcomes


def row(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a line of the table."""
    numbers = ("partitions", "texts", "votes", "late", "late_due", "windows", "revised")
    return (
        figures["scenario"],
        figures["broker"],
        *(f"{figures[name]:,}" for name in numbers),
        str(figures["differing"]),
        f"{figures['seconds']:.0f}",
    )


def write_page(measured: Mapping[str, Any]) -> None:
    """Put the figures between their marks in docs/measurements.md."""
    played = {figures["broker"] for figures in measured["outcomes"]}
    chosen = [name for name, shown in NAMES.items() if shown in played]
    command = f"{measured['command']} --brokers {' '.join(chosen)}"
    lines = [
        f"Measured {measured['at'][:10]} by `{command}`.",
        "",
        table(HEADINGS, [row(figures) for figures in measured["outcomes"]]),
    ]
    write_between(PAGE, BEGIN, END, "\n".join(lines))


def main() -> None:
    """Play everything, print the table, keep the figures, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--brokers", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--render", action="store_true", help="only write the page anew")
    given = parser.parse_args()
    if given.render:
        write_page(json.loads(FIGURES.read_text()))
        return
    outcomes: list[Outcome] = []
    for name in given.brokers:
        with tempfile.TemporaryDirectory() as folder, broker(name, Path(folder) / "b") as address:
            all_of = list(scenarios(given.texts, given.file))
            outcomes += asyncio.run(play(name, address, Path(folder) / "w", all_of))
    command = f"python -m tests.bench.watermarks{' FILE' * bool(given.file)} --texts {given.texts}"
    measured = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "command": command,
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(measured, indent=1) + "\n")
    write_page(measured)
    table = Table(*HEADINGS)
    for figures in measured["outcomes"]:
        table.add_row(*row(figures))
    console.print(table)


if __name__ == "__main__":
    main()
