"""Brokers that are killed, restarted, stalled and full."""

import asyncio
import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.core.topics import VOTES
from tests.chaos.arena import Arena
from tests.chaos.theatre import RATE, Theatre
from tests.support.kafka import Cluster, KafkaUnavailable
from tests.support.workers import until

pytestmark = [pytest.mark.timeout(1200), pytest.mark.chaos_long]

DISK = 96 << 20


def _cluster(folder: Path, brokers: int, **more: Any) -> Cluster:
    try:
        return Cluster(folder, brokers, **more)
    except KafkaUnavailable as why:
        if os.environ.get("TICKERTONE_TEST_KAFKA") == "require":
            raise
        pytest.skip(str(why))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A single node that may be stalled."""
    cluster = _cluster(tmp_path_factory.mktemp("one"), 1)
    cluster.start()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes of which one may be away."""
    cluster = _cluster(tmp_path_factory.mktemp("three"), 3)
    cluster.start()
    yield cluster
    cluster.close()


async def test_a_leader_is_killed_in_mid_batch(three_or_skip: Cluster, theatre: Theatre) -> None:
    cluster = three_or_skip

    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, RATE))
        await asyncio.sleep(3)
        partition = random.Random(theatre.seed).randrange(4)
        leader = await asyncio.to_thread(cluster.leader, arena.names.topic(VOTES), partition)
        await asyncio.to_thread(cluster.kill_node, leader)
        took = await arena.recovered()
        await feed
        await asyncio.to_thread(cluster.start_node, leader)
        await asyncio.to_thread(cluster.wait_in_sync, 120)
        return [took]

    await theatre.play("kill -9 of a leader of votes", cluster.bootstrap, "kafka3", act)


async def test_a_rolling_restart(three_or_skip: Cluster, theatre: Theatre) -> None:
    cluster = three_or_skip

    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, len(texts) / 45))
        await asyncio.sleep(2)
        took = []
        for node in cluster.nodes:
            await asyncio.to_thread(cluster.stop_node, node)
            await asyncio.to_thread(cluster.start_node, node)
            await asyncio.to_thread(cluster.wait_in_sync, 120)
            took.append(await arena.recovered())
        await feed
        return took

    await theatre.play("rolling restart of three brokers", cluster.bootstrap, "kafka3", act)


@pytest.fixture
def three_or_skip(three: Cluster) -> Cluster:
    """The three nodes, all of them there and in sync."""
    for node in three.nodes:
        if not three.alive(node):
            three.start_node(node)
    three.wait_in_sync(120)
    return three


async def test_stalls_of_a_second(one: Cluster, theatre: Theatre) -> None:
    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, RATE))
        for _ in range(4):
            await asyncio.sleep(1.5)
            await _stall(one, 1)
        took = await arena.recovered()
        await feed
        return [took]

    await theatre.play("broker stalls of 1 s, four", one.bootstrap, "kafka", act)


async def test_a_stall_of_ninety_seconds(one: Cluster, theatre: Theatre) -> None:
    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, RATE))
        await asyncio.sleep(3)
        await _stall(one, 90)
        took = await arena.recovered(240)
        await feed
        return [took]

    await theatre.play("broker stall of 90 s", one.bootstrap, "kafka", act, settle_s=300)


async def _stall(cluster: Cluster, seconds: float) -> None:
    (node,) = cluster.nodes
    await asyncio.to_thread(cluster.freeze_node, node)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(cluster.thaw_node, node)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 96 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_the_disk_is_full(small_disk: Path, theatre: Theatre, tmp_path: Path) -> None:
    cluster = _cluster(tmp_path / "kafka", 1, log_dirs=small_disk)
    await asyncio.to_thread(cluster.start)
    ballast = small_disk / "ballast"

    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, RATE))
        await asyncio.sleep(3)
        await asyncio.to_thread(_fill, ballast)
        await until(lambda: _away(cluster), 60, "the broker gives up")
        await asyncio.sleep(5)
        ballast.unlink()
        await asyncio.to_thread(cluster.start_node, 1)
        took = await arena.recovered()
        await feed
        return [took]

    try:
        await theatre.play("disk of the broker full", cluster.bootstrap, "kafka", act)
    finally:
        await asyncio.to_thread(cluster.close)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass


async def _away(cluster: Cluster) -> bool:
    return not await asyncio.to_thread(cluster.alive, 1)
