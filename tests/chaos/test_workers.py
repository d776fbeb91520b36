"""Workers that are killed, frozen, and come and go."""

import asyncio
import os
import random
from typing import Any

import pytest

from tests.chaos.arena import Arena
from tests.chaos.theatre import RATE, Theatre
from tests.support.workers import until

pytestmark = pytest.mark.timeout(900)

CHURN_S = float(os.environ.get("TICKERTONE_TEST_CHURN_S", "600"))
SESSION_S = 6.0

STEPS = [
    ("score", "outputs"),
    ("score", "markers"),
    ("score", "commit"),
    ("aggregate", "outputs"),
    ("aggregate", "rows"),
    ("aggregate", "transaction"),
    ("aggregate", "commit"),
    ("aggregate", "taken"),
]
SHORT = {"markers", "transaction"}
"""between what was written and its commit: the steps that play on every commit of ours"""


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        pytest.param(*step, marks=() if step[1] in SHORT else pytest.mark.chaos_long)
        for step in STEPS
    ],
)
async def test_killed_in_the_middle_of_a_batch(
    theatre: Theatre, broker: tuple[str, str], stage: str, step: str
) -> None:
    times = 1 if step == "taken" else random.Random(theatre.seed).randint(3, 40)
    once = theatre.folder / "fault"
    env = {
        "TICKERTONE_FAULT": f"{stage}:{step}:{times}",
        "TICKERTONE_FAULT_ONCE": str(once),
    }

    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, RATE))
        (victim,) = arena.of(stage)
        await until(lambda: _died(victim), 60, f"{stage} dies at {step}")
        took = await arena.recovered()
        await feed
        return [took]

    await theatre.play(f"kill -9 of {stage} after {step}", *broker, act, env=env)
    assert once.exists()


async def _died(worker: Any) -> bool:
    return 137 in worker.codes


@pytest.mark.chaos_long
@pytest.mark.parametrize("stage", ["score", "aggregate"])
async def test_frozen_longer_than_its_session_then_thawed(
    theatre: Theatre, broker: tuple[str, str], stage: str
) -> None:
    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        feed = asyncio.create_task(arena.feed(texts, RATE))
        await asyncio.sleep(2)
        victim = random.Random(theatre.seed).choice(arena.of(stage))
        assert victim.freeze()
        taken_over = await arena.recovered()
        await asyncio.sleep(SESSION_S)
        assert victim.thaw()
        await feed
        return [taken_over]

    workers = (2, 1) if stage == "score" else (1, 2)
    name = f"{stage} frozen longer than its session, thawed"
    await theatre.play(name, *broker, act, workers=workers)


async def test_stopped_with_batches_in_hand(theatre: Theatre, broker: tuple[str, str]) -> None:
    """A worker that is told to stop leaves its batches to others and passes none over."""

    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        theatre.model.fault("slow 0.3")
        feed = asyncio.create_task(arena.feed(texts, RATE))
        for _ in range(2):
            await arena.ready()  # one that still starts has nothing in hand
            await asyncio.sleep(2)
            (old,) = arena.of("score")
            arena.add("score")
            assert await arena.remove(old) == 0
        theatre.model.fault(None)
        await feed
        return [await arena.recovered()]

    await theatre.play("score stopped with batches in hand, another joins", *broker, act)


@pytest.mark.chaos_long
@pytest.mark.timeout(CHURN_S + 900)
async def test_workers_come_and_go(theatre: Theatre, broker: tuple[str, str]) -> None:
    """Every few seconds one joins, leaves, is killed or frozen, for ten minutes."""

    async def act(arena: Arena, texts: list[dict[str, Any]]) -> list[float]:
        dice = random.Random(theatre.seed)
        feed = asyncio.create_task(arena.feed(texts, len(texts) / CHURN_S))
        thaws: list[asyncio.Task[None]] = []
        while not feed.done():
            await asyncio.sleep(dice.uniform(1, 5))
            victim = dice.choice(arena.workers)
            deed = dice.choice(["join", "leave", "kill", "kill", "freeze", "freeze"])
            mates = len(arena.of(victim.stage))
            if deed == "join" and mates < 3:
                arena.add(victim.stage)
            elif deed == "leave" and mates > 1:
                await arena.remove(victim)
            elif deed == "kill":
                victim.kill()
            elif deed == "freeze" and victim.freeze():
                thaws.append(asyncio.create_task(_thaw(victim, dice.choice([2.0, 9.0]))))
        await feed
        await asyncio.gather(*thaws)
        return [await arena.recovered()]

    name = f"workers join, leave, are killed and frozen for {CHURN_S:g} s"
    await theatre.play(name, *broker, act, workers=(2, 2))


async def _thaw(worker: Any, after_s: float) -> None:
    await asyncio.sleep(after_s)
    worker.thaw()
