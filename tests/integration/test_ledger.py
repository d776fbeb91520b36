"""The ledger finds what is missing, and only that."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from rich.console import Console

from streams.adapters.kafka_admin import ensure_topics
from streams.core.deadletter import DeadLetter
from streams.core.errors import ConfigurationError
from streams.core.topics import DEAD, OPINIONS, STATE, TEXTS_NEWS, TEXTS_SOCIAL, VOTES, Names
from streams.ledger import LedgerReport, check_ledger
from streams.settings import KafkaSettings

END = [("kind", b"end")]


class World:
    """A broker with our topics, and what score and aggregate would write there."""

    def __init__(self, broker: str, names: Names, producer: AIOKafkaProducer) -> None:
        self.broker = broker
        self.names = names
        self.producer = producer

    async def send(
        self,
        topic: str,
        partition: int,
        value: Any,
        key: bytes | None = None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> int:
        sent = await self.producer.send_and_wait(
            self.names.topic(topic), orjson.dumps(value), key, partition, headers=headers or []
        )
        return int(sent.offset)

    async def texts(self, topic: str, partition: int, number: int) -> None:
        for _ in range(number):
            await self.send(topic, partition, {})

    async def opinion(self, topic: str, partition: int, offset: int, outcome: str) -> None:
        origin = [topic, partition, offset]  # score names topics without the prefix
        await self.send(OPINIONS, offset % 2, {"origin": origin, "outcome": outcome})

    async def dead(self, topic: str, partition: int, offset: int) -> None:
        letter = DeadLetter(
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp_ms=0,
            key=None,
            value=None,
            stage="decode",
            reason="schema",
        )
        await self.send(DEAD, 0, None, headers=letter.to_headers())

    async def check(self) -> LedgerReport:
        return await check_ledger(self.broker, self.names)


@pytest.fixture
async def world(any_broker: tuple[str, KafkaSettings]) -> AsyncIterator[World]:
    settings = any_broker[1]
    broker = str(settings.bootstrap)
    await asyncio.to_thread(ensure_topics, settings)
    async with AIOKafkaProducer(bootstrap_servers=broker, acks="all") as producer:
        yield World(broker, Names(settings.prefix), producer)


async def test_an_empty_world_balances(world: World) -> None:
    report = await world.check()
    assert report.balanced
    assert len(report.inputs) == 4
    assert len(report.votes) == 2


async def test_every_kind_of_outcome_balances(world: World) -> None:
    await world.texts(TEXTS_NEWS, 1, 4)
    await world.send(TEXTS_NEWS, 1, {"event_time": 0}, headers=END)
    await world.opinion(TEXTS_NEWS, 1, 0, "scored")
    await world.opinion(TEXTS_NEWS, 1, 1, "filtered")
    await world.dead(TEXTS_NEWS, 1, 2)
    await world.dead(TEXTS_NEWS, 1, 3)  # a crash, then it could be scored
    await world.opinion(TEXTS_NEWS, 1, 3, "scored")
    await world.opinion(TEXTS_NEWS, 1, 3, "scored")
    report = await world.check()
    assert report.balanced, report.differences
    (ledger,) = (p for p in report.inputs if p.readable)
    assert (ledger.scored, ledger.filtered, ledger.dead, ledger.ends) == (2, 1, 1, 1)
    assert (ledger.missing, ledger.unknown) == (0, 0)


async def test_a_lost_text_and_an_invented_one_are_named(world: World) -> None:
    await world.texts(TEXTS_SOCIAL, 0, 3)
    await world.send(TEXTS_SOCIAL, 0, {"event_time": 0}, headers=END)
    await world.texts(TEXTS_SOCIAL, 0, 1)
    for offset in (0, 2, 3, 4):  # 1 is lost, 3 is an end record
        await world.opinion(TEXTS_SOCIAL, 0, offset, "scored")
    report = await world.check()
    place = world.names.topic(TEXTS_SOCIAL)
    assert report.differences == [
        f"{place}/0 offset 1 has no outcome",
        f"{place}/0 offset 3 has an outcome but is no record",
    ]
    (ledger,) = (p for p in report.inputs if p.readable)
    assert (ledger.readable, ledger.missing, ledger.unknown) == (4, 1, 1)


async def test_outcomes_without_a_place_are_named(world: World) -> None:
    await world.send(OPINIONS, 0, {"outcome": "scored"})
    await world.opinion("elsewhere", 7, 0, "scored")
    await world.send(DEAD, 1, None)
    report = await world.check()
    assert report.difference_count == 3
    assert any("names the partition" in difference for difference in report.differences)


async def test_only_the_first_differences_are_spelled_out(world: World) -> None:
    await asyncio.gather(*(world.send(TEXTS_NEWS, 0, {}) for _ in range(50)))
    report = await world.check()
    assert report.difference_count == 50
    assert len(report.differences) == 20


async def votes(world: World, number: int) -> None:
    for _ in range(number):
        await world.send(VOTES, 0, {}, b"market", [("kind", b"vote")])
    await world.send(VOTES, 0, {}, None, [("kind", b"marker")])


async def state(world: World, applied: int, **counts: int) -> None:
    await world.send(STATE, 0, {"applied": applied, "counts": counts}, b"@partition")


async def test_votes_balance_with_the_counts_of_the_newest_row(world: World) -> None:
    await votes(world, 5)
    await state(world, 2, read=3, counted=3)
    await world.send(STATE, 0, {"applied": 99}, b"ticker:NOK")
    await state(world, 5, read=5, counted=2, resent=1, duplicate=1, late=1)
    report = await world.check()
    assert report.balanced, report.differences
    assert (report.votes[0].votes, report.votes[0].read) == (5, 5)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"applied": 5, "read": 5, "counted": 4}, "5 votes read, but 4 counted"),
        ({"applied": 5, "read": 4, "counted": 4}, "5 votes up to offset 5, but 4 read"),
        ({"applied": 2, "read": 3, "counted": 3}, "2 votes behind offset 2 are not applied yet"),
    ],
)
async def test_votes_that_do_not_add_up_are_named(
    world: World, row: dict[str, int], complaint: str
) -> None:
    await votes(world, 5)
    await state(world, **row)
    report = await world.check()
    assert report.difference_count == 1
    assert complaint in report.differences[0]


async def test_votes_without_any_state_are_pending(world: World) -> None:
    await votes(world, 2)
    report = await world.check()
    assert not report.balanced
    assert report.votes[0].pending == 2


async def test_the_tables_show_the_accounts(world: World) -> None:
    await world.texts(TEXTS_NEWS, 0, 2)
    console = Console(file=io.StringIO(), width=160)
    for table in (await world.check()).tables():
        console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "missing" in shown
    assert f"{world.names.topic(TEXTS_NEWS)}/0" in shown


async def test_a_missing_topic_is_a_clear_error(any_broker: tuple[str, KafkaSettings]) -> None:
    with pytest.raises(ConfigurationError, match=r"no topic nowhere\.texts"):
        await check_ledger(str(any_broker[1].bootstrap), Names("nowhere."))
