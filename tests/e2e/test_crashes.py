"""Nothing is lost and nothing counted twice when score and aggregate are killed in mid-replay.

The workers are real processes on a real broker and a real Triton, kept alive by our supervisor.
By default each is killed once; TICKERTONE_TEST_KILLS sets how often, TICKERTONE_TEST_REPLAY and
TICKERTONE_TEST_TEXTS what is replayed.
"""

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.adapters.kafka_admin import ensure_topics
from streams.connectors.replay import replay
from streams.core.topics import Names
from streams.embedded.process import free_ports
from streams.embedded.supervisor import Supervisor
from streams.ledger import LedgerReport, check_ledger
from streams.offline import Closed, differing, fold_votes, published_windows
from streams.samples import STREAM
from streams.settings import KafkaSettings
from streams.up import worker_spec
from streams.worker import load_rules

KILLS = int(os.environ.get("TICKERTONE_TEST_KILLS", "1"))
REPLAY = os.environ.get("TICKERTONE_TEST_REPLAY", str(STREAM))
TEXTS = int(os.environ.get("TICKERTONE_TEST_TEXTS", "1000"))
LATENESS_MS = 60_000


class Run:
    """One prefix on the broker with its two workers."""

    def __init__(self, supervisor: Supervisor, kafka: KafkaSettings, ports: dict[str, int]) -> None:
        self._supervisor = supervisor
        self._ports = ports
        self.kafka = kafka
        self.names = Names(kafka.prefix)

    @property
    def bootstrap(self) -> str:
        assert self.kafka.bootstrap
        return self.kafka.bootstrap

    async def metric(self, worker: str, name: str) -> float:
        """Sum of a metric's samples; 0 while the worker does not answer."""
        url = f"http://127.0.0.1:{self._ports[worker]}/metrics"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                page = await response.text()
        except aiohttp.ClientError:
            return 0.0
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name
        )

    async def kill(self, worker: str) -> None:
        """Kill a worker (SIGKILL) once it is in the middle of its work."""
        busy = {"score": "tickertone_texts_scored_total", "aggregate": "tickertone_takeovers_total"}
        await until(lambda: self._above(worker, busy[worker]), 120, f"{worker} works")
        pid = self._supervisor.child(worker).pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: self._gone(pid), 20, f"{worker} is gone")

    async def _above(self, worker: str, name: str) -> bool:
        return await self.metric(worker, name) > 0

    async def _gone(self, pid: int) -> bool:
        return not Path(f"/proc/{pid}/fd").exists()

    async def settle(self) -> LedgerReport:
        """Wait until the ledger balances; return it as it is in the end, balanced or not."""

        async def balanced() -> bool:
            return (await check_ledger(self.bootstrap, self.names)).balanced

        await until(balanced, 90 + TEXTS / 20, "the ledger balances")
        return await check_ledger(self.bootstrap, self.names)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def started(kafka: KafkaSettings, triton: str, folder: Path) -> AsyncIterator[Run]:
    ensure_topics(kafka)
    environment = {
        "TICKERTONE_KAFKA__BOOTSTRAP": kafka.bootstrap or "",
        "TICKERTONE_KAFKA__PREFIX": kafka.prefix,
        "TICKERTONE_KAFKA__TRANSACTIONS": str(kafka.transactions),
        "TICKERTONE_KAFKA__SESSION_TIMEOUT_S": str(kafka.session_timeout_s),
        "TICKERTONE_TRITON__URL": triton,
        "TICKERTONE_SCORE__AUTHOR_KEY": "test",
    }
    ports = dict(zip(("score", "aggregate"), free_ports(2), strict=True))
    async with Supervisor(folder, signals=False) as supervisor:
        for name, port in ports.items():
            supervisor.add(worker_spec(name, environment, port))
        await supervisor.start_all()
        yield Run(supervisor, kafka, ports)


async def replayed(run: Run) -> None:
    report = await replay([REPLAY], bootstrap=run.bootstrap, names=run.names, limit=TEXTS)
    assert report.confirmed > 0


def counted(report: LedgerReport) -> int:
    return sum(votes.counts["counted"] for votes in report.votes)


def judged(closed: Closed) -> Closed:
    """Leave out what says when it was written rather than what is true."""
    return {place: {**w, "watermark": 0, "revision": 0} for place, w in closed.items()}


@pytest.mark.timeout(1800)
async def test_kills_in_mid_replay_change_no_count_and_no_window(
    broker: str, triton_url: str, tmp_path: Path
) -> None:
    unique = uuid.uuid4().hex[:8]
    calm_kafka = KafkaSettings(
        bootstrap=broker, prefix=f"{unique}calm-", transactions=False, session_timeout_s=6
    )
    async with started(calm_kafka, triton_url, tmp_path / "calm") as calm:
        await replayed(calm)
        calm_report = await calm.settle()
    calm_windows = await published_windows(broker, calm.names)
    assert calm_windows

    kafka = calm_kafka.model_copy(update={"prefix": f"{unique}crash-"})
    async with started(kafka, triton_url, tmp_path / "crash") as run:
        await replayed(run)
        for _ in range(KILLS):
            await run.kill("score")
            await run.kill("aggregate")
        report = await run.settle()

    resent = sum(votes.counts["resent"] for votes in report.votes)
    print(f"{KILLS} kills each: {counted(report)} votes counted, {resent} written again")
    assert report.balanced
    assert counted(report) == counted(calm_report)
    assert sum(votes.counts["late"] for votes in report.votes) == 0
    offline = await fold_votes(broker, run.names, load_rules(None), LATENESS_MS)
    windows = await published_windows(broker, run.names)
    assert differing(offline.windows, windows) == []
    assert differing(judged(calm_windows), judged(windows)) == []
