"""Triton away in mid-stream, no broker at the start, and the end of `tickertone up`.

Each outage of Triton lasts 8 s by default; TICKERTONE_TEST_OUTAGE=60 makes it a minute.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from streams.adapters.clock import now_ms
from streams.adapters.publisher import Publisher
from streams.core.topics import INPUTS
from streams.embedded.process import ChildProcess, free_ports
from streams.embedded.supervisor import ChildSpec
from streams.embedded.triton import (
    TritonPorts,
    shared_memory_prefix,
    shipped_repository,
    triton_spec,
)
from streams.ports import Outgoing
from streams.settings import KafkaSettings, TritonSettings
from tests.support.workers import until

OUTAGE_S = float(os.environ.get("TICKERTONE_TEST_OUTAGE", "8"))
# A minute is enough for the deadline as it is shipped; a short outage needs a shorter one.
DEADLINE_S = TritonSettings().deadline_s if OUTAGE_S >= 30 else 2.0
PROBE_S = 5.0
NOTICED_S = DEADLINE_S + 2 * PROBE_S
"""A request may have to reach its deadline, and then a probe as well."""
BACK_S = 30.0
"""Loading the model, the breaker's pause, and the longest pause of a held batch."""
EVERY_S = 0.1


class Server:
    """A Triton that nobody watches, so that it is away exactly as long as the test wants."""

    def __init__(self, folder: Path) -> None:
        self.ports = TritonPorts(*free_ports(3))
        self.url = f"127.0.0.1:{self.ports.grpc}"
        self.spec: ChildSpec = triton_spec(
            self.ports, run_dir=folder, repository=shipped_repository()
        )
        self.child = ChildProcess("triton", self.spec.argv, run_dir=folder, env=self.spec.env)

    async def start(self) -> None:
        assert self.spec.prepare
        assert self.spec.ready
        self.spec.prepare()
        self.child.start()
        await until(self.spec.ready, 60, "Triton is ready")

    def hang(self) -> None:
        self._signal(signal.SIGSTOP)

    async def go_on(self) -> None:
        self._signal(signal.SIGCONT)

        async def back() -> bool:
            # Now and then Triton does not survive a freeze: a lock that it shares with its model
            # process breaks, and it aborts. Whoever watches it would start it again.
            if self.child.poll() is not None:
                await self.start()
            assert self.spec.ready
            return await self.spec.ready()

        await until(back, 60, "Triton is back")

    def die(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        """Tell the server and its model process."""
        assert self.child.pid
        server = psutil.Process(self.child.pid)
        for process in (*server.children(recursive=True), server):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


class Feed:
    """Texts that no cache knows, all the time, to every input partition."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._publisher = Publisher(kafka)
        self._partitions = kafka.partitions
        self.sent = 0

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        await self._publisher.start()
        task = asyncio.create_task(self._flow())
        try:
            yield
        finally:
            task.cancel()
            outcome = (await asyncio.gather(task, return_exceptions=True))[0]
            await self._publisher.stop()
            assert isinstance(outcome, asyncio.CancelledError)

    async def _flow(self) -> None:
        while True:
            batch: list[Outgoing] = []
            for topic in INPUTS:
                for partition in range(self._partitions):
                    words = f"Nokia sinks as $AAPL gains {self.sent + len(batch)} times"
                    text = {"text": words, "published_at": now_ms(), "lang": "en"}
                    value = json.dumps(text).encode()
                    batch.append(Outgoing(topic, None, value, partition=partition))
            # A text that is on its way must be counted.
            await asyncio.shield(self._publish(batch))
            await asyncio.sleep(EVERY_S)

    async def _publish(self, batch: list[Outgoing]) -> None:
        await self._publisher.send(batch, now_ms())
        self.sent += len(batch)


async def outage(
    run: Any, what: str, begin: Callable[[], None], end: Callable[[], Awaitable[None]]
) -> None:
    """Take Triton away for a while and watch what score says."""

    async def scored() -> float:
        return float(await run.metric("score", "tickertone_texts_scored_total"))

    async def ready() -> bool:
        return bool((await run.ready("score"))[0])

    async def held() -> bool:
        answer, body = await run.ready("score")
        return not answer and "classifier" in json.loads(body)["blocked"]

    async def more_scored() -> bool:
        return await scored() > before

    before = await scored()
    await until(more_scored, 30, "texts are scored")
    begin()
    begun = time.monotonic()
    noticed = await until(held, NOTICED_S, f"score says that Triton {what}")
    await asyncio.sleep(max(2.0, OUTAGE_S - noticed))
    assert await held()
    lasted = time.monotonic() - begun
    ending = time.monotonic()
    await end()
    await until(ready, BACK_S, "score is ready again")
    back = time.monotonic() - ending
    before = await scored()
    await until(more_scored, 15, "texts are scored again")
    again = time.monotonic() - ending
    print(
        f"Triton {what} for {lasted:.1f} s: noticed after {noticed:.1f} s; from its return on "
        f"{back:.1f} s until ready, {again:.1f} s until texts are scored"
    )


@pytest.mark.brokers("kafka")
@pytest.mark.timeout(600)
async def test_triton_away_in_mid_stream_costs_no_text_and_no_restart(
    any_broker: tuple[str, KafkaSettings], tmp_path: Path, started: Any
) -> None:
    kafka = any_broker[1]
    server = Server(tmp_path / "triton")
    starting = asyncio.create_task(server.start())
    more = {"TICKERTONE_TRITON__DEADLINE_S": str(DEADLINE_S)}
    feed = Feed(kafka)
    try:
        async with started(kafka, server.url, tmp_path / "workers", more) as run:
            await starting
            pids = run.pid("score"), run.pid("aggregate")
            async with feed.flowing():
                await outage(run, "hangs", server.hang, server.go_on)
                await outage(run, "is dead", server.die, server.start)
            report = await run.settle(120)
            assert (run.pid("score"), run.pid("aggregate")) == pids
            assert await run.metric("score", "tickertone_texts_dead_total") == 0
    finally:
        starting.cancel()
        await server.child.stop()
    scored = [(p.scored, p.dead, p.filtered, p.readable) for p in report.inputs]
    print(f"{feed.sent} texts sent, scored by partition: {[s for s, *_ in scored]}")
    assert sum(readable for *_, readable in scored) == feed.sent
    assert all((s, d, f) == (n, 0, 0) for s, d, f, n in scored)
    assert sum(votes.counts["late"] for votes in report.votes) == 0
    # At least once: a crash may write votes again, an outage may not.
    assert sum(votes.counts["resent"] for votes in report.votes) == 0


COMMANDS = (
    ("score",),
    ("aggregate",),
    ("gateway",),
    ("replay", "texts.jsonl"),
    ("up",),
    ("ledger", "check"),
    ("dead-letters", "list"),
)
MUTE = (("score",), ("up",), ("ledger", "check"))


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes connections and never answers, as a frozen broker would."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        yield listening.getsockname()[1]


def tickertone(*words: str) -> list[str]:
    return [sys.executable, "-m", "streams.cli", *words]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return ours without settings, so that the tests do not depend on where they run."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith("TICKERTONE_")}
    root = str(Path(__file__).parents[2])
    ours = {f"TICKERTONE_{name}": value for name, value in more.items()}
    return {**kept, "PYTHONPATH": root, "TICKERTONE_RUN_DIR": str(folder), "COLUMNS": "400", **ours}


def made(folder: Path) -> Path:
    folder.mkdir()
    (folder / "texts.jsonl").write_text('{"text": "a", "published_at": "2026-01-01"}\n')
    return folder


async def ended(folder: Path, port: int, words: tuple[str, ...]) -> tuple[float, int | None, str]:
    """Run a command against a port; return its seconds, exit code and standard error."""
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *tickertone(*words),
        cwd=folder,
        env=environment(
            folder,
            KAFKA__BOOTSTRAP=f"127.0.0.1:{port}",
            TRITON__URL=f"127.0.0.1:{port}",
            GATEWAY__PORT="0",
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
    except TimeoutError:
        return time.monotonic() - begun, None, "still running"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return time.monotonic() - begun, process.returncode, errors.decode()


async def test_without_a_broker_every_command_says_so_and_ends(tmp_path: Path, mute: int) -> None:
    (closed,) = free_ports(1)
    ports = {"refuses": closed, "is mute": mute}
    runs = [("refuses", words) for words in COMMANDS] + [("is mute", words) for words in MUTE]
    few = asyncio.Semaphore(5)

    async def one(how: str, words: tuple[str, ...]) -> tuple[float, int | None, str]:
        async with few:  # so that none waits for a processor rather than for a broker
            return await ended(made(tmp_path / f"{words[0]}-{how}"), ports[how], words)

    ends = await asyncio.gather(*(one(how, words) for how, words in runs))
    wrong = []
    for (how, words), (seconds, code, errors) in zip(runs, ends, strict=True):
        print(f"{' '.join(words):<20} broker {how:<8} {seconds:5.1f} s  exit code {code}")
        clear = (
            errors.startswith("tickertone: no Kafka broker answers at 127.0.0.1")
            and len(errors.strip().splitlines()) == 1
        )
        if code != 3 or seconds >= 30 or not clear:
            wrong.append(f"{words} where the broker {how}: {code}, {seconds:.1f} s, {errors}")
    assert not wrong, "\n".join(wrong)


class Stack:
    """`tickertone up` as people run it, with all its descendants."""

    def __init__(self, process: asyncio.subprocess.Process, run_dir: Path) -> None:
        self.process = process
        self.run_dir = run_dir
        self.family = psutil.Process(process.pid).children(recursive=True)

    async def gone(self, seconds: float) -> float:
        """Wait until no descendant lives; return how long it took."""

        async def none_left() -> bool:
            return not any(_alive(process) for process in self.family)

        return await until(none_left, seconds, f"all of {len(self.family)} processes are gone")

    def left(self) -> list[Path]:
        """Return what lies in shared memory."""
        return list(Path("/dev/shm").glob(f"{shared_memory_prefix(self.run_dir)}*"))


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.asynccontextmanager
async def up(folder: Path) -> AsyncIterator[Stack]:
    run_dir = folder / "run"
    process = await asyncio.create_subprocess_exec(
        *tickertone("up"),
        cwd=folder,
        env=environment(run_dir, GATEWAY__PORT="0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # A test run in the background ignores SIGINT, and its children would.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout
        said = ""
        async with asyncio.timeout(120):
            while "ready  page" not in said:
                line = (await process.stdout.readline()).decode()
                assert line, said
                said += line
        yield Stack(process, run_dir)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@pytest.mark.timeout(240)
async def test_nothing_is_left_of_a_stack_whatever_ends_it(tmp_path: Path) -> None:
    async def end(number: signal.Signals) -> None:
        async with up(made(tmp_path / number.name)) as stack:
            names = " ".join(" ".join(p.cmdline()) for p in stack.family)
            for part in ("tansu", "tritonserver", "stub", "score", "aggregate", "gateway"):
                assert part in names
            begun = time.monotonic()
            stack.process.send_signal(number)
            async with asyncio.timeout(40):
                await stack.process.communicate()
            ended = time.monotonic() - begun
            killed = number == signal.SIGKILL
            assert stack.process.returncode == (-number if killed else 0)
            after = await stack.gone(10 if killed else 1)
            assert stack.left() == []
            print(f"{number.name}: ended after {ended:.1f} s, its children {after:.1f} s later")

    await asyncio.gather(*(end(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)))
