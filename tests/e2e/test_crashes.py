"""Nothing is lost and nothing counted twice when score and aggregate are killed in mid-replay.

The workers are real processes on a real broker and a real Triton, kept alive by our supervisor.
By default each is killed once; TICKERTONE_TEST_KILLS sets how often, TICKERTONE_TEST_REPLAY and
TICKERTONE_TEST_TEXTS what is replayed.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from streams.connectors.replay import replay
from streams.ledger import LedgerReport
from streams.offline import Closed, differing, fold_votes, published_windows
from streams.samples import STREAM
from streams.settings import KafkaSettings
from streams.worker import load_rules

KILLS = int(os.environ.get("TICKERTONE_TEST_KILLS", "1"))
REPLAY = os.environ.get("TICKERTONE_TEST_REPLAY", str(STREAM))
TEXTS = int(os.environ.get("TICKERTONE_TEST_TEXTS", "1000"))
LATENESS_MS = 60_000


async def replayed(run: Any) -> None:
    report = await replay([REPLAY], bootstrap=run.bootstrap, names=run.names, limit=TEXTS)
    assert report.confirmed > 0


def counted(report: LedgerReport) -> int:
    return sum(votes.counts["counted"] for votes in report.votes)


def judged(closed: Closed) -> Closed:
    """Leave out what says when it was written rather than what is true."""
    return {place: {**w, "watermark": 0, "revision": 0} for place, w in closed.items()}


@pytest.mark.brokers("tansu")  # tests/chaos kills on Apache Kafka
@pytest.mark.timeout(1800)
async def test_kills_in_mid_replay_change_no_count_and_no_window(
    any_broker: tuple[str, KafkaSettings], triton_url: str, tmp_path: Path, started: Any
) -> None:
    kafka = any_broker[1]
    broker = str(kafka.bootstrap)
    calm_kafka = kafka.model_copy(update={"prefix": f"{kafka.prefix}calm-", "partitions": 4})
    async with started(calm_kafka, triton_url, tmp_path / "calm") as calm:
        await replayed(calm)
        calm_report = await calm.settle(90 + TEXTS / 20)
    calm_windows = await published_windows(broker, calm.names)
    assert calm_windows

    crash_kafka = calm_kafka.model_copy(update={"prefix": f"{kafka.prefix}crash-"})
    async with started(crash_kafka, triton_url, tmp_path / "crash") as run:
        await replayed(run)
        for _ in range(KILLS):
            await run.kill("score")
            await run.kill("aggregate")
        report = await run.settle(90 + TEXTS / 20)

    resent = sum(votes.counts["resent"] for votes in report.votes)
    print(f"{KILLS} kills each: {counted(report)} votes counted, {resent} written again")
    assert report.balanced
    assert counted(report) == counted(calm_report)
    assert sum(votes.counts["late"] for votes in report.votes) == 0
    offline = await fold_votes(broker, run.names, load_rules(None), LATENESS_MS)
    windows = await published_windows(broker, run.names)
    assert differing(offline, windows) == []
    assert differing(judged(calm_windows), judged(windows)) == []
