"""Connectors side by side: what one does harms no other, and a stop loses nothing."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from streams.connectors import runner
from streams.connectors.config import Retry
from streams.connectors.metrics import ConnectMetrics
from streams.connectors.pauses import Pauses
from streams.connectors.port import Batch, Connector
from streams.connectors.runner import Runner
from streams.core.errors import ConfigurationError, SourceGone, SourceUnavailable
from streams.ports import Outgoing
from streams.testing import MemorySink

Act = Callable[[int], Batch | Exception | None]


class Scripted:
    """Answers by the number of the position; None waits for ever."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.starts: list[bytes | None] = []
        self.closed = 0

    async def batches(self, position: bytes | None) -> AsyncGenerator[Batch]:
        self.starts.append(position)
        at = int(position or b"0")
        try:
            while True:
                answer = self.act(at)
                if isinstance(answer, Exception):
                    raise answer
                if answer is None:
                    await asyncio.Event().wait()
                else:
                    at += 1
                    yield answer
        finally:
            self.closed += 1


def batch(number: int) -> Batch:
    return Batch((Outgoing("texts.news.v1", b"k", b"%d" % number),), b"%d" % (number + 1))


def counting(most: int) -> Act:
    return lambda at: batch(at) if at < most else None


class Work:
    """A runner at work, in a block."""

    def __init__(self, sink: MemorySink, progress_s: float = 60, **connectors: Connector) -> None:
        self.registry = CollectorRegistry()
        metrics = ConnectMetrics(self.registry, connectors)
        pauses = Pauses(Retry(first_s=0.01, longest_s=0.02), random.Random(1))
        self.runner = Runner(connectors, sink, metrics, pauses, lambda: 5_000, progress_s)
        self.stop = asyncio.Event()

    async def __aenter__(self) -> "Work":
        self.task = asyncio.create_task(self.runner.run(self.stop))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await self.task

    def sample(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"tickertone_connect_{name}", labels)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - conditions have no events
            await asyncio.sleep(0.005)


async def test_a_connector_begins_where_its_position_stands() -> None:
    sink = MemorySink()
    sink.at["a"] = b"3"
    made = Scripted(counting(5))
    async with Work(sink, a=made):
        await until(lambda: sink.at["a"] == b"5")
    assert made.starts == [b"3"]
    assert [text.value for text in sink.texts] == [b"3", b"4"]
    assert made.closed == 1


@pytest.mark.parametrize("error", [SourceUnavailable("busy"), ValueError("a fault of ours")])
async def test_one_that_always_fails_is_tried_again_and_harms_no_other(error: Exception) -> None:
    sink = MemorySink()
    failing = Scripted(lambda at: error)
    async with Work(sink, bad=failing, good=Scripted(counting(3))) as work:
        await until(lambda: len(failing.starts) > 3 and sink.at.get("good") == b"3")
        assert work.sample("up_ratio", connector="bad") == 0
        assert work.sample("up_ratio", connector="good") == 1
        assert work.sample("last_success_timestamp_seconds", connector="good") == 5


async def test_after_a_failure_it_goes_on_from_what_stands() -> None:
    failures = [SourceUnavailable("cut")]

    def act(at: int) -> Batch | Exception | None:
        if at == 2 and failures:
            return failures.pop()
        return batch(at) if at < 4 else None

    sink = MemorySink()
    made = Scripted(act)
    with capture_logs() as said:
        async with Work(sink, a=made):
            await until(lambda: sink.at.get("a") == b"4")
    assert made.starts == [None, b"2"]
    assert [text.value for text in sink.texts] == [b"0", b"1", b"2", b"3"]
    events = [each["event"] for each in said]
    assert events.count("connector_waits") == events.count("connector_goes_on") == 1


async def test_what_a_source_asks_for_is_waited() -> None:
    made = Scripted(lambda at: SourceUnavailable("busy", retry_after_s=3600))
    with capture_logs() as said:
        async with Work(MemorySink(), a=made):
            await until(lambda: any(each["event"] == "connector_waits" for each in said))
    (waits,) = [each for each in said if each["event"] == "connector_waits"]
    assert waits["again_in_s"] >= 3600
    assert len(made.starts) == 1


async def test_when_all_have_ended_the_process_ends() -> None:
    gone = {name: Scripted(lambda at: SourceGone("410")) for name in "ab"}
    work = Work(MemorySink(), **gone)
    with pytest.raises(ConfigurationError, match="every connector has ended"):
        await work.runner.run(work.stop)
    assert work.sample("failures_total", connector="a", reason="gone") == 1


async def test_a_stop_waits_for_what_is_on_its_way() -> None:
    sink = MemorySink()
    sink.down = True
    async with Work(sink, a=Scripted(counting(9))) as work:
        await asyncio.sleep(0.05)
        work.stop.set()
        await asyncio.sleep(0.05)
        assert not work.task.done()
        sink.down = False
    assert sink.at == {"a": b"1"}


async def test_a_stop_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STOP_S", 0.05)
    sink = MemorySink()
    sink.down = True
    with capture_logs() as said:
        async with Work(sink, a=Scripted(counting(9))):
            await asyncio.sleep(0.05)
    assert sink.at == {}
    assert "not_confirmed_at_stop" in [each["event"] for each in said]


async def test_progress_is_told_with_numbers_and_no_text() -> None:
    sink = MemorySink()
    quiet = Scripted(lambda at: None)
    with capture_logs() as said:
        async with Work(sink, 0.05, a=Scripted(counting(7)), b=quiet):
            await until(lambda: sum(e["event"] == "connector_progress" for e in said) >= 4)
    told: list[dict[str, Any]] = [e for e in said if e["event"] == "connector_progress"]
    assert sum(each["texts"] for each in told if each["connector"] == "a") == 7
    assert sum(each["texts"] for each in told if each["connector"] == "b") == 0
    keys = {"connector", "texts", "skipped", "failing", "seconds", "event", "log_level"}
    assert set(told[0]) == keys
