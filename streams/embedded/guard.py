"""Stand between the supervisor and one child, so that the child cannot outlive the supervisor.

    python -I -S guard.py PIDFILE COMMAND [ARGUMENT …]     (standard input: a pipe)

The supervisor holds the other end of the pipe. When it closes, for whatever reason (kill -9
included), the whole process group goes: this also reaches grandchildren such as Triton's
Python stub. Asking the kernel for a death signal in the supervisor itself would not do: it is
not inherited by grandchildren, and it fires when the *thread* that forked ends. This process
has one thread, so for its own death the child does ask the kernel.

Standard library only, and nothing of `streams`: it must start in milliseconds.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

GRACE_S = 6.0
"""Triton needs three seconds to stop and to give its shared memory back."""
PR_SET_PDEATHSIG = 1


def main(pid_file: str, argv: list[str]) -> int:
    """Run the command; return its exit code, or 128 + the signal that ended it."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    wake, wake_write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_write, False)
    guard = os.getpid()
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    signal.set_wakeup_fd(wake_write)
    for number in handled:
        signal.signal(number, lambda *_: None)
    child = os.fork()
    if child == 0:
        _become(argv, guard, libc)
    with open(pid_file, "w") as file:  # noqa: PTH123 - pathlib would double the start-up time
        file.write(str(child))
    try:
        return _watch(child, wake)
    finally:
        _forget(pid_file, child)


def _become(argv: list[str], guard: int, libc: ctypes.CDLL | None) -> None:
    """Turn this forked process into the command; never returns."""
    try:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)  # it died before we asked
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores these, the command must not
        os.execvp(argv[0], argv)  # noqa: S606 - the whole point
    except OSError as exc:
        os.write(2, f"{argv[0]}: {exc.strerror}\n".encode())
    os._exit(127)


def _watch(child: int, wake: int) -> int:
    """Wait for the child's end or the supervisor's, passing SIGTERM on."""
    deadline: float | None = None
    watched = [0, wake]
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select(watched, [], [], left)
        if wake in readable:
            signals = os.read(wake, 1024)
            if signal.SIGCHLD in signals:
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    return _leave(status)
            if {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} & set(signals):
                os.kill(child, signal.SIGTERM)
        if 0 in readable and not os.read(0, 1):
            watched = [wake]
            os.kill(child, signal.SIGTERM)
            os.kill(child, signal.SIGCONT)  # a stopped child could not hear it
            deadline = time.monotonic() + GRACE_S
        if deadline is not None and time.monotonic() >= deadline:
            os.killpg(0, signal.SIGKILL)


def _leave(status: int) -> int:
    """Take along what the child left in our group; return the exit code."""
    code = os.waitstatus_to_exitcode(status)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    left = _others()
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _forget(pid_file: str, child: int) -> None:
    """Remove the pid file, unless a newer child has it by now."""
    with contextlib.suppress(FileNotFoundError):
        with open(pid_file) as file:  # noqa: PTH123
            ours = file.read() == str(child)
        if ours:
            os.unlink(pid_file)  # noqa: PTH108


def _others() -> list[int]:
    """Return the other processes of our group (Linux; elsewhere none are known)."""
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    except FileNotFoundError:
        return []
    group, me = os.getpgid(0), os.getpid()
    found = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid != me and os.getpgid(pid) == group:
                found.append(pid)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
