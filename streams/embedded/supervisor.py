"""Keep a set of child processes alive, and stop them in order."""

import asyncio
import contextlib
import fcntl
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from streams.core.errors import ConfigurationError
from streams.embedded.process import ChildProcess

Probe = Callable[[], Awaitable[bool]]
"""Answers whether the child works. Must not raise; the supervisor bounds its time."""

Progress = Callable[[str, str], None]
"""Called with a child's name and what just happened: starting, ready, died (code 1), …"""

_BACKOFF_FIRST_S = 0.5
_BACKOFF_MOST_S = 30.0
_STABLE_S = 120.0
_READY_POLL_S = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run and how to tell that it works."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    """On top of our own environment."""
    prepare: Callable[[], None] | None = None
    """Called before every start, for files the command needs."""
    ready: Probe | None = None
    """Asked after a start until it says yes. None: ready as soon as it runs."""
    ready_timeout_s: float = 60.0
    health: Probe | None = None
    """Asked while it runs; `health_failures` times no in a row means hung: killed, restarted."""
    health_every_s: float = 3.0
    health_timeout_s: float = 5.0
    health_failures: int = 3
    essential: bool = False
    """Its death is the end of everything; otherwise it is restarted."""
    fatal_codes: frozenset[int] = frozenset({2})
    """Exit codes after which a restart is pointless; 2 is wrong usage or configuration."""
    grace_s: float = 10.0
    """From SIGTERM to SIGKILL."""


def backoff_s(failures: int) -> float:
    """Return the pause before a restart: doubling from half a second, at most half a minute."""
    return float(min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 10)))


class Supervisor:
    """Runs children until told to stop or until an essential one dies.

    async with Supervisor(run_dir) as supervisor:
        supervisor.add(spec)
        await supervisor.start_all(print)
        code = await supervisor.run_until_stopped()

    Leaving the block stops every child, last started first. SIGINT, SIGTERM and SIGHUP ask for
    the stop; a second one of them kills at once.
    """

    def __init__(self, run_dir: Path, *, signals: bool = True) -> None:
        """Nothing starts yet.

        Args:
            run_dir: For the children's logs and pid files.
            signals: Whether to handle the signals; only possible in the main thread.
        """
        self.run_dir = run_dir
        self.failure = ""
        """Why everything stops, if nobody asked for it."""
        self._signals = signals
        self._specs: list[ChildSpec] = []
        self._children: dict[str, ChildProcess] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._hurry = False
        self._handled: list[signal.Signals] = []
        self._lock: TextIO | None = None
        self._progress: Progress = lambda _name, _what: None

    def add(self, spec: ChildSpec) -> Self:
        """Add a child; children start in this order and stop in the opposite one."""
        if any(spec.name == other.name for other in self._specs):
            raise ValueError(f"two children named {spec.name}")
        self._specs.append(spec)
        return self

    async def __aenter__(self) -> Self:
        """Take the run directory and the signals.

        Raises:
            ConfigurationError: another supervisor runs children in this directory.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._lock = (self.run_dir / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            self._lock.close()
            raise ConfigurationError(
                f"another Tickertone runs in {self.run_dir.resolve()}; stop it, or name another "
                "directory in TICKERTONE_RUN_DIR"
            ) from exc
        loop = asyncio.get_running_loop()
        if self._signals:
            # What was set to be ignored (nohup, background jobs) stays ignored.
            self._handled = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
        for number in self._handled:
            loop.add_signal_handler(number, self.stop)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.stop_all()
        finally:
            loop = asyncio.get_running_loop()
            for number in self._handled:
                loop.remove_signal_handler(number)
            if self._lock is not None:
                self._lock.close()

    def stop(self) -> None:
        """Ask for the end; asked twice, the children are killed without grace."""
        if self._stopping.is_set():
            self._hurry = True
            for child in self._children.values():
                child.kill()
        self._stopping.set()

    def child(self, name: str) -> ChildProcess:
        """Return a started child's process."""
        return self._children[name]

    async def start_all(
        self, on_progress: Progress | None = None, *, together: bool = False
    ) -> None:
        """Start the children in order, each when the one before it is ready, or all together.

        Returns early if a stop is asked for meanwhile. May be called again after more `add`.

        Raises:
            ConfigurationError: one did not become ready; the message has the end of its log.
        """
        if on_progress is not None:
            self._progress = on_progress
        waiting = [spec for spec in self._specs if spec.name not in self._children]
        for group in [waiting] if together else [[spec] for spec in waiting]:
            faults = await asyncio.gather(*(self._start(spec) for spec in group))
            if self._stopping.is_set():
                return
            for fault in filter(None, faults):
                raise ConfigurationError(fault)

    async def _start(self, spec: ChildSpec) -> str:
        """Start one child for the first time and watch it from then on; return what went wrong."""
        child = ChildProcess(spec.name, spec.argv, run_dir=self.run_dir, env=spec.env)
        self._children[spec.name] = child
        fault = await self._launch(spec, child)
        if self._stopping.is_set():
            return ""
        if fault:
            return f"{spec.name} {fault}; see {child.log}\n{child.log_tail()}".rstrip()
        self._tasks.append(asyncio.create_task(self._keep(spec, child), name=spec.name))
        return ""

    async def run_until_stopped(self) -> int:
        """Wait for the end; return the exit code: 0 if it was asked for, else 1 with `failure`."""
        await self._stopping.wait()
        return 1 if self.failure else 0

    async def stop_all(self) -> None:
        """Stop all children, last started first. Idempotent."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        grace = {spec.name: spec.grace_s for spec in self._specs}
        try:
            for name, child in reversed(self._children.items()):
                if child.poll() is None:
                    self._progress(name, "stopping")
                    await child.stop(0 if self._hurry else grace[name])
        finally:
            for child in self._children.values():
                child.kill()
            self._children.clear()

    async def _launch(self, spec: ChildSpec, child: ChildProcess) -> str:
        """Start a child and wait until it is ready; return what went wrong, or nothing."""
        self._progress(spec.name, "starting")
        if spec.prepare is not None:
            spec.prepare()
        child.start()
        deadline = time.monotonic() + spec.ready_timeout_s
        while not self._stopping.is_set():
            if (code := child.poll()) is not None:
                return f"ended while starting (code {code})"
            if spec.ready is None or await _bounded(spec.ready, spec.health_timeout_s):
                self._progress(spec.name, "ready")
                return ""
            if time.monotonic() > deadline:
                child.kill()
                return f"was not ready after {spec.ready_timeout_s:g} s"
            await asyncio.sleep(_READY_POLL_S)
        return ""

    async def _keep(self, spec: ChildSpec, child: ChildProcess) -> None:
        """Watch one child and restart it, until everything stops."""
        failures = 0
        while not self._stopping.is_set():
            since = time.monotonic()
            fault = await self._watch(spec, child)
            if time.monotonic() - since >= _STABLE_S:
                failures = 0
            while fault and not self._stopping.is_set():
                self._progress(spec.name, fault)
                if spec.essential or child.poll() in spec.fatal_codes:
                    self._fail(f"{spec.name} {fault}; see {child.log}\n{child.log_tail()}")
                    return
                failures += 1
                await self._pause(backoff_s(failures))
                if not self._stopping.is_set():
                    fault = await self._launch(spec, child)

    async def _watch(self, spec: ChildSpec, child: ChildProcess) -> str:
        """Wait until the child has died or hangs (then it is killed); return which."""
        missed = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(spec.health_every_s):
                    return f"died (code {await child.wait()})"
            if spec.health is None:
                continue
            missed = 0 if await _bounded(spec.health, spec.health_timeout_s) else missed + 1
            if missed >= spec.health_failures and child.poll() is None:
                child.kill()
                return "hung"

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why.rstrip()
        self._stopping.set()


async def _bounded(probe: Probe, seconds: float) -> bool:
    # Not wait_for: in Python 3.11 it loses a cancellation that comes together with the answer.
    try:
        async with asyncio.timeout(seconds):
            return await probe()
    except TimeoutError:
        return False
