"""Running connectors side by side: one that fails is tried again later and harms no other."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from streams.connectors.metrics import BROKEN, GONE, UNAVAILABLE, ConnectMetrics
from streams.connectors.pauses import Pauses
from streams.connectors.port import Batch, Connector, Sink
from streams.core.errors import ConfigurationError, SourceGone, SourceUnavailable, TransientError

log = structlog.get_logger()

STOP_S: Final = 10.0
"""How long a stop waits for what is on its way to Kafka."""

PROGRESS_S: Final = 60.0


@dataclass(slots=True)
class _Count:
    texts: int = 0
    skipped: int = 0


class Runner:
    """All connectors of a process."""

    def __init__(
        self,
        connectors: Mapping[str, Connector],
        sink: Sink,
        metrics: ConnectMetrics,
        pauses: Pauses,
        now_ms: Callable[[], int],
        progress_s: float = PROGRESS_S,
    ) -> None:
        self._connectors = connectors
        self._sink = sink
        self._metrics = metrics
        self._pauses = pauses
        self._now_ms = now_ms
        self._progress_s = progress_s
        self._counts: dict[str, _Count] = {}
        self._failing: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until told to stop; what is on its way to Kafka then is waited for.

        Raises:
            BrokerUnreachable: the positions can't be read at the start.
            ConfigurationError: every connector has ended for good.
        """
        positions = await self._sink.positions()
        progress = asyncio.create_task(self._tell())
        try:
            async with asyncio.TaskGroup() as group:
                for name, connector in self._connectors.items():
                    group.create_task(self._one(name, connector, positions.get(name), stop))
        finally:
            progress.cancel()
        if not stop.is_set():
            raise ConfigurationError("every connector has ended; the log says why")

    async def _one(
        self, name: str, connector: Connector, position: bytes | None, stop: asyncio.Event
    ) -> None:
        log.info("connector_started", connector=name, first_time=position is None)
        failures = 0
        while not stop.is_set():
            batches = connector.batches(position)
            wanted_s = 0.0
            try:
                while (batch := await _unless(stop, batches)) is not None:
                    if not await self._put(name, batch, stop):
                        return
                    position, failures = batch.position, 0
                    self._recovered(name)
                return
            except (SourceGone, ConfigurationError) as error:
                log.error("connector_ended", connector=name, why=str(error))
                self._metrics.record_failure(name, GONE)
                return
            except TransientError as error:
                reason, why = UNAVAILABLE, str(error)
                wanted_s = error.retry_after_s if isinstance(error, SourceUnavailable) else 0.0
            except Exception as error:
                reason, why = BROKEN, repr(error)
                log.error("connector_broken", connector=name, exc_info=error)
            finally:
                await batches.aclose()
            failures += 1
            pause_s = self._pauses.after(failures, wanted_s)
            self._failing.add(name)
            self._metrics.record_failure(name, reason)
            log.warning("connector_waits", connector=name, why=why, again_in_s=round(pause_s, 1))
            await _sleep_unless(stop, pause_s)

    async def _put(self, name: str, batch: Batch, stop: asyncio.Event) -> bool:
        """Return when a batch stands; False if it was told to stop and Kafka did not confirm."""
        putting = asyncio.create_task(self._sink.put(name, batch.texts, batch.position))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((putting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not putting.done():
                await asyncio.wait((putting,), timeout=STOP_S)
            if not putting.done():
                log.warning("not_confirmed_at_stop", connector=name, texts=len(batch.texts))
                return False
            putting.result()
        finally:
            for task in (putting, stopping):
                task.cancel()
            await asyncio.gather(putting, stopping, return_exceptions=True)
        self._metrics.record_batch(name, len(batch.texts), batch.skipped, self._now_ms())
        count = self._counts.setdefault(name, _Count())
        count.texts += len(batch.texts)
        count.skipped += batch.skipped
        return True

    def _recovered(self, name: str) -> None:
        if name in self._failing:
            self._failing.discard(name)
            log.info("connector_goes_on", connector=name)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(self._progress_s)
            counts, self._counts = self._counts, {}
            for name in self._connectors:
                count = counts.get(name, _Count())
                log.info(
                    "connector_progress",
                    connector=name,
                    texts=count.texts,
                    skipped=count.skipped,
                    failing=name in self._failing,
                    seconds=round(self._progress_s),
                )


async def _unless(stop: asyncio.Event, batches: AsyncGenerator[Batch]) -> Batch | None:
    """Return the next batch, or None when told to stop."""
    if stop.is_set():
        return None
    reading = asyncio.ensure_future(anext(batches, None))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else None
    finally:
        for task in (reading, stopping):
            task.cancel()
        await asyncio.gather(reading, stopping, return_exceptions=True)


async def _sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
