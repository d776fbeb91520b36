"""Plays a scenario in an arena and judges what it left behind."""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from streams.settings import KafkaSettings
from tests.chaos import report
from tests.chaos.arena import Arena, arena
from tests.chaos.invariants import Verdict, World, judge, observe
from tests.chaos.texts import texts
from tests.support.triton import ModelServer

COUNT: Final = 1500
RATE: Final = 150.0
"""Texts a second: about ten seconds in which something can go wrong."""

played: list[dict[str, Any]] = []
"""the figures of this session's runs"""

Act = Callable[[Arena, list[dict[str, Any]]], Awaitable[list[float]]]
"""Feeds the texts and causes the fault; returns the recovery times in seconds."""


class Theatre:
    """Plays a scenario and judges it against the undisturbed run of the same texts."""

    def __init__(
        self, model: ModelServer, folder: Path, worlds: dict[tuple[str, int], World], seed: int
    ) -> None:
        self.model = model
        self.folder = folder
        self.seed = seed
        self._worlds = worlds

    def settings(self, address: str, broker: str, **more: Any) -> KafkaSettings:
        """Return settings with a prefix of their own."""
        return KafkaSettings(
            bootstrap=address,
            prefix=f"chaos{uuid.uuid4().hex[:8]}.",
            partitions=4,
            replication=3 if broker == "kafka3" else 1,
            transactions=broker != "tansu",
            session_timeout_s=6,
            **more,
        )

    async def calm(self, address: str, broker: str) -> World:
        """Return what the same texts leave behind when nothing happens."""
        key = broker, self.seed
        if key not in self._worlds:
            kafka = self.settings(address, broker)
            async with arena(kafka, self.model.url, self.folder / "calm") as one:
                await one.start()
                await one.feed(texts(self.seed, COUNT), 1000)
                await one.end()
                await one.settle()
                world = self._worlds[key] = await observe(one)
            assert world.balanced
            assert world.alerts, "the texts raise no alert, so none can be lost"
            assert not world.counts["late"]
            assert not world.misfolded
        return self._worlds[key]

    async def play(
        self,
        scenario: str,
        address: str,
        broker: str,
        act: Act,
        *,
        workers: tuple[int, int] = (1, 1),
        env: Mapping[str, str] | None = None,
        settle_s: float = 180,
    ) -> Verdict:
        """Play a scenario; afterwards nothing is lost, nothing counted twice.

        Args:
            scenario: Its name in the report.
            address: Of the broker.
            broker: Its kind: tansu, kafka or kafka3.
            act: Feeds and disturbs.
            workers: How many of score and of aggregate.
            env: More settings of the workers.
            settle_s: Longest wait for the ledger to balance once the texts have ended.
        """
        calm = await self.calm(address, broker)
        kafka = self.settings(address, broker)
        unsettled = ""
        started = time.monotonic()
        async with arena(kafka, self.model.url, self.folder / "run", env) as one:
            try:
                await one.start(*workers)
                recovery = await act(one, texts(self.seed, COUNT))
                await one.end()
                try:
                    await one.settle(settle_s)
                except AssertionError as error:
                    unsettled = f"{error}\n{one.logs()}"  # the verdict says how far it is off
            except BaseException as error:
                print(f"{scenario}: {error!r}")
                self.record(scenario, broker, one, None, [], time.monotonic() - started)
                raise AssertionError(f"{error!r}\n{one.logs()}") from error
            world = await observe(one)
            if not unsettled and not world.balanced:
                # A member that was thawed may send votes again that the others have counted.
                await one.settle(settle_s)
                world = await observe(one)
            verdict = judge(calm, world)
        self.record(scenario, broker, one, verdict, recovery, time.monotonic() - started)
        assert not unsettled, f"{verdict}\n{unsettled}"
        assert verdict.zeros(exactly_once=kafka.transactions), verdict
        return verdict

    def record(
        self,
        scenario: str,
        broker: str,
        arena: Arena,
        verdict: Verdict | None,
        recovery: list[float],
        seconds: float,
    ) -> None:
        """Put a run into the report; without a verdict it did not come to its end."""
        row = {
            "scenario": scenario,
            "broker": broker,
            "seed": self.seed,
            "texts": len(arena.sent) + arena.broken,
            "failed": verdict is None or not verdict.zeros(exactly_once=broker != "tansu"),
            **asdict(verdict or Verdict()),
            "recovery_s": [round(second, 2) for second in recovery],
            "seconds": round(seconds, 1),
            "exits": {worker.name: worker.codes for worker in arena.workers if worker.codes},
        }
        played.append(row)
        report.keep(row)
        print(row)
