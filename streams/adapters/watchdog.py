"""Ends a process whose commits stand still while input waits; a restart is the cure."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, NoReturn

import structlog
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import TopicPartition as TP

from streams.adapters.faust_app import Feed, Waiting
from streams.adapters.readiness import STALLED, Readiness
from streams.core.errors import Stalled

log = structlog.get_logger()

_LOOK_EVERY_S: Final = 5.0


class Stall(NamedTuple):
    """The partition that has waited longest while nothing moved."""

    tp: TP
    seconds: float
    waiting: Waiting

    def __str__(self) -> str:
        committed, end = self.waiting
        return (
            f"{self.tp.topic}/{self.tp.partition}: commits stand at offset {committed} though "
            f"the input has come to {end}; none has moved for {self.seconds:.0f} s"
        )


class StallClock:
    """For how long input has waited. Its time is the caller's."""

    def __init__(self) -> None:
        self._since: dict[TP, float] = {}
        self._generation = -1

    def look(
        self, now: float, moved_at: float, generation: int, waiting: Mapping[TP, Waiting]
    ) -> Stall | None:
        """Note what waits now, and return the longest stall.

        Args:
            now: Seconds on any clock that does not go back.
            moved_at: When a commit moved last, on that clock.
            generation: Of the consumer group; in a new one every partition begins anew.
            waiting: Partitions with records that are not committed.
        """
        if generation != self._generation:
            self._generation = generation
            self._since.clear()
        self._since = {tp: self._since.get(tp, now) for tp in waiting}
        stalls = [
            Stall(tp, now - max(since, moved_at), waiting[tp]) for tp, since in self._since.items()
        ]
        return max(stalls, key=lambda stall: stall.seconds, default=None)

    def forget(self) -> None:
        """Begin anew: nothing is known of the time until now."""
        self._since.clear()


class Watchdog:
    """Watches a worker's feed.

    Commits of the whole process count: a slow worker with a long backlog may well commit one
    partition for minutes before the next one's turn comes. A hold that was declared is no stall,
    nor is time in which the broker did not answer or this process was frozen.

    Args:
        feed: What is watched.
        readiness: Blocked with `stalled` from half of the time on.
        stall_s: After so many seconds the process must end.
        measure: Told at each look for how many seconds input has waited.
    """

    def __init__(
        self,
        feed: Feed,
        readiness: Readiness,
        stall_s: float,
        measure: Callable[[float], None],
    ) -> None:
        self._feed = feed
        self._readiness = readiness
        self._stall_s = stall_s
        self._measure = measure
        self._clock = StallClock()

    async def run(self) -> NoReturn:
        """Look again and again.

        Raises:
            Stalled: it has lasted too long.
        """
        every = min(_LOOK_EVERY_S, self._stall_s / 10)
        while True:
            slept = time.monotonic()
            await asyncio.sleep(every)
            if time.monotonic() - slept > 2 * every + 1:
                self._clock.forget()  # we were frozen, and so was the work
            self._judge(await self._look())

    async def _look(self) -> Stall | None:
        if self._readiness.may_stand_still:
            self._clock.forget()
            return None
        try:
            waiting = await self._feed.waiting()
        except (TimeoutError, KafkaError, IllegalStateError):
            self._clock.forget()  # no news of the broker
            return None
        feed = self._feed
        return self._clock.look(time.monotonic(), feed.moved_at, feed.generation, waiting)

    def _judge(self, stall: Stall | None) -> None:
        self._measure(stall.seconds if stall else 0.0)
        if stall is None or stall.seconds < self._stall_s / 2:
            if STALLED in self._readiness.blocked:
                log.info("going_on", reason=STALLED)
            self._readiness.clear(STALLED)
            return
        if stall.seconds >= self._stall_s:
            raise Stalled(str(stall))
        if STALLED not in self._readiness.blocked:
            log.warning("stalled", detail=str(stall))
        self._readiness.block(STALLED, str(stall))
