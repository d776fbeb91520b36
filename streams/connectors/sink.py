"""Texts and positions on Kafka, the positions in a compacted topic (decision 10).

A position is sent when the texts before it are confirmed. So a crash in between sends those texts
again, with the same ids, and nothing is ever lost.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from streams.adapters.clock import now_ms
from streams.adapters.kafka_scan import scan
from streams.adapters.publisher import Publisher
from streams.connectors.pauses import Pauses
from streams.core.errors import PublishFailed
from streams.core.topics import CONNECTORS, Names
from streams.ports import Outgoing
from streams.settings import KafkaSettings

log = structlog.get_logger()

_STOP_S: Final = 5.0
"""A producer whose broker is away would take longer to give up what it holds."""


class KafkaSink:
    """The broker as connectors see it: slow at times, but never wrong."""

    def __init__(
        self,
        settings: KafkaSettings,
        pauses: Pauses,
        on_hold: Callable[[str | None], None] = lambda why: None,
    ) -> None:
        """Connect at the first put.

        Args:
            settings: The broker.
            pauses: Between tries while it does not confirm.
            on_hold: Told why puts are held, and None when they go on.
        """
        self._settings = settings
        self._pauses = pauses
        self._on_hold = on_hold
        self._publisher: Publisher | None = None
        self._turn = asyncio.Lock()

    async def positions(self) -> dict[str, bytes]:
        """Return the newest position of each connector that ever ran under this prefix.

        Raises:
            BrokerUnreachable: nobody answers.
            TopicMissing: connectors.v1 is not there.
        """
        found: dict[str, bytes] = {}
        topic = Names(self._settings.prefix).topic(CONNECTORS)
        async with scan(str(self._settings.bootstrap), topic) as opened:
            async for _, records in opened.batches():
                for record in records:
                    if record.value is None:
                        found.pop(record.key.decode(), None)
                    else:
                        found[record.key.decode()] = record.value
        self._on_hold(None)
        return found

    async def put(self, name: str, texts: Sequence[Outgoing], position: bytes) -> None:
        """Return when the texts and then the position stand, however long the broker is away."""
        async with self._turn:
            failures = 0
            while True:
                try:
                    publisher = await self._connected()
                    if texts:
                        await publisher.send(texts, now_ms())
                    place = Outgoing(CONNECTORS, name.encode(), position, partition=0)
                    await publisher.send([place], now_ms())
                except PublishFailed as error:
                    failures += 1
                    pause_s = self._pauses.after(failures)
                    log.warning("connectors_hold", why=str(error), again_in_s=round(pause_s, 1))
                    self._on_hold(str(error))
                    await self.close()
                    await asyncio.sleep(pause_s)
                else:
                    if failures:
                        log.info("connectors_go_on", tries=failures + 1)
                        self._on_hold(None)
                    return

    async def close(self) -> None:
        """Disconnect."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(publisher.stop(), _STOP_S)

    async def _connected(self) -> Publisher:
        if self._publisher is None:
            # An idempotent producer can't go on after some errors, so each failure makes a new one.
            made = Publisher(self._settings)
            await made.start()
            self._publisher = made
        return self._publisher
