"""A site on loopback that answers as a test says, and connectors that run against it."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry

from streams.adapters.clock import now_ms
from streams.connectors.build import make_connectors
from streams.connectors.config import ConnectConfig
from streams.connectors.fetch import Fetcher
from streams.connectors.metrics import ConnectMetrics
from streams.connectors.pauses import Pauses
from streams.connectors.port import Sink
from streams.connectors.runner import Runner
from streams.testing import MemorySink

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A server whose answers a test may change at any time; it remembers what was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, Handler] = {}
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        """(path, headers, query) of every request but those for robots.txt"""
        self.url = ""
        self.port = 0
        self.robots: Handler | None = None
        self.robots_asked = 0

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/robots.txt":
            self.robots_asked += 1
            return await self.robots(request) if self.robots else web.Response(status=404)
        self.asked.append((request.path, dict(request.headers), dict(request.query)))
        page = self.pages.get(request.path)
        return await page(request) if page else web.Response(status=404)


@asynccontextmanager
async def site(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Site]:
    """Serve on a port of its own until the block ends."""
    made = Site()
    runner = web.AppRunner(_application(made), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        made.port = runner.addresses[0][1]
        made.url = f"http://{host}:{made.port}"
        yield made
    finally:
        await runner.cleanup()


def _application(made: Site) -> web.Application:
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", made.handle)
    return application


def item(number: int, *, title: str = "", when: str = "Mon, 05 Oct 2026 10:00:00 GMT") -> str:
    """Return an RSS item; text and titles are made up for these tests."""
    return (
        f"<item><title>{title or f'Nordwind Air item {number}'}</title>"
        f"<link>https://news.example/{number}</link><guid isPermaLink='false'>n-{number}</guid>"
        f"<description>The fleet of plane {number} is grounded.</description>"
        f"<pubDate>{when}</pubDate></item>"
    )


def rss(items: Iterable[str], declaration: str = '<?xml version="1.0" encoding="utf-8"?>') -> str:
    """Return an RSS document."""
    return (
        f'{declaration}<rss version="2.0"><channel><title>Wire</title>'
        f"<language>en</language>{''.join(items)}</channel></rss>"
    )


def xml(text: str, **headers: str) -> web.Response:
    """Return a document as UTF-8 XML."""
    return web.Response(
        body=text.encode(), headers={"Content-Type": "application/rss+xml; charset=utf-8"} | headers
    )


def config(*connectors: dict[str, Any], **more: Any) -> ConnectConfig:
    """Return a configuration with short pauses."""
    return ConnectConfig.model_validate(
        {
            "connectors": list(connectors),
            "politeness": {"host_interval_s": 0},
            "retry": {"first_s": 0.05, "longest_s": 0.2},
            **more,
        }
    )


class Running:
    """Connectors at work, in this process."""

    def __init__(self, sink: Sink, metrics: ConnectMetrics, registry: CollectorRegistry) -> None:
        self.sink = sink
        self.metrics = metrics
        self.registry = registry

    def failures(self, name: str, reason: str = "unavailable") -> float:
        labels = {"connector": name, "reason": reason}
        return self.registry.get_sample_value("tickertone_connect_failures_total", labels) or 0.0


@asynccontextmanager
async def running(
    wanted: ConnectConfig, sink: Sink, clock: Callable[[], int] = now_ms
) -> AsyncIterator[Running]:
    """Run the connectors of a configuration until the block ends; stop them as SIGTERM does."""
    stop = asyncio.Event()
    chance = random.Random(1)
    pauses = Pauses(wanted.retry, chance)
    registry = CollectorRegistry()
    metrics = ConnectMetrics(registry, [spec.name for spec in wanted.connectors])
    async with Fetcher(wanted.politeness) as fetcher:
        connectors = make_connectors(wanted, fetcher, clock, chance)
        work = asyncio.create_task(Runner(connectors, sink, metrics, pauses, clock).run(stop))
        try:
            yield Running(sink, metrics, registry)
        finally:
            stop.set()
            await work


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions have no events
            await asyncio.sleep(0.01)


def records(sink: MemorySink) -> list[dict[str, Any]]:
    """Return the texts that stand, as they were sent."""
    return [orjson.loads(text.value or b"") for text in sink.texts]


def ids(sink: MemorySink) -> list[str]:
    """Return the ids of the texts that stand, in the order in which they were sent."""
    return [record["id"] for record in records(sink)]
