"""Dead letters are listed, shown safely and sent back exactly once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.kafka_scan import scan
from streams.core.deadletter import MAX_VALUE_BYTES, DeadLetter
from streams.core.errors import ConfigurationError
from streams.core.topics import DEAD, TEXTS_NEWS, Names
from streams.deadletters import Selection, list_dead, render, replay_dead, show_dead
from streams.settings import KafkaSettings


class World:
    """A broker with texts, some of which died."""

    def __init__(self, broker: str, names: Names, producer: AIOKafkaProducer) -> None:
        self.broker = broker
        self.names = names
        self.producer = producer

    async def die(self, value: bytes | None, key: bytes | None = b"k", **fields: Any) -> DeadLetter:
        """Put a text on its topic and its dead letter on the other."""
        topic = self.names.topic(TEXTS_NEWS)
        size = min(len(value or b""), 1000)
        sent = await self.producer.send_and_wait(topic, (value or b"")[:size], key, 1)
        letter = DeadLetter(
            **{
                "topic": TEXTS_NEWS,  # score names topics without the prefix
                "partition": 1,
                "offset": sent.offset,
                "timestamp_ms": sent.timestamp,
                "key": key,
                "value": value,
                "stage": "decode",
                "reason": "schema",
                "failed_at_ms": 1_790_000_000_000 + sent.offset,
                **fields,
            }
        ).bounded()
        await self.bury(letter)
        return letter

    async def bury(self, letter: DeadLetter) -> None:
        batch = self.producer.create_batch()
        batch.append(
            key=letter.key, value=letter.value, timestamp=None, headers=letter.to_headers()
        )
        await (await self.producer.send_batch(batch, self.names.topic(DEAD), partition=0))

    async def replayed(self) -> list[Any]:
        found: list[Any] = []
        async with scan(self.broker, self.names.topic(TEXTS_NEWS)) as inputs:
            async for _, records in inputs.batches():
                found += [record for record in records if record.headers]
        return found

    async def replay(self, force: bool = False, **selection: Any) -> Any:
        return await replay_dead(self.broker, self.names, Selection(**selection), force=force)


@pytest.fixture
async def world(any_broker: tuple[str, KafkaSettings]) -> AsyncIterator[World]:
    settings = any_broker[1]
    broker = str(settings.bootstrap)
    await asyncio.to_thread(ensure_topics, settings)
    async with AIOKafkaProducer(
        bootstrap_servers=broker, acks="all", max_request_size=4 << 20
    ) as producer:
        yield World(broker, Names(settings.prefix), producer)


async def test_the_list_is_newest_first_filtered_and_limited(world: World) -> None:
    letters = [await world.die(b"x%d" % n) for n in range(4)]
    other = await world.die(b"\xff", reason="undecodable")
    await world.bury(letters[0])  # a crash wrote it twice
    found = await list_dead(world.broker, world.names)
    assert [entry.id for entry in found] == [x.id for x in [other, *reversed(letters)]]
    assert (found[0].preview, found[0].size_bytes) == (r"\xff", 1)
    found = await list_dead(world.broker, world.names, reason="schema", limit=2)
    assert [entry.id for entry in found] == [letters[3].id, letters[2].id]


async def test_a_letter_is_found_by_id_and_by_origin(world: World) -> None:
    letter = await world.die(b"hello")
    assert await show_dead(world.broker, world.names, letter.id) == letter
    origin = f"{letter.topic}/{letter.partition}/{letter.offset}"
    assert await show_dead(world.broker, world.names, origin) == letter
    with pytest.raises(ConfigurationError, match="no dead letter nonsense"):
        await show_dead(world.broker, world.names, "nonsense")


async def test_a_shown_letter_cannot_steer_the_terminal(world: World) -> None:
    letter = await world.die(
        b"\x1b[2J\x1b]0;owned\x07\xff\nline\xe2\x80\xae", b"\x1b[31m", error="Bad: \r\x1b[1A"
    )
    shown = render(await show_dead(world.broker, world.names, letter.id))
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert r"\x1b[2J" in shown
    assert r"\xff" in shown
    assert r"\u202e" in shown


def test_long_missing_and_cut_values_are_said() -> None:
    letter = DeadLetter(
        topic="t",
        partition=0,
        offset=0,
        timestamp_ms=0,
        key=None,
        value=b"x" * (MAX_VALUE_BYTES + 1),
        stage="decode",
        reason="unusable_text",
    )
    shown = render(letter.bounded())
    assert f"only the beginning of {MAX_VALUE_BYTES + 1} bytes is kept" in shown
    assert "more bytes" in shown
    assert "(no value)" in render(DeadLetter.from_headers(letter.to_headers(), None, None))


async def test_a_replay_is_a_byte_copy_sent_once(world: World) -> None:
    letters = [await world.die(b'{"text": "\xff%d"}' % n, b"key%d" % n) for n in range(3)]
    await world.bury(letters[1])
    report = await world.replay()
    assert sorted(report.sent) == sorted(letter.id for letter in letters)
    assert [(r.key, r.value, r.partition, list(r.headers)) for r in await world.replayed()] == [
        (x.key, x.value, 1, [("dl.replayed", x.id.encode())]) for x in letters
    ]

    again = await world.replay()
    assert again.sent == []
    assert sorted(again.already) == sorted(report.sent)
    assert len(await world.replayed()) == 3

    forced = await world.replay(force=True, ids=frozenset([letters[0].id]))
    assert forced.sent == [letters[0].id]
    assert len(await world.replayed()) == 4


async def test_a_replay_can_be_selected_by_reason_and_id(world: World) -> None:
    wanted = await world.die(b"a", reason="unscorable")
    other = await world.die(b"b")
    report = await world.replay(reason="unscorable", ids=frozenset([wanted.id, other.id, "none"]))
    assert report.sent == [wanted.id]
    assert report.absent == sorted([other.id, "none"])


async def test_a_cut_letter_is_refused_even_by_force(world: World) -> None:
    letter = await world.die(b"x" * (MAX_VALUE_BYTES + 1))
    report = await world.replay(force=True)
    assert (report.sent, report.cut) == ([], [letter.id])


async def test_a_letter_without_key_and_value_is_sent_back_as_it_was(world: World) -> None:
    letter = await world.die(None, None)
    assert (await world.replay()).sent == [letter.id]
    (record,) = await world.replayed()
    assert (record.key, record.value) == (None, None)


async def test_a_forged_origin_does_not_choose_where_we_write(world: World) -> None:
    await world.die(b"x", topic="somewhere.else")
    with pytest.raises(ConfigurationError, match="came from no input topic"):
        await world.replay()


async def test_foreign_records_among_the_dead_letters_are_passed_over(world: World) -> None:
    await world.producer.send_and_wait(world.names.topic(DEAD), b"what?", None, 0)
    assert await list_dead(world.broker, world.names) == []
    assert (await world.replay()).sent == []
