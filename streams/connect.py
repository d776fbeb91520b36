"""`tickertone connect`: texts from feeds, APIs, files and streams into the input topics."""

import asyncio
import random
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer
from prometheus_client import CollectorRegistry
from rich.table import Table
from rich.text import Text

from streams.adapters.clock import now_ms
from streams.adapters.health import start_health
from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.readiness import BROKER, Readiness
from streams.settings import Settings
from streams.terminal import connected, console

if TYPE_CHECKING:  # what reads feeds takes its time to load, and other commands need none of it
    from streams.connectors.config import ConnectConfig

log = structlog.get_logger()


def connect(
    config: Annotated[Path, typer.Argument(help="YAML; docs/connectors.md shows what is in it.")],
    check: Annotated[
        bool, typer.Option("--check", help="Say what it would read and what is wrong; ask nobody.")
    ] = False,
) -> None:
    """Read feeds, JSON APIs, files and Bluesky, and send what is new to the input topics.

    Several connectors run in one process; one that fails is tried again later and harms no other.
    How far each has come is kept on connectors.v1, so a restart goes on where the last one was,
    on any machine. Run one process per configuration.
    """
    from streams.connectors.build import summary
    from streams.connectors.config import load_config

    wanted = load_config(config)
    if check:
        table = Table("name", "kind", "reads", "as")
        for spec in wanted.connectors:
            table.add_row(*(Text(cell) for cell in summary(spec)))
        console.print(table)
        console.print(f"{len(wanted.connectors)} connectors: all valid")
        return
    settings = connected()
    ensure_topics(settings.kafka)
    asyncio.run(_run(wanted, settings))


async def _run(config: "ConnectConfig", settings: Settings) -> None:
    from streams.connectors.build import make_connectors
    from streams.connectors.fetch import Fetcher
    from streams.connectors.metrics import ConnectMetrics
    from streams.connectors.pauses import Pauses
    from streams.connectors.runner import Runner
    from streams.connectors.sink import KafkaSink

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    chance = random.Random()  # noqa: S311 - jitter, no secret
    pauses = Pauses(config.retry, chance)
    registry = CollectorRegistry()
    metrics = ConnectMetrics(registry, [spec.name for spec in config.connectors])
    readiness = Readiness(BROKER)

    def on_hold(why: str | None) -> None:
        metrics.set_holding(why is not None)
        if why is None:
            readiness.clear(BROKER)
        else:
            readiness.block(BROKER, why)

    health, port = await start_health(settings.metrics, registry, readiness)
    log.info("connect_started", metrics=f"http://{settings.metrics.host}:{port}")
    sink = KafkaSink(settings.kafka, pauses, on_hold)
    try:
        async with Fetcher(config.politeness) as fetcher:
            connectors = make_connectors(config, fetcher, now_ms, chance)
            await Runner(connectors, sink, metrics, pauses, now_ms).run(stop)
    finally:
        await sink.close()
        await health.cleanup()
    log.info("connect_stopped")
