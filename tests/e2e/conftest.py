"""One prefix on a real broker with real worker processes, kept alive by our supervisor."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from streams.adapters.kafka_admin import ensure_topics
from streams.core.topics import Names
from streams.embedded.process import free_ports
from streams.embedded.supervisor import Supervisor
from streams.ledger import LedgerReport, check_ledger
from streams.settings import KafkaSettings
from streams.up import worker_spec
from tests.support.workers import metric, until


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
        return await metric(self._ports[worker], name)

    async def kill(self, worker: str) -> None:
        """Kill a worker (SIGKILL) once it is in the middle of its work."""
        busy = {"score": "tickertone_texts_scored_total", "aggregate": "tickertone_takeovers_total"}
        await until(lambda: self._above(worker, busy[worker]), 120, f"{worker} works")
        pid = self.pid(worker)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: self._gone(pid), 20, f"{worker} is gone")

    async def _above(self, worker: str, name: str) -> bool:
        return await self.metric(worker, name) > 0

    async def _gone(self, pid: int) -> bool:
        return not psutil.pid_exists(pid)

    async def ready(self, worker: str) -> tuple[bool, str]:
        """What /readyz says, and its body."""
        url = f"http://127.0.0.1:{self._ports[worker]}/readyz"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status == 200, await response.text()

    def pid(self, worker: str) -> int:
        """Process id of a worker."""
        pid = self._supervisor.child(worker).pid
        assert pid
        return pid

    async def settle(self, seconds: float = 120) -> LedgerReport:
        """Wait until the ledger balances and return it."""

        async def balanced() -> bool:
            return (await check_ledger(self.bootstrap, self.names)).balanced

        await until(balanced, seconds, "the ledger balances")
        return await check_ledger(self.bootstrap, self.names)


@asynccontextmanager
async def _started(
    kafka: KafkaSettings, triton: str, folder: Path, more: Mapping[str, str] | None = None
) -> AsyncIterator[Run]:
    ensure_topics(kafka)
    environment = {
        **(more or {}),
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
        await supervisor.start_all(together=True)
        yield Run(supervisor, kafka, ports)


Started = Callable[..., AbstractAsyncContextManager[Run]]


@pytest.fixture
def started() -> Started:
    """Start score and aggregate: `async with started(kafka, triton_url, folder) as run`."""
    return _started
