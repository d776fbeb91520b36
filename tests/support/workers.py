"""Worker processes that can be killed, frozen, stopped and started again, one by one."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from streams.embedded.process import ChildProcess, free_ports

_RESTART_S = 0.5


class Worker:
    """One score or aggregate process, started again when it ends unasked."""

    def __init__(
        self, name: str, stage: str, folder: Path, env: Mapping[str, str], wrap: Sequence[str] = ()
    ) -> None:
        (self.port,) = free_ports(1)
        self.name = name
        self.stage = stage
        self.codes: list[int] = []
        """exit codes of the ends that nobody asked for (137: killed)"""
        env = {**env, "TICKERTONE_METRICS__PORT": str(self.port)}
        argv = (*wrap, sys.executable, "-m", "streams.cli", stage)
        self._process = ChildProcess(name, argv, run_dir=folder, env=env)
        self._keeper: asyncio.Task[None] | None = None
        self._restart = True

    @property
    def pid(self) -> int | None:
        """Process id, while it runs."""
        return self._process.pid

    def start(self, *, restart: bool = True) -> None:
        """Start it and watch over it."""
        self._restart = restart
        self._process.start()
        self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            self.codes.append(await self._process.wait())
            if not self._restart:
                return
            await asyncio.sleep(_RESTART_S)
            self._process.start()

    async def stop(self, grace_s: float = 20.0) -> int | None:
        """Ask it to end and return its exit code."""
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        return await self._process.stop(grace_s)

    async def ended(self, seconds: float) -> int:
        """Wait for an end that nobody asked for (started without restart); its exit code."""
        await until(lambda: _is(self.codes), seconds, f"{self.name} ends")
        return self.codes[-1]

    def signal(self, number: int) -> bool:
        """Send a signal to the process itself; whether there is one now."""
        pid = self._process.pid
        if pid is None or self._process.poll() is not None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> bool:
        """SIGKILL; whether there was something to kill."""
        return self.signal(signal.SIGKILL)

    def freeze(self) -> bool:
        """SIGSTOP; whether there was something to freeze."""
        return self.signal(signal.SIGSTOP)

    def thaw(self) -> bool:
        """SIGCONT."""
        return self.signal(signal.SIGCONT)

    @property
    def log(self) -> str:
        """All it has written so far."""
        return self._process.log.read_text(errors="replace") if self._process.log.exists() else ""

    async def ready(self) -> bool:
        """Whether /readyz says so."""
        return await fetched(f"http://127.0.0.1:{self.port}/readyz") is not None

    async def metric(self, name: str) -> float:
        """Sum of a metric's samples; 0 while it does not answer."""
        return await metric(self.port, name)


async def fetched(url: str) -> str | None:
    """Return a page, or None where the answer is not 200 or does not come."""
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return await response.text() if response.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None


async def metric(port: int, name: str) -> float:
    """Return the sum of a metric's samples of a worker; 0 while it does not answer."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(
            await fetched(f"http://127.0.0.1:{port}/metrics") or ""
        )
        for sample in family.samples
        if sample.name == name
    )


async def _is(something: object) -> bool:
    return bool(something)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float, what: str) -> float:
    """Wait for a condition and return how long it took; fail when it takes too long."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < seconds, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.1)
    return time.monotonic() - started
