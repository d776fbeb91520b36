"""Sending records so that they stand, in order, before anything is committed."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import aiokafka
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.partitioner import murmur2

from streams.core.errors import PublishFailed
from streams.core.topics import Names
from streams.ports import Outgoing
from streams.settings import KafkaSettings

_MAX_REQUEST_BYTES = (2 << 20) + 65_536
_BATCH_BYTES = 512 << 10
# After a fatal error aiokafka fails by assertion; so it does for a partition that is not there.
_FAILURES = (KafkaError, AssertionError)


class Fenced(PublishFailed):
    """Another owner of the partition has started; this one must not write any more."""


class Publisher:
    """An idempotent or transactional producer (a plain one where the broker has neither).

    Args:
        settings: The broker.
        transactional_id: Makes `transaction` a real one.
        compression: Of what is sent, such as `gzip`; None sends it as it is.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        transactional_id: str | None = None,
        compression: str | None = None,
    ) -> None:
        self._names = Names(settings.prefix)
        self._plain = not settings.transactions
        self._transactional = transactional_id is not None and settings.transactions
        options: dict[str, Any] = {"acks": "all"}
        if settings.transactions:
            options["enable_idempotence"] = True
        if self._transactional:
            options["transactional_id"] = transactional_id
        self._producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=settings.bootstrap,
            max_request_size=_MAX_REQUEST_BYTES,
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=30_000,
            compression_type=compression,
            **options,
        )
        self._partition_of: dict[tuple[str, bytes], int] = {}

    async def start(self) -> None:
        """Connect; with transactions this fences every earlier owner of the id.

        Raises:
            PublishFailed: the broker does not answer.
        """
        try:
            await self._producer.start()
        except BaseException as error:
            await self._producer.stop()
            if isinstance(error, ProducerFenced):
                raise Fenced("fenced at start") from error
            if isinstance(error, KafkaError):
                raise PublishFailed(f"the broker does not answer: {error}") from error
            raise

    async def stop(self) -> None:
        """Disconnect; what was confirmed stays, an open transaction is aborted."""
        await self._producer.stop()

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return len(await self._producer.partitions_for(self._names.topic(topic)))

    async def send(self, records: Sequence[Outgoing], now_ms: int) -> None:
        """Send the records, each partition's in order, and wait until all are confirmed.

        Raises:
            Fenced: another owner has started.
            PublishFailed: a record was not confirmed; some may stand.
        """
        by_partition: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        for record in records:
            partition = record.partition
            if partition is None:
                partition = await self._partition(record.topic, record.key or b"")
            by_partition[record.topic, partition].append(record)
        pending: list[asyncio.Future[Any]] = []
        try:
            for (topic, partition), run in by_partition.items():
                await self._send_run(topic, partition, run, now_ms, pending)
            for future in pending:
                await future
        except ProducerFenced as error:
            raise Fenced("another owner has started") from error
        except _FAILURES as error:
            raise PublishFailed(f"not confirmed: {error!r}") from error
        finally:
            for future in pending:  # the first error is enough, no need to log the others
                future.add_done_callback(_retrieve)

    async def _send_run(
        self,
        topic: str,
        partition: int,
        run: Sequence[Outgoing],
        now_ms: int,
        pending: list[asyncio.Future[Any]],
    ) -> None:
        full_name = self._names.topic(topic)
        batch = self._producer.create_batch()

        async def submit() -> None:
            batch.close()
            future = await self._producer.send_batch(batch, full_name, partition=partition)
            if self._plain:
                # A plain producer can lose one batch and then send the next.
                await future
            else:
                pending.append(future)

        for record in run:
            fields = {"key": record.key, "value": record.value, "timestamp": now_ms}
            if batch.append(**fields, headers=list(record.headers)) is None:
                await submit()
                batch = self._producer.create_batch()
                batch.append(**fields, headers=list(record.headers))
        await submit()

    async def _partition(self, topic: str, key: bytes) -> int:
        known = self._partition_of.get((topic, key))
        if known is None:
            known = (murmur2(key) & 0x7FFFFFFF) % await self.partitions(topic)
            if len(self._partition_of) > 100_000:
                self._partition_of.clear()
            self._partition_of[topic, key] = known
        return known

    def transaction(self) -> "_Transaction":
        """Return a transaction to enter; without transactions, one that does nothing."""
        return _Transaction(self._producer if self._transactional else None)


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


class _Transaction:
    def __init__(self, producer: Any) -> None:
        self._inner = producer.transaction() if producer else None

    async def __aenter__(self) -> Self:
        if self._inner:
            try:
                await self._inner.__aenter__()
            except ProducerFenced as error:
                raise Fenced("another owner has started") from error
            except _FAILURES as error:
                raise PublishFailed(f"no transaction: {error!r}") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._inner:
            try:
                await self._inner.__aexit__(kind, error, trace)
            except ProducerFenced as fenced:
                raise Fenced("another owner has started") from fenced
            except _FAILURES as failed:
                raise PublishFailed(f"the transaction failed: {failed!r}") from failed
