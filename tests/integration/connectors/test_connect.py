"""`tickertone connect` as a process: what it reads stands on Kafka, whatever kills it."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import web

from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.kafka_scan import scan
from streams.core.topics import CONNECTORS, INPUTS, Names
from streams.embedded.process import free_ports
from streams.settings import KafkaSettings
from tests.support.web import Site, item, rss, site, until, xml

KILLS = 3
START_S = 150.0
"""A process of ours takes seconds to start, on a busy machine many."""


@pytest.fixture
async def settings(any_broker: tuple[str, KafkaSettings]) -> KafkaSettings:
    await asyncio.to_thread(ensure_topics, any_broker[1])
    return any_broker[1]


@asynccontextmanager
async def started(settings: KafkaSettings, file: Path, *options: str) -> AsyncIterator[Process]:
    """Run the command in a process that does not outlive the block."""
    environment = {
        **os.environ,
        "TICKERTONE_KAFKA__BOOTSTRAP": str(settings.bootstrap),
        "TICKERTONE_KAFKA__PREFIX": settings.prefix,
        "TICKERTONE_KAFKA__TRANSACTIONS": str(settings.transactions).lower(),
        "TICKERTONE_KAFKA__PARTITIONS": "2",
        "TICKERTONE_LOG_JSON": "true",
        "COLUMNS": "160",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams.cli", "connect", str(file), *options,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def end(process: Process, number: int) -> tuple[int, str]:
    process.send_signal(number)
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def texts(settings: KafkaSettings) -> list[tuple[bytes, dict[str, Any]]]:
    """Return (key, record) of every text that stands."""
    names = Names(settings.prefix)
    async with scan(str(settings.bootstrap), *(names.topic(each) for each in INPUTS)) as opened:
        return [
            (record.key, orjson.loads(record.value))
            async for _, run in opened.batches()
            for record in run
        ]


async def all_texts(settings: KafkaSettings, world: "World") -> list[tuple[bytes, dict[str, Any]]]:
    """Return what stands once everything that was published does."""
    async with asyncio.timeout(START_S):
        while True:
            stand = await texts(settings)
            if {(text["channel"], text["id"]) for _, text in stand} >= world.expected():
                return stand
            await asyncio.sleep(1)


class World:
    """A feed, an API, a file and a stream that publish without pause, and one configuration."""

    def __init__(self, web_site: Site, folder: Path) -> None:
        self.count = 0
        self.stream: list[bytes] = []
        self.feed_asked: list[bool] = []
        """for each request: whether it was conditional"""
        self.file = folder / "notes.jsonl"
        web_site.pages |= {"/feed": self._feed, "/api": self._api, "/subscribe": self._stream}
        self.config = folder / "connect.yaml"
        common = {"every_s": 0.1}
        connectors = [
            {"name": "feed", "kind": "rss", "url": f"{web_site.url}/feed", **common},
            {
                "name": "api", "kind": "http", "url": f"{web_site.url}/api", **common,
                "items": "items", "fields": {"id": "id", "text": "text"},
                "cursor": {"param": "since", "newest": "id"},
            },
            {"name": "file", "kind": "file", "path": str(self.file), **common},
            {
                "name": "stream", "kind": "jetstream",
                "url": f"ws://127.0.0.1:{web_site.port}/subscribe",
            },
        ]  # fmt: skip
        more = {
            "politeness": {"host_interval_s": 0},
            "retry": {"first_s": 0.1, "longest_s": 0.5},
        }
        self.config.write_text(yaml.safe_dump({"connectors": connectors, **more}))

    def publish(self) -> None:
        number = self.count
        record = {"id": f"n-{number}", "text": f"Note {number}", "published_at": 1_791_194_400_000}
        with self.file.open("ab") as file:
            file.write(orjson.dumps(record) + b"\n")
        post = {"text": f"Post {number}", "createdAt": "2026-10-05T10:00:00Z", "langs": ["en"]}
        self.stream.append(
            orjson.dumps(
                {
                    "did": "did:plc:abc",
                    "time_us": 1_791_194_400_000_000 + number * 1000,
                    "kind": "commit",
                    "commit": {
                        "operation": "create",
                        "collection": "app.bsky.feed.post",
                        "rkey": f"{number}",
                        "record": post,
                    },
                }
            )
        )
        self.count += 1

    def expected(self) -> set[tuple[str, str]]:
        numbers = range(self.count)
        return (
            {("feed", f"n-{n}") for n in numbers}
            | {("api", f"{n}") for n in numbers}
            | {("file", f"n-{n}") for n in numbers}
            | {("stream", f"at://did:plc:abc/app.bsky.feed.post/{n}") for n in numbers}
        )

    async def _feed(self, request: web.Request) -> web.Response:
        etag = f'"{self.count}"'
        self.feed_asked.append("If-None-Match" in request.headers)
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return xml(rss(item(n) for n in reversed(range(self.count))), ETag=etag)

    async def _api(self, request: web.Request) -> web.Response:
        begin = int(request.query.get("since", "0"))
        run = range(begin, min(self.count, begin + 20))
        return web.json_response({"items": [{"id": n, "text": f"Item {n}"} for n in run]})

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        cursor, at = int(request.query.get("cursor", "0")), 0
        while not socket.closed:
            while at < len(self.stream):
                if orjson.loads(self.stream[at])["time_us"] >= cursor:
                    await socket.send_str(self.stream[at].decode())
                at += 1
            try:
                await socket.receive(timeout=0.02)
            except TimeoutError:
                continue
        return socket

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Publish some five times a second until the block ends."""

        async def work() -> None:
            while True:
                self.publish()
                await asyncio.sleep(0.2)

        task = asyncio.create_task(work())
        try:
            yield
        finally:
            task.cancel()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with site() as web_site:
        made = World(web_site, tmp_path)
        made.publish()
        yield made


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_after_any_kills_everything_stands_and_ids_tell_repeats(
    settings: KafkaSettings, world: World
) -> None:
    """Four sources that never pause, killed (SIGKILL) at random moments."""
    chance = random.Random(7)
    firsts = []
    async with world.busy():
        for kill in range(KILLS):
            asked = len(world.feed_asked)
            async with started(settings, world.config) as process:
                await until(lambda: len(world.feed_asked) >= asked + 3, START_S)  # noqa: B023
                firsts.append(world.feed_asked[asked])
                await asyncio.sleep(chance.uniform(0, 1))
                code, said = await end(process, signal.SIGKILL)
            assert code == -signal.SIGKILL
            assert "connector_broken" not in said
            if kill == 1:
                world.file.rename(world.file.with_suffix(".jsonl.1"))
    async with started(settings, world.config) as process:
        stand = await all_texts(settings, world)
        code, said = await end(process, signal.SIGTERM)
    assert code == 0, said
    assert "connect_stopped" in said

    found = Counter((text["channel"], text["id"]) for _, text in stand)
    assert set(found) == world.expected()
    # A kill may catch a batch between its texts and its position; then they stand twice, alike.
    assert max(found.values()) <= 1 + KILLS
    assert len({key for key, _ in stand}) == len(found)
    assert sum(found.values()) - len(found) < len(found) / 4
    # After the first start no document is asked for that was seen before.
    assert firsts == [False, *[True] * (KILLS - 1)]


@pytest.mark.timeout(600)
async def test_a_quiet_restart_sends_nothing_at_all(settings: KafkaSettings, world: World) -> None:
    for _ in range(20):
        world.publish()
    for _ in range(2):
        asked = len(world.feed_asked)
        async with started(settings, world.config) as process:
            await until(lambda: len(world.feed_asked) >= asked + 5, START_S)  # noqa: B023
            stand = await all_texts(settings, world)
            code, said = await end(process, signal.SIGTERM)
        assert code == 0, said
    assert len(stand) == len(await texts(settings)) == len(world.expected())
    topic = Names(settings.prefix).topic(CONNECTORS)
    async with scan(str(settings.bootstrap), topic) as opened:
        keys = {record.key async for _, run in opened.batches() for record in run}
    assert keys == {b"feed", b"api", b"file", b"stream"}


async def test_a_check_says_what_would_be_read_and_asks_nobody(world: World) -> None:
    (port,) = free_ports(1)
    nowhere = KafkaSettings(bootstrap=f"127.0.0.1:{port}")
    async with started(nowhere, world.config, "--check") as process:
        said, _ = await process.communicate()
    assert process.returncode == 0
    assert "4 connectors: all valid" in said.decode()
    assert "jetstream" in said.decode()
    assert world.feed_asked == []


async def test_a_wrong_file_ends_with_2_and_names_every_fault(tmp_path: Path) -> None:
    file = tmp_path / "connect.yaml"
    file.write_text("connectors: [{name: A, kind: rss, url: nowhere, evry_s: 5}]")
    async with started(KafkaSettings(bootstrap="127.0.0.1:1"), file) as process:
        said, _ = await process.communicate()
    assert process.returncode == 2
    for field in ("field name", "field url", "field evry_s"):
        assert f"{file}: connector A, {field}: " in said.decode()
