"""Replaying files into a real broker."""

import asyncio
import gzip
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.kafka_scan import scan
from streams.connectors.replay import ReplayReport, replay
from streams.core.errors import ConfigurationError, PublishFailed
from streams.core.topics import INPUTS, TEXTS_NEWS, TEXTS_SOCIAL, Names
from streams.embedded.broker import broker_spec
from streams.embedded.process import free_ports
from streams.embedded.supervisor import Supervisor
from streams.samples import STREAM
from streams.settings import KafkaSettings
from tests.support.kafka import Cluster

PARTITIONS = 3


@pytest.fixture
def names(any_broker: tuple[str, KafkaSettings]) -> Names:
    settings = any_broker[1].model_copy(update={"partitions": PARTITIONS})
    ensure_topics(settings)
    return Names(settings.prefix)


@pytest.fixture
def broker(any_broker: tuple[str, KafkaSettings]) -> str:
    return str(any_broker[1].bootstrap)


async def records(broker: str, names: Names) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {topic: [] for topic in INPUTS}
    async with scan(broker, *map(names.topic, INPUTS)) as inputs:
        async for partition, batch in inputs.batches():
            found[names.plain(partition.topic)] += batch
    return found


def texts(found: list[Any]) -> list[Any]:
    return [record for record in found if not record.headers]


def write(path: Path, times: list[int], **fields: str) -> str:
    lines = [
        orjson.dumps({"id": f"{path.name}-{n}", "text": "x", "published_at": at, **fields})
        for n, at in enumerate(times)
    ]
    path.write_bytes(b"\n".join(lines))
    return str(path)


async def test_every_line_arrives_byte_for_byte_and_in_order(broker: str, names: Names) -> None:
    shown: list[int] = []
    report = await replay(
        [str(STREAM)],
        bootstrap=broker,
        names=names,
        on_progress=lambda progress: shown.append(progress.confirmed),
    )
    found = await records(broker, names)
    lines = gzip.decompress(STREAM.read_bytes()).splitlines()
    assert sorted(r.value for t in INPUTS for r in texts(found[t])) == sorted(lines)
    assert report.confirmed == report.sent == len(lines) == report.news + report.social
    assert report.read_bytes == report.total_bytes == STREAM.stat().st_size
    assert shown[-1] == len(lines)
    for topic, source in ((TEXTS_NEWS, "news"), (TEXTS_SOCIAL, "social")):
        mine = texts(found[topic])
        assert {orjson.loads(r.value)["source"] for r in mine} == {source}
        assert {r.partition for r in mine} == set(range(PARTITIONS))
        assert all(r.key == orjson.loads(r.value)["id"].encode() for r in mine)
        for partition in range(PARTITIONS):
            keys = [r.key for r in mine if r.partition == partition]
            assert keys == sorted(keys)
    assert all(abs(r.timestamp / 1000 - time.time()) < 60 for t in INPUTS for r in found[t])


async def test_an_end_record_closes_every_partition(
    broker: str, names: Names, tmp_path: Path
) -> None:
    file = write(tmp_path / "a", [1_700_000_000_000, 1_700_000_500_000, 1_700_000_100_000])
    report = await replay([file], bootstrap=broker, names=names)
    found = await records(broker, names)
    ends = [r for topic in INPUTS for r in found[topic] if ("kind", b"end") in r.headers]
    assert len(ends) == report.ends == 2 * PARTITIONS
    assert {(r.topic, r.partition) for r in ends} == {
        (names.topic(topic), partition) for topic in INPUTS for partition in range(PARTITIONS)
    }
    assert {r.value for r in ends} == {b'{"event_time":1700000500000}'}
    for record in ends:
        assert all(
            r.offset <= record.offset
            for r in found[names.plain(record.topic)]
            if r.partition == record.partition
        )


async def test_malformed_lines_travel_too_and_leave_the_clock_alone(
    broker: str, names: Names, tmp_path: Path
) -> None:
    path = tmp_path / "mixed"
    good = b'{"text":"x","published_at":1700000000000,"mine":[1, 2]}'
    bad = [b"\xff\xfe", b"no json", b'{"text":"x","published_at":99999999999999}']
    path.write_bytes(b"\n".join([bad[0], good, b"   ", *bad[1:]]))
    report = await replay([str(path)], bootstrap=broker, names=names)
    found = await records(broker, names)
    assert sorted(r.value for r in texts(found[TEXTS_SOCIAL])) == sorted([good, *bad])
    assert (report.malformed, report.blank, report.confirmed) == (3, 1, 4)
    assert report.last_event_time == 1_700_000_000_000


async def test_several_files_are_merged_by_event_time(
    broker: str, names: Names, tmp_path: Path
) -> None:
    begin = 1_700_000_000_000
    even = write(tmp_path / "even", [begin + 2000 * n for n in range(500)], source="news")
    odd = write(tmp_path / "odd", [begin + 2000 * n + 1000 for n in range(500)], source="news")
    await replay([odd, even], bootstrap=broker, names=names)
    found = texts((await records(broker, names))[TEXTS_NEWS])
    assert len(found) == 1000
    for partition in range(PARTITIONS):
        times = [orjson.loads(r.value)["published_at"] for r in found if r.partition == partition]
        assert times == sorted(times)


async def test_a_speed_sets_the_pace_and_a_limit_the_end(
    broker: str, names: Names, tmp_path: Path
) -> None:
    begin = 1_700_000_000_000
    file = write(tmp_path / "paced", [begin + 1000 * n for n in range(100)])
    report = await replay([file], bootstrap=broker, names=names, speed=40, limit=41)
    assert report.confirmed == 41
    assert 1.0 <= report.seconds < 8.0  # forty seconds of events at forty times real time
    assert report.last_event_time == begin + 40_000
    found = texts((await records(broker, names))[TEXTS_SOCIAL])
    stamps = [r.timestamp for r in found]
    assert max(stamps) - min(stamps) >= 900  # they did not all come at the end


async def test_an_empty_file_ends_without_end_records(
    broker: str, names: Names, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    report = await replay([str(tmp_path / "empty")], bootstrap=broker, names=names)
    assert (report.sent, report.ends, report.last_event_time) == (0, 0, None)


async def test_a_missing_file_and_a_missing_broker_are_said_before_anything_is_sent(
    broker: str, names: Names, tmp_path: Path
) -> None:
    file = write(tmp_path / "good", [1_700_000_000_000])
    with pytest.raises(ConfigurationError, match="nowhere"):
        await replay([file, str(tmp_path / "nowhere")], bootstrap=broker, names=names)
    assert not any((await records(broker, names)).values())
    with pytest.raises(ConfigurationError, match="no input topics at"):
        await replay([file], bootstrap="127.0.0.1:9", names=names)


async def test_a_pipe_is_passed_on_while_it_is_still_open(
    broker: str, names: Names, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)  # so that opening it to read does not wait
    os.write(end, b'{"text":"x","published_at":1700000000000}\n')
    replaying = asyncio.create_task(replay([str(pipe)], bootstrap=broker, names=names))
    try:
        async with asyncio.timeout(20):
            while not texts((await records(broker, names))[TEXTS_SOCIAL]):
                pass
        assert not replaying.done()
    finally:
        os.close(end)
    report = await replaying
    assert (report.confirmed, report.ends, report.total_bytes) == (1, 2 * PARTITIONS, None)


@asynccontextmanager
async def mortal(kind: str, folder: Path) -> AsyncIterator[tuple[str, Callable[[], int | None]]]:
    """A broker of one's own: its address, and its process id while it lives."""
    if kind == "tansu":
        (port,) = free_ports(1)
        supervisor = Supervisor(folder, signals=False).add(broker_spec(port))
        await supervisor.start_all()
        child = supervisor.child("broker")
        try:
            yield f"127.0.0.1:{port}", lambda: child.pid
        finally:
            await child.stop()
        return
    with closing(Cluster(folder)) as cluster:
        await asyncio.to_thread(cluster.start)
        yield cluster.bootstrap, lambda: cluster.pid(1) if cluster.alive(1) else None


@pytest.mark.parametrize("kind", ["tansu", "kafka"])
async def test_a_broker_that_dies_fails_the_replay(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.connectors.replay._GIVE_UP_MS", 1500)
    request.getfixturevalue(kind)  # says so where the machine has no Kafka
    async with mortal(kind, tmp_path / "run") as (address, pid):
        names = Names("dying.")
        await asyncio.to_thread(ensure_topics, KafkaSettings(bootstrap=address, prefix="dying."))
        begin = 1_700_000_000_000
        file = write(tmp_path / "long", [begin + 100 * n for n in range(600)])

        def kill(report: ReplayReport) -> None:
            if report.confirmed and (alive := pid()):
                os.kill(alive, signal.SIGKILL)

        with pytest.raises(PublishFailed, match="that begins with line"):
            await replay([file], bootstrap=address, names=names, speed=20, on_progress=kill)
