"""What connectors ask of the place where texts and positions go: the fake, and the real one."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.kafka_scan import scan
from streams.adapters.publisher import Publisher
from streams.connectors.config import Retry
from streams.connectors.pauses import Pauses
from streams.connectors.port import Sink
from streams.connectors.sink import KafkaSink
from streams.core.errors import PublishFailed
from streams.core.topics import TEXTS_NEWS, TEXTS_SOCIAL, Names
from streams.ports import Outgoing
from streams.settings import KafkaSettings
from streams.testing import MemorySink

PAUSES = Pauses(Retry(first_s=0.05, longest_s=0.1), random.Random(1))


def text(number: int, topic: str = TEXTS_NEWS) -> Outgoing:
    return Outgoing(topic, b"%d" % number, b'{"n": %d}' % number)


class SinkContract:
    """A subclass says how sinks over the same store are made, and what stands there."""

    async def test_nothing_is_known_at_first(self, make: Callable[[], Sink]) -> None:
        assert await make().positions() == {}

    async def test_what_was_put_stands_and_is_known_afterwards(
        self, make: Callable[[], Sink], standing: Callable[[], Any]
    ) -> None:
        sink = make()
        await sink.put("a", [text(1), text(2, TEXTS_SOCIAL)], b'{"at": 1}')
        await sink.put("b", [], b'{"at": 7}')
        await sink.put("a", [text(3)], b'{"at": 2}')
        assert await make().positions() == {"a": b'{"at": 2}', "b": b'{"at": 7}'}
        assert sorted((t.topic, t.value) for t in await standing()) == [
            (TEXTS_NEWS, b'{"n": 1}'),
            (TEXTS_NEWS, b'{"n": 3}'),
            (TEXTS_SOCIAL, b'{"n": 2}'),
        ]

    async def test_many_connectors_put_at_once(
        self, make: Callable[[], Sink], standing: Callable[[], Any]
    ) -> None:
        sink = make()

        async def one(name: int) -> None:
            for step in range(5):
                await sink.put(f"c{name}", [text(10 * name + step)], b"%d" % step)

        await asyncio.gather(*(one(name) for name in range(4)))
        assert await make().positions() == {f"c{name}": b"4" for name in range(4)}
        values = {t.value for t in await standing()}
        assert values == {text(10 * n + s).value for n in range(4) for s in range(5)}


class TestMemorySink(SinkContract):
    @pytest.fixture
    def make(self) -> Callable[[], Sink]:
        sink = MemorySink()
        return lambda: sink

    @pytest.fixture
    def standing(self, make: Callable[[], MemorySink]) -> Callable[[], Any]:
        async def texts() -> list[Outgoing]:
            return make().texts

        return texts


@asynccontextmanager
async def kafka_sinks(settings: KafkaSettings) -> AsyncIterator[Callable[[], KafkaSink]]:
    made: list[KafkaSink] = []

    def make() -> KafkaSink:
        made.append(KafkaSink(settings, PAUSES))
        return made[-1]

    yield make
    for sink in made:
        await sink.close()


class TestKafkaSink(SinkContract):
    @pytest.fixture
    async def settings(self, any_broker: tuple[str, KafkaSettings]) -> KafkaSettings:
        await asyncio.to_thread(ensure_topics, any_broker[1])
        return any_broker[1]

    @pytest.fixture
    async def make(self, settings: KafkaSettings) -> AsyncIterator[Callable[[], KafkaSink]]:
        async with kafka_sinks(settings) as made:
            yield made

    @pytest.fixture
    def standing(self, settings: KafkaSettings) -> Callable[[], Any]:
        async def texts() -> list[Outgoing]:
            names = Names(settings.prefix)
            inputs = (names.topic(TEXTS_NEWS), names.topic(TEXTS_SOCIAL))
            async with scan(str(settings.bootstrap), *inputs) as opened:
                return [
                    Outgoing(names.plain(tp.topic), record.key, record.value)
                    async for tp, run in opened.batches()
                    for record in run
                ]

        return texts

    async def test_a_position_never_stands_before_its_texts(
        self,
        settings: KafkaSettings,
        make: Callable[[], KafkaSink],
        standing: Callable[[], Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The broker stops confirming at each step in turn; the put is held, and then it stands."""
        send = Publisher.send
        for fails in range(2):
            calls = 0
            at_failure: dict[str, bytes] = {}

            async def failing(self: Publisher, records: Any, now_ms: int) -> None:
                nonlocal calls
                calls += 1
                if calls == fails + 1:  # noqa: B023 - used within this round
                    at_failure.update(await make().positions())  # noqa: B023
                    raise PublishFailed("on purpose")
                await send(self, records, now_ms)

            monkeypatch.setattr(Publisher, "send", failing)
            await make().put("a", [text(fails)], b"%d" % fails)
            assert at_failure.get("a", b"") != b"%d" % fails
            assert (await make().positions())["a"] == b"%d" % fails
        assert {t.value for t in await standing()} == {text(n).value for n in range(2)}
