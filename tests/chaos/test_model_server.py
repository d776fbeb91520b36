"""A Triton that is killed, hangs, is slow, answers nonsense, or refuses one text."""

import asyncio
from typing import Any

import pytest

from streams.core.topics import DEAD
from streams.deadletters import list_dead
from tests.chaos.arena import Arena
from tests.chaos.theatre import RATE, Theatre

pytestmark = [pytest.mark.timeout(900), pytest.mark.chaos_long]

AWAY_S = 6.0


async def test_killed(theatre: Theatre, broker: tuple[str, str]) -> None:
    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, RATE))
        await asyncio.sleep(3)
        await asyncio.to_thread(theatre.model.kill)
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(theatre.model.start)
        took = await arena.recovered()
        await feed
        assert not arena.of("score")[0].codes, "score went down with Triton"
        return [took]

    await theatre.play("Triton killed, back after 6 s", *broker, act)


# What follows is between score and Triton alone: one broker is enough.


async def test_frozen(theatre: Theatre, kafka: str) -> None:
    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, RATE))
        await asyncio.sleep(3)
        await asyncio.to_thread(theatre.model.freeze)
        await asyncio.sleep(12)
        await asyncio.to_thread(theatre.model.thaw)
        took = await arena.recovered()
        await feed
        return [took]

    await theatre.play("Triton frozen for 12 s", kafka, "kafka", act)


FAULTS = [
    ("hang", "model hangs for 12 s", 12.0),
    ("slow 0.5", "model ten times slower for 15 s", 15.0),
    ("nan", "model answers NaN for 6 s", AWAY_S),
    ("shape", "model answers a column too few for 6 s", AWAY_S),
    ("rows", "model answers a row too few for 6 s", AWAY_S),
    ("error", "model refuses everything for 6 s", AWAY_S),
]


@pytest.mark.parametrize(("fault", "name", "seconds"), FAULTS, ids=[f[0] for f in FAULTS])
async def test_the_model_is_broken_for_a_while(
    theatre: Theatre, kafka: str, fault: str, name: str, seconds: float
) -> None:
    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, RATE))
        await asyncio.sleep(3)
        theatre.model.fault(fault)
        await asyncio.sleep(seconds)
        theatre.model.fault(None)
        took = await arena.recovered()
        await feed
        return [took]

    await theatre.play(name, kafka, "kafka", act)


async def test_one_text_is_refused(theatre: Theatre, kafka: str) -> None:
    """Exactly that one becomes a dead letter; its neighbours in the batch are scored."""
    extra = {
        "source": "news",
        "channel": "refused",
        "id": "refused-1",
        "text": "unscorable-marker in a text about nobody",
    }

    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        theatre.model.fault("refuse")
        middle = len(texts) // 2
        text = {**extra, "published_at": texts[middle]["published_at"]}
        await arena.feed([*texts[:middle], text, *texts[middle:]], RATE)
        took = await arena.recovered()
        letters = await list_dead(arena.bootstrap, arena.names, "unscorable", 10)
        assert [letter.reason for letter in letters] == ["unscorable"], DEAD
        return [took]

    await theatre.play("model refuses one text", kafka, "kafka", act)
