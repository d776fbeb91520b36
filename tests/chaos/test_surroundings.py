"""Producers that abort, topics that are too small or cut by retention, clocks that jump."""

import asyncio
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic, OffsetSpec
from kafka.structs import TopicPartition

from streams.core.topics import STATE, TEXTS_NEWS, VOTES
from streams.ledger import check_ledger
from tests.chaos.arena import Arena, arena
from tests.chaos.invariants import Verdict, observe
from tests.chaos.texts import texts as made
from tests.chaos.theatre import COUNT, RATE, Theatre

pytestmark = pytest.mark.timeout(900)

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


async def test_a_producer_of_texts_aborts_some(kafka: str, theatre: Theatre) -> None:
    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        await arena.feed(texts, RATE, aborts=True)
        assert arena.aborted > 100
        return [await arena.recovered()]

    await theatre.play("producer aborts a third of its transactions", kafka, "kafka", act)


@pytest.mark.chaos_long
@pytest.mark.parametrize("step_s", [3600, -3600], ids=["forward", "back"])
async def test_the_clock_steps(theatre: Theatre, kafka: str, step_s: int, tmp_path: Path) -> None:
    """The workers' wall clock jumps by an hour; no event time follows from it."""
    if FAKETIME is None:
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    env = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }

    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, RATE))
        await asyncio.sleep(3)
        clock.write_text(f"{step_s:+d}")
        took = await arena.recovered()
        await feed
        return [took]

    name = f"clock of the workers steps {'forward' if step_s > 0 else 'back'} by an hour"
    await theatre.play(name, kafka, "kafka", act, env=env)


@pytest.mark.chaos_long
async def test_a_topic_with_too_few_partitions(
    kafka: str, theatre: Theatre, tmp_path: Path
) -> None:
    """The workers refuse to start and say why; nothing is written."""
    started = time.monotonic()
    settings = theatre.settings(kafka, "kafka")
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics(
        [NewTopic(f"{settings.prefix}{VOTES}", 4, 1), NewTopic(f"{settings.prefix}{STATE}", 1, 1)]
    )
    admin.close()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "streams.cli", "aggregate"],
        env={
            "PATH": "/usr/bin:/bin",
            "TICKERTONE_KAFKA__BOOTSTRAP": kafka,
            "TICKERTONE_KAFKA__PREFIX": settings.prefix,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"{settings.prefix}{STATE}" in done.stderr
    assert "Traceback" not in done.stderr
    nobody = Arena(settings, tmp_path, {})
    scenario = "state.v1 with too few partitions: refused"
    theatre.record(scenario, "kafka", nobody, Verdict(), [], time.monotonic() - started)


@pytest.mark.chaos_long
@pytest.mark.parametrize("stage", ["score", "aggregate"])
async def test_retention_removes_unread_records(
    kafka: str, theatre: Theatre, tmp_path: Path, stage: str
) -> None:
    """The process ends and names the hole; once it is accepted, all else is there."""
    settings = theatre.settings(kafka, "kafka")
    name = TEXTS_NEWS if stage == "score" else VOTES
    texts = made(theatre.seed, COUNT)
    partition = random.Random(theatre.seed).randrange(4)
    started = time.monotonic()
    async with arena(settings, theatre.model.url, tmp_path / "run") as one:
        await one.start()
        await one.feed(texts[: COUNT // 2], 1000)
        await one.recovered()
        await one.remove(one.of(stage)[0])
        await one.feed(texts[COUNT // 2 :], 1000)
        if stage == "aggregate":
            await one.end()
            await asyncio.sleep(5)  # score goes on and leaves votes that nobody reads
        await asyncio.to_thread(_cut, kafka, settings.prefix + name, partition)
        dying = one.add(stage, restart=False)
        assert await dying.ended(60) == 1
        assert "LostRecords" in dying.log
        command = re.search(rf"tickertone accept hole {name}/{partition} .*", dying.log)
        assert command, dying.log
        await one.remove(dying)
        await asyncio.to_thread(_accept, command[0], kafka, settings.prefix)
        one.add(stage)
        if stage == "score":
            await one.end()
        took = await one.recovered()
        await one.settle()
        ledger = await check_ledger(one.bootstrap, one.names)
        verdict = Verdict(lost=sum(each.missing for each in ledger.inputs))
        if stage == "score":  # of votes.v1 with a hole no offline fold can be made
            world = await observe(one)
            verdict.double = max(0, world.counts["counted"] - len(world.votes))
            verdict.windows_wrong = world.misfolded
            verdict.windows_repeated = world.windows_repeated
            verdict.alerts_repeated = world.alerts_repeated
        verdict.notes.append(command[0])
    scenario = f"retention cuts unread records of {stage}, accepted (lost: beyond the accepted)"
    theatre.record(scenario, "kafka", one, verdict, [took], time.monotonic() - started)
    assert verdict.zeros(exactly_once=True), verdict


def _cut(kafka: str, topic: str, partition: int) -> None:
    """Remove all but the three newest records of a partition, as retention would."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    tp = TopicPartition(topic, partition)
    end = admin.list_partition_offsets({tp: OffsetSpec.LATEST})[tp].offset  # right on Apache Kafka
    admin.delete_records({tp: end - 3})
    admin.close()


def _accept(line: str, kafka: str, prefix: str) -> None:
    words = line.split()[1:]
    words = [*words[: words.index("--why")], "--why", "test of retention"]
    subprocess.run(
        [sys.executable, "-m", "streams.cli", *words],
        env={
            "PATH": "/usr/bin:/bin",
            "USER": "operator",
            "TICKERTONE_KAFKA__BOOTSTRAP": kafka,
            "TICKERTONE_KAFKA__PREFIX": prefix,
        },
        check=True,
        timeout=60,
    )
