"""An input topic is deleted and made anew under existing state; the way out is a new prefix."""

import asyncio
import os
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from streams.adapters.clock import now_ms
from streams.adapters.kafka_admin import ensure_topics, topic_ids
from streams.adapters.publisher import Publisher
from streams.connectors.replay import replay
from streams.core.topics import INPUTS, TEXTS_NEWS, Names
from streams.ledger import LedgerReport, check_ledger
from streams.offline import published_windows
from streams.ports import Outgoing
from streams.settings import KafkaSettings
from tests.support.workers import Worker, until

with warnings.catch_warnings():
    # kafka-python reads its schemas in a way that Python 3.11 alone calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient

BASE = 1_760_000_000_000
TEXTS = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def environment(settings: KafkaSettings, triton: str) -> dict[str, str]:
    return {
        **{
            f"TICKERTONE_KAFKA__{name.upper()}": str(value)
            for name, value in settings.model_dump().items()
        },
        "TICKERTONE_TRITON__URL": triton,
        "TICKERTONE_SCORE__AUTHOR_KEY": "test",
    }


@asynccontextmanager
async def workers(
    settings: KafkaSettings, triton: str, folder: Path
) -> AsyncIterator[tuple[Worker, Worker]]:
    """Score and aggregate; whoever ends stays down."""
    env = environment(settings, triton)
    pair = Worker("score", "score", folder, env), Worker("aggregate", "aggregate", folder, env)
    try:
        for worker in pair:
            worker.start(restart=False)
        for worker in pair:
            await until(worker.ready, 180, f"{worker.name} is ready")
        yield pair
    finally:
        for worker in pair:
            await worker.stop()


def archive(folder: Path) -> Path:
    """Texts of both sources, as somebody keeps them beside Kafka."""
    lines = [
        {
            "id": f"t{n}",
            "text": f"$AAPL gains after quarter number {n}",
            "published_at": BASE + n * 20_000,
            "source": ("news", "social")[n % 2],
            "lang": "en",
        }
        for n in range(TEXTS)
    ]
    path = folder / "archive.jsonl"
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return path


async def replayed(settings: KafkaSettings, path: Path) -> LedgerReport:
    """Replay the archive and wait until every vote is counted."""
    names = Names(settings.prefix)
    await replay([str(path)], bootstrap=str(settings.bootstrap), names=names)

    async def balanced() -> bool:
        report = await check_ledger(str(settings.bootstrap), names)
        return report.balanced and sum(v.read for v in report.votes) > 0

    await until(balanced, 240, "the ledger balances")
    return await check_ledger(str(settings.bootstrap), names)


def made_anew(settings: KafkaSettings, topic: str) -> None:
    before = topic_ids(settings, [topic])[topic]
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap)
    try:
        admin.delete_topics([Names(settings.prefix).topic(topic)])
        admin.create_topics(
            {Names(settings.prefix).topic(topic): {"num_partitions": settings.partitions}}
        )
    finally:
        admin.close()
    deadline = time.monotonic() + 30
    while topic_ids(settings, [topic])[topic] in ("", before):
        assert time.monotonic() < deadline, "the new topic is not to be seen"
        time.sleep(0.1)


def apply(settings: KafkaSettings) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "topics", "apply", "--yes"],
        env={**os.environ, **environment(settings, "127.0.0.1:9")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, " ".join(done.stderr.split())


async def test_a_topic_made_anew_stops_everything_and_a_new_prefix_goes_on(
    on_kafka: KafkaSettings, triton_url: str, tmp_path: Path
) -> None:
    """Without ids the new topic's texts would pass for repeats of the old one's, unseen."""
    await asyncio.to_thread(ensure_topics, on_kafka)
    texts = archive(tmp_path)
    async with workers(on_kafka, triton_url, tmp_path / "old") as (score, aggregate):
        before = await replayed(on_kafka, texts)
        await asyncio.to_thread(made_anew, on_kafka, TEXTS_NEWS)
        assert await score.ended(120) == 1
        assert "StateMismatch: texts.news.v1 was made anew" in score.log
        assert "TICKERTONE_KAFKA__PREFIX" in score.log

        code, said = await asyncio.to_thread(apply, on_kafka)
        assert code == 2
        assert f"{on_kafka.prefix}texts.news.v1 was made anew" in said
        assert "replay the texts" in said

        # Score knows only what it saw since it began; the first vote of the new topic tells.
        again = Worker("again", "score", tmp_path / "old", environment(on_kafka, triton_url))
        again.start(restart=False)
        try:
            sender = Publisher(on_kafka)
            await sender.start()
            body = {"text": "$AAPL sinks on a warning", "published_at": now_ms(), "lang": "en"}
            await sender.send([Outgoing(TEXTS_NEWS, b"k", orjson.dumps(body), (), 0)], now_ms())
            await sender.stop()
            assert await aggregate.ended(240) == 1
        finally:
            await again.stop()
        assert "StateMismatch: texts.news.v1 was made anew" in aggregate.log
    after = await check_ledger(str(on_kafka.bootstrap), Names(on_kafka.prefix))
    assert sum(v.read for v in after.votes) == sum(v.read for v in before.votes)
    assert sum(v.counts["resent"] for v in after.votes) == 0
    assert not after.balanced, "the ledger shows the votes that were not counted"

    fresh = on_kafka.model_copy(update={"prefix": f"{on_kafka.prefix}2."})
    assert (await asyncio.to_thread(apply, fresh))[0] == 0
    assert set((await asyncio.to_thread(topic_ids, fresh, INPUTS)).values()) != {""}
    async with workers(fresh, triton_url, tmp_path / "new"):
        report = await replayed(fresh, texts)
    assert sum(p.scored for p in report.inputs) == TEXTS
    assert await published_windows(str(fresh.bootstrap), Names(fresh.prefix))
