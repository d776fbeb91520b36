"""The supervisor with small commands for children: restarts, order, and who ends what."""

import asyncio
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from streams.core.errors import ConfigurationError
from streams.embedded import supervisor as module
from streams.embedded.supervisor import ChildSpec, Supervisor, backoff_s

SLEEP = ("sleep", "1000")


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path, signals=False) as made:
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BACKOFF_FIRST_S", 0.01)


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - watches other processes
            await asyncio.sleep(0.02)


async def test_what_a_child_says_is_in_its_log_and_ends_up_in_the_message(
    supervisor: Supervisor,
) -> None:
    supervisor.add(ChildSpec("sad", ("sh", "-c", "echo no port free; exit 3"), ready=never))
    with pytest.raises(ConfigurationError, match=r"(?s)sad ended while starting \(code 3\).*no po"):
        await supervisor.start_all()


async def never() -> bool:
    return False


async def test_a_command_that_does_not_exist_is_named(supervisor: Supervisor) -> None:
    supervisor.add(ChildSpec("lost", ("/no/such/command",), ready=never))
    with pytest.raises(ConfigurationError, match=r"/no/such/command: No such file"):
        await supervisor.start_all()


async def test_a_child_that_never_gets_ready_is_killed(supervisor: Supervisor) -> None:
    supervisor.add(ChildSpec("slow", SLEEP, ready=never, ready_timeout_s=0.3))
    with pytest.raises(ConfigurationError, match=r"not ready after 0\.3 s"):
        await supervisor.start_all()
    assert supervisor.child("slow").poll() is not None


@pytest.mark.usefixtures("quick")
async def test_a_child_that_dies_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(ChildSpec("brief", ("sh", "-c", "echo x; sleep 0.1")))
    await supervisor.start_all()
    await until(lambda: (tmp_path / "brief.log").read_text().count("x") >= 3)
    assert not supervisor.failure


async def test_a_child_that_dies_right_after_it_was_ready_is_started_ever_more_seldom(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker does that ends with LostRecords at every start."""
    monkeypatch.setattr(module, "_BACKOFF_FIRST_S", 0.1)
    starts: list[float] = []
    clock = asyncio.get_running_loop().time
    supervisor.add(ChildSpec("hopeless", ("sh", "-c", "exit 1")))
    await supervisor.start_all(lambda _, what: starts.append(clock()) if what == "ready" else None)
    await until(lambda: len(starts) == 5)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert all(pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=True))


@pytest.mark.usefixtures("quick")
async def test_a_child_that_hangs_is_killed_and_started_again(supervisor: Supervisor) -> None:
    healthy = False

    async def health() -> bool:
        return healthy

    events: list[str] = []
    supervisor.add(ChildSpec("stuck", SLEEP, health=health, health_every_s=0.05, health_failures=2))
    await supervisor.start_all(lambda _, what: events.append(what))
    first = supervisor.child("stuck").pid
    await until(lambda: events.count("ready") >= 2)
    healthy = True
    await until(lambda: supervisor.child("stuck").pid not in (None, first))
    assert events[:4] == ["starting", "ready", "hung", "starting"]


async def test_an_end_that_comes_together_with_an_answer_is_heard(supervisor: Supervisor) -> None:
    watchers: list[asyncio.Task[None]] = []

    async def health() -> bool:
        watchers.extend(task for task in asyncio.all_tasks() if task.get_name() == "heart")
        asyncio.get_running_loop().call_soon(watchers[0].cancel)
        return True

    supervisor.add(ChildSpec("heart", SLEEP, health=health, health_every_s=0.05))
    await supervisor.start_all()
    await until(lambda: watchers)
    await asyncio.wait(watchers[:1], timeout=1)
    assert watchers[0].cancelled()


async def test_the_death_of_an_essential_child_ends_everything(supervisor: Supervisor) -> None:
    supervisor.add(ChildSpec("heart", ("sh", "-c", "sleep 0.2; exit 7"), essential=True))
    supervisor.add(ChildSpec("other", SLEEP))
    await supervisor.start_all()
    assert await supervisor.run_until_stopped() == 1
    assert "heart died (code 7)" in supervisor.failure
    other = supervisor.child("other")
    await supervisor.stop_all()
    assert other.poll() == 143


async def test_wrong_usage_is_not_repeated(supervisor: Supervisor) -> None:
    supervisor.add(ChildSpec("wrong", ("sh", "-c", "sleep 0.2; echo bad setting; exit 2")))
    await supervisor.start_all()
    assert await supervisor.run_until_stopped() == 1
    assert "bad setting" in supervisor.failure


async def test_children_stop_in_the_opposite_order_and_the_stubborn_are_killed(
    supervisor: Supervisor,
) -> None:
    stubborn = "import signal,time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(99)"
    events: list[tuple[str, str]] = []
    supervisor.add(ChildSpec("first", SLEEP))
    supervisor.add(ChildSpec("second", (sys.executable, "-uc", stubborn), grace_s=0.3))
    await supervisor.start_all(lambda *event: events.append(event))
    second = supervisor.child("second")
    await until(lambda: "1" in second.log_tail())
    supervisor.stop()
    assert await supervisor.run_until_stopped() == 0
    await supervisor.stop_all()
    assert [name for name, what in events if what == "stopping"] == ["second", "first"]
    assert second.poll() == 137


async def test_a_second_request_to_stop_does_not_wait(supervisor: Supervisor) -> None:
    stubborn = "import signal,time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(99)"
    supervisor.add(ChildSpec("deaf", (sys.executable, "-uc", stubborn), grace_s=60))
    await supervisor.start_all()
    await until(lambda: "1" in supervisor.child("deaf").log_tail())
    supervisor.stop()
    ending = asyncio.create_task(supervisor.stop_all())
    await asyncio.sleep(0.1)
    supervisor.stop()
    async with asyncio.timeout(5):
        await ending


def test_the_pause_before_a_restart_doubles_up_to_half_a_minute() -> None:
    assert [backoff_s(n) for n in (1, 2, 3, 6, 7, 1000)] == [0.5, 1, 2, 16, 30, 30]


def test_two_children_cannot_share_a_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twin"):
        Supervisor(tmp_path).add(ChildSpec("twin", SLEEP)).add(ChildSpec("twin", SLEEP))


async def test_two_supervisors_cannot_share_a_run_directory(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    assert supervisor.run_dir == tmp_path
    with pytest.raises(ConfigurationError, match="another Tickertone runs in"):
        await Supervisor(tmp_path, signals=False).__aenter__()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux only")
async def test_a_killed_guard_takes_child_and_grandchild_along(supervisor: Supervisor) -> None:
    supervisor.add(ChildSpec("deep", ("sh", "-c", "sleep 1000 & echo x; wait"), essential=True))
    await supervisor.start_all()
    child = supervisor.child("deep")
    await until(lambda: "x" in child.log_tail())
    assert child.pid is not None
    process = psutil.Process(child.pid)
    family = [process, *process.children()]
    assert len(family) == 2
    process.parent().kill()
    assert await supervisor.run_until_stopped() == 1
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]
