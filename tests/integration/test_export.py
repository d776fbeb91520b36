"""Windows as they were known: the same question has the same answer, whatever came later."""

import asyncio
import os
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient, TopicPartition

from streams.adapters.kafka_admin import ensure_topics
from streams.core.errors import BrokerUnreachable, ConfigurationError
from streams.core.records import Evidence, Origin, Window, WindowValues
from streams.core.topics import WINDOWS, Names
from streams.export.windows import Report, Wanted, export
from streams.settings import KafkaSettings

T = 1_792_072_800_000
"""wall clock at which the first records were made"""
FIRST = 29_000_000
"""their first minute; long before, as in a replay"""
SECOND, HOUR = 1_000, 3_600_000


def window(subject: str, minute: int, revision: int, made: int, index: float = 0.0) -> Window:
    text = Evidence(
        text_id=f"{minute:032x}", event_time=0, channel="wire", score=index, weight=0.5,
        origin=Origin("texts.news.v1", 0, revision), snippet=f"revision {revision}",
    )  # fmt: skip
    values = WindowValues(
        texts=3, stories=2, negative=1, neutral=1, positive=1, index=index, echo_index=index,
        low=-1, high=1, effective=2.5, baseline=None, z_tone=None, z_volume=None, evidence=[text],
    )  # fmt: skip
    return Window(
        subject=subject, minute=FIRST + minute, revision=revision, watermark=0, model="opinion/1",
        windows={"24h": values, "5m": values}, closed_at=T + made,
    )  # fmt: skip


class World:
    """A broker with windows on it."""

    def __init__(self, settings: KafkaSettings, producer: AIOKafkaProducer, folder: Path) -> None:
        self.settings = settings
        self.names = Names(settings.prefix)
        self.producer = producer
        self.folder = folder

    async def publish(self, *windows: Window) -> None:
        """As aggregate does: all of a subject in one partition."""
        for each in windows:
            await self.producer.send_and_wait(
                self.names.topic(WINDOWS),
                each.model_dump_json().encode(),
                each.subject.encode(),
                sum(each.subject.encode()) % 2,
            )

    async def export(self, name: str, as_of: int, **wanted: Any) -> tuple[Report, bytes]:
        out = self.folder / name
        evidence = wanted.pop("evidence", False)
        report = await export(
            str(self.settings.bootstrap),
            self.names,
            Wanted(T + as_of, **wanted),
            out,
            evidence=evidence,
        )
        return report, out.read_bytes()

    async def table(self, as_of: int, **wanted: Any) -> list[dict[str, Any]]:
        await self.export("table.parquet", as_of, **wanted)
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(
            self.folder / "table.parquet"
        ).to_pylist()
        return rows


@pytest.fixture
async def world(any_broker: tuple[str, KafkaSettings], tmp_path: Path) -> AsyncIterator[World]:
    settings = any_broker[1]
    await asyncio.to_thread(ensure_topics, settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap, acks="all") as producer:
        yield World(settings, producer, tmp_path)


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def short(rows: list[dict[str, Any]]) -> list[tuple[str, int, str, int, float]]:
    return [
        (r["subject"], r["minute"] - FIRST, r["window"], r["revision"], r["index"]) for r in rows
    ]


async def test_the_newest_revision_known_at_the_time_counts(world: World) -> None:
    await world.publish(
        window("ticker:NWA", 2, 1, made=0, index=0.1),
        window("market", 1, 1, made=0, index=0.2),
        window("ticker:NWA", 1, 1, made=10 * SECOND, index=0.3),
        window("ticker:NWA", 2, 2, made=20 * SECOND, index=0.4),
        window("ticker:NWA", 2, 3, made=30 * SECOND, index=0.5),
    )
    assert short(await world.table(25 * SECOND, windows=("5m", "24h"))) == [
        ("market", 1, "5m", 1, 0.2),
        ("market", 1, "24h", 1, 0.2),
        ("ticker:NWA", 1, "5m", 1, 0.3),
        ("ticker:NWA", 1, "24h", 1, 0.3),
        ("ticker:NWA", 2, "5m", 2, 0.4),
        ("ticker:NWA", 2, "24h", 2, 0.4),
    ]
    one = {"windows": ("5m",)}
    assert [r[1:4:2] for r in short(await world.table(0, **one))] == [(1, 1), (2, 1)]
    assert short(await world.table(30 * SECOND, **one))[-1][3:] == (3, 0.5)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
async def test_the_same_time_gives_the_same_bytes_for_ever(world: World, suffix: str) -> None:
    early = [window("ticker:NWA", n, 1, made=n * SECOND, index=n / 10) for n in range(5)]
    await world.publish(*early, window("market", 3, 1, made=2 * SECOND))
    once, before = await world.export(f"once.{suffix}", 3 * SECOND, evidence=True)
    _, again = await world.export(f"again.{suffix}", 3 * SECOND, evidence=True)
    assert before == again
    assert once.rows == 2 * 5
    await world.publish(
        window("ticker:NWA", 2, 2, made=HOUR, index=-0.9),  # a late text
        window("ticker:ZZZ", 1, 1, made=HOUR),
        early[1].model_copy(update={"closed_at": T + HOUR}),  # repeated by a crash in plain mode
        window("ticker:NWA", 1, 2, made=HOUR + 1, index=-0.9),
        window("ticker:NWA", 9, 1, made=HOUR),
    )
    later, after = await world.export(f"later.{suffix}", 3 * SECOND, evidence=True)
    assert before == after
    assert later.evidence == once.evidence == 2 * 5
    names = [world.folder / f"{name}.evidence.{suffix}" for name in ("once", "again", "later")]
    assert len({path.read_bytes() for path in names}) == 1
    _, moved_on = await world.export(f"new.{suffix}", HOUR)
    assert moved_on != before


async def test_a_repeated_revision_keeps_its_first_stamp(world: World) -> None:
    await world.publish(*(window("market", 1, 1, made=made * SECOND) for made in (1, 2)))
    (row,) = await world.table(5 * SECOND, windows=("5m",))
    assert row["closed_at"].timestamp() * 1000 == T + SECOND


async def test_subjects_windows_and_times_are_chosen(world: World) -> None:
    subjects = ("market", "ticker:NWA", "topic:earnings")
    await world.publish(*(window(s, n, 1, made=0) for s in subjects for n in range(4)))
    end = (FIRST + 1) * 60_000  # of minute 0
    rows = await world.table(
        0,
        subjects=frozenset({"ticker:NWA", "topic:earnings"}),
        windows=("24h",),
        since=end + 60_000,
        until=end + 3 * 60_000,
    )
    assert [r[:3] for r in short(rows)] == [
        (subject, minute, "24h") for subject in subjects[1:] for minute in (1, 2)
    ]
    with pytest.raises(ConfigurationError, match="about ticker:NONE"):
        await world.table(0, subjects=frozenset({"ticker:NONE"}))


async def test_a_time_before_everything_and_an_empty_topic_are_said(world: World) -> None:
    with pytest.raises(ConfigurationError, match="aggregate has closed no minute yet"):
        await world.table(0)
    await world.producer.send_and_wait(world.names.topic(WINDOWS), b"what?", b"market", 0)
    with pytest.raises(ConfigurationError, match="its 1 records are no windows"):
        await world.table(0)
    await world.publish(window("market", 1, 1, made=SECOND))
    with pytest.raises(ConfigurationError, match=r"the first window was closed at 2026-10-15 14"):
        await world.table(0)
    assert files(world.folder) == []
    report, _ = await world.export("x.csv", SECOND)
    assert (report.rows, report.unreadable) == (2, 1)


@pytest.mark.brokers("kafka")
async def test_what_retention_has_removed_is_said(world: World) -> None:
    await world.publish(*(window("market", n, 1, made=n * SECOND) for n in range(6)))
    place = TopicPartition(world.names.topic(WINDOWS), sum(b"market") % 2)

    def cut() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            admin = KafkaAdminClient(bootstrap_servers=world.settings.bootstrap)
        admin.delete_records({place: 3})
        admin.close()

    await asyncio.to_thread(cut)
    with pytest.raises(ConfigurationError, match=r"is whole from 2026-10-15 14:00:03 UTC on"):
        await world.table(2 * SECOND)
    report, _ = await world.export("x.csv", 3 * SECOND)
    assert (report.rows, report.kept_from) == (2, T + 3 * SECOND)


@pytest.mark.brokers("kafka")
async def test_only_committed_records_were_known(world: World) -> None:
    topic = world.names.topic(WINDOWS)
    producer = AIOKafkaProducer(
        bootstrap_servers=world.settings.bootstrap, transactional_id=f"{topic}.test"
    )
    await producer.start()

    async def write(revision: int) -> None:
        made = window("market", 1, revision, made=revision * SECOND)
        value = made.model_dump_json().encode()
        await producer.send_and_wait(topic, value, b"market", 0)

    try:
        async with producer.transaction():
            await write(1)
        await producer.begin_transaction()
        await write(2)
        await producer.abort_transaction()
        await producer.begin_transaction()
        await write(3)
        assert {row[3] for row in short(await world.table(HOUR))} == {1}
        await producer.commit_transaction()
        assert {row[3] for row in short(await world.table(HOUR))} == {3}
    finally:
        await producer.stop()


async def test_no_topic_and_no_broker_are_clear_errors(
    any_broker: tuple[str, KafkaSettings], tmp_path: Path, unused_tcp_port: int
) -> None:
    bootstrap = str(any_broker[1].bootstrap)
    with pytest.raises(ConfigurationError, match=r"no topic nowhere\.windows"):
        await export(bootstrap, Names("nowhere."), Wanted(T), tmp_path / "x.csv")
    with pytest.raises(BrokerUnreachable):
        await export(f"127.0.0.1:{unused_tcp_port}", Names(), Wanted(T), tmp_path / "x.csv")
    assert files(tmp_path) == []


def run(settings: KafkaSettings, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("TICKERTONE")}
    ours = {
        "TICKERTONE_KAFKA__BOOTSTRAP": str(settings.bootstrap),
        "TICKERTONE_KAFKA__PREFIX": settings.prefix,
    }
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", "export", *words],
        cwd=folder,
        env=plain | ours,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.brokers("tansu")
async def test_the_command_says_what_it_wrote_or_ends_with_3(
    world: World,
) -> None:
    await world.publish(*(window(s, 1, 1, made=0) for s in ("market", "ticker:NWA")))

    words = ("--out", "x.csv", "--subject", "$nwa", "--as-of", "2026-10-15T14:00")
    done = await asyncio.to_thread(run, world.settings, world.folder, *words)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert done.stdout == "2 rows as known at 2026-10-15 14:00:00 UTC: x.csv\n"
    head, *rows = (world.folder / "x.csv").read_text().splitlines()
    assert head.startswith("subject,minute,end,window,revision,")
    assert {row.partition(",")[0] for row in rows} == {"ticker:NWA"}
    nowhere = world.settings.model_copy(update={"bootstrap": "127.0.0.1:1"})
    done = await asyncio.to_thread(run, nowhere, world.folder, "--out", "y.csv")
    assert (done.returncode, "no Kafka broker answers" in done.stderr) == (3, True)
    assert files(world.folder) == ["x.csv"]
