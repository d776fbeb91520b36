"""Sending POSTed texts and waiting until the broker has them."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.core.errors import PublishFailed
from streams.core.topics import INPUTS, Names
from streams.gateway.intake import Prepared
from streams.gateway.shapes import Accepted
from streams.settings import KafkaSettings

log = structlog.get_logger()

_STOP_S: Final = 5.0


class TextProducer:
    """A producer that connects when it is needed and connects anew after an error."""

    def __init__(self, bootstrap: str, settings: KafkaSettings, timeout_s: float = 10.0) -> None:
        self._bootstrap = bootstrap
        self._idempotent = settings.transactions
        self._names = Names(settings.prefix)
        self._timeout_s = timeout_s
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether the last thing that the broker said was no error."""
        return self._producer is not None

    async def connect(self) -> None:
        """Connect unless connected.

        Raises:
            PublishFailed: the broker does not answer, or the input topics are missing.
        """
        await self._connected()

    async def stop(self) -> None:
        """Disconnect."""
        self._discard()
        await asyncio.gather(*self._leaving)

    async def send(self, texts: Sequence[Prepared]) -> list[Accepted]:
        """Send the texts and return where each lies, once the broker has confirmed all.

        Raises:
            PublishFailed: not all were confirmed. Some may stand; their ids make a repeat harmless.
        """
        producer = await self._connected()
        try:
            async with asyncio.timeout(self._timeout_s):
                pending = [
                    await producer.send(
                        self._names.topic(text.topic), text.value, key=text.id.encode()
                    )
                    for text in texts
                ]
                placed = await asyncio.gather(*pending)
        except (KafkaError, TimeoutError) as error:
            log.warning("texts_not_confirmed", texts=len(texts), error=repr(error))
            if producer is self._producer:
                self._discard()
            silent = isinstance(error, TimeoutError)
            why = f"no answer in {self._timeout_s:g} s" if silent else repr(error)
            raise PublishFailed(f"not confirmed: {why}") from error
        return [
            Accepted(id=text.id, topic=meta.topic, partition=meta.partition, offset=meta.offset)
            for text, meta in zip(texts, placed, strict=True)
        ]

    async def _connected(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                self._producer = await self._start()
            return self._producer

    async def _start(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=self._idempotent,
            max_request_size=2 << 20,
            request_timeout_ms=int(self._timeout_s * 1000),
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                await producer.start()
                # Sending to a topic that is not there could make the broker create it, its way.
                there = (await producer.client.fetch_all_metadata()).topics()
        except (KafkaError, OSError, TimeoutError) as error:
            await _close(producer)
            raise PublishFailed(f"the broker does not answer: {error!r}") from error
        missing = {self._names.topic(name) for name in INPUTS} - set(there)
        if missing:
            await _close(producer)
            raise PublishFailed(f"topics are missing: {', '.join(sorted(missing))}")
        return producer

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            task = asyncio.create_task(_close(producer))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


async def _close(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(_STOP_S):
            await producer.stop()
