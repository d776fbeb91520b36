"""One child process: a log file, a process group of its own, and no way to outlive us.

Ctrl-C in a terminal goes to the whole foreground group; a child in a session of its own does
not hear it, so that children stop in the order in which we stop them.
"""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from streams.embedded import guard

_POLL_S = 0.05
_PORTS = range(20_000, 32_768)
# Processes that seed `random` alike, as tests do, must not choose the same ports.
_chance = random.SystemRandom()
_LOG_BYTES = 10_000_000
"""A larger log is put aside at the next start; one such is kept."""


class ChildProcess:
    """A command behind a guard. May be started again after it ended. Not thread-safe."""

    def __init__(
        self, name: str, argv: Sequence[str], *, run_dir: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Nothing starts yet.

        Args:
            name: Of the log file `<name>.log` and the pid file `<name>.pid`.
            argv: The command; found on the PATH if its first word has no slash.
            run_dir: Where these files go; made if missing.
            env: Variables on top of our own environment.
        """
        self.name = name
        self.log = run_dir / f"{name}.log"
        self._argv = [str(part) for part in argv]
        self._pid_file = run_dir / f"{name}.pid"
        self._env = dict(env or {})
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the command; its output is appended to the log file."""
        if self._guard is not None and self._guard.poll() is None:
            raise RuntimeError(f"{self.name} runs already")
        self._close_pipe()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._pid_file.unlink(missing_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(  # noqa: S603 - what our caller wants to run
                [
                    sys.executable,
                    "-I",
                    "-S",
                    guard.__file__,
                    str(self._pid_file),
                    *self._argv,
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """The pid of the command itself (not of its guard), once it runs."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(self._pid_file.read_text())
        return None

    def poll(self) -> int | None:
        """Return the exit code (128 + signal number for a signal) or None while it runs."""
        if self._guard is None:
            return None
        ended = self._guard.returncode is not None
        code = self._guard.poll()
        if code is None or code >= 0:
            return code
        if not ended:
            # The guard itself was killed: the kernel took the child, we take grandchildren.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._guard.pid, signal.SIGKILL)
        return 128 - code

    async def wait(self) -> int:
        """Return the exit code when the command has ended."""
        while (code := self.poll()) is None:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(_POLL_S)
        return code

    async def stop(self, grace_s: float = 10.0) -> int | None:
        """Ask to end, wait, kill what is left of the group; return the exit code, if any."""
        if self._guard is None:
            return None
        try:
            if self.poll() is None:
                self._guard.terminate()
                deadline = time.monotonic() + grace_s
                while self.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)
        finally:
            self.kill()  # also when we are cancelled meanwhile
        return self.poll()

    def kill(self) -> None:
        """Kill the group now and wait for its end; nothing happens if it has ended."""
        if self._guard is None:
            return
        if self._guard.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
            self._pid_file.unlink(missing_ok=True)
        self._close_pipe()

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of the log, for messages."""
        with contextlib.suppress(FileNotFoundError):
            text = self.log.read_bytes()[-8192:].decode(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def _close_pipe(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()


def free_ports(count: int) -> tuple[int, ...]:
    """Return loopback ports that nobody listened on a moment ago, all different.

    They lie below those that Linux gives to outgoing connections, so that a server which is
    started again finds its port free.
    """
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in _chance.sample(_PORTS, len(_PORTS)):
            if len(found) == count:
                break
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
    return tuple(found)
