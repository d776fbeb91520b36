"""Reading topics from beginning to end, for checks and tools rather than for the stream.

The end is the high watermark of the first fetch (the last stable offset where a transaction is
open): the broker's own answer about end offsets is wrong on Tansu.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.core.errors import BrokerUnreachable, ConfigurationError, TopicMissing

STALL_S: Final = 60.0
"""A scan that gets nothing for so long gives up."""

_POLL_MS = 100


def committed_reader(bootstrap: str, *topics: str, **options: Any) -> AIOKafkaConsumer:
    """Return a consumer, not started yet, of all committed records; it commits nothing itself.

    Args:
        bootstrap: Address of the broker.
        topics: Topics to read whole; with none, `assign` partitions.
        options: More of AIOKafkaConsumer's, or others than these.
    """
    ours = {
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "max_partition_fetch_bytes": 4 << 20,
    }
    return AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, **ours | options)


class Scan:
    """One pass over all committed records of some topics. Use each object once."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
        """Wrap a started consumer; `scan` does that."""
        self._consumer = consumer
        self.starts: dict[TopicPartition, int] = dict.fromkeys(partitions, 0)
        """where reading began: the log's start, or later where the caller said so"""
        self.ends: dict[TopicPartition, int] = {}
        """first offset not read any more; complete once the scan is"""

    async def batches(self) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
        """Yield (partition, records), in order within each partition.

        Raises:
            ConfigurationError: the broker went away or answers no more.
        """
        consumer = self._consumer
        clock = asyncio.get_running_loop().time
        moved = clock()
        open_partitions = set(self.starts)
        try:
            while open_partitions:
                found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=5000)
                for partition in list(open_partitions):
                    end = self._end(partition)
                    records = found.get(partition, [])
                    if records and end is not None:
                        yield partition, [r for r in records if r.offset < end]
                    if end is not None and await consumer.position(partition) >= end:
                        open_partitions.discard(partition)
                        consumer.pause(partition)
                        moved = clock()
                if found:
                    moved = clock()
                elif clock() - moved > STALL_S:
                    names = ", ".join(f"{p.topic}/{p.partition}" for p in sorted(open_partitions))
                    raise ConfigurationError(f"the broker sends no more of {names}")
        except KafkaError as error:
            raise ConfigurationError(f"reading failed: {error!r}") from error

    def _end(self, partition: TopicPartition) -> int | None:
        if partition not in self.ends:
            end = self._consumer.highwater(partition)
            if end is None:
                return None
            stable = self._consumer.last_stable_offset(partition)
            self.ends[partition] = end if stable is None or stable < 0 else min(end, stable)
        return self.ends[partition]


@asynccontextmanager
async def scan(
    bootstrap: str, *topics: str, starts: Mapping[tuple[str, int], int] | None = None
) -> AsyncIterator[Scan]:
    """Open a pass over topics from the beginning of their logs.

    Args:
        bootstrap: Address of the broker.
        topics: Their names on the broker.
        starts: Offsets from which to read, by (topic, partition). If it is given, partitions that
            it does not name are left out.

    Raises:
        BrokerUnreachable: no broker answers.
        TopicMissing: a topic does not exist.
    """
    # An empty partition answers only after the wait.
    consumer = committed_reader(bootstrap, fetch_max_wait_ms=50)
    try:
        try:
            await consumer.start()
            partitions = await _partitions(consumer, topics)
            if starts is not None:
                partitions = [p for p in partitions if (p.topic, p.partition) in starts]
            consumer.assign(partitions)
            opened = Scan(consumer, partitions)
            if partitions:
                opened.starts.update(await consumer.beginning_offsets(partitions))
            for partition in partitions:
                wanted = (starts or {}).get((partition.topic, partition.partition), 0)
                opened.starts[partition] = max(opened.starts[partition], wanted)
                consumer.seek(partition, opened.starts[partition])
        except KafkaError as error:
            raise BrokerUnreachable(f"no Kafka broker answers at {bootstrap}: {error!r}") from error
        yield opened
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> list[TopicPartition]:
    # All topics at once: asking for one by name would create it on some brokers.
    cluster = await consumer._client.fetch_all_metadata()
    missing = sorted(set(topics) - cluster.topics())
    if missing:
        raise TopicMissing(f"the broker has no topic {', '.join(missing)}")
    return [
        TopicPartition(topic, number)
        for topic in topics
        for number in sorted(cluster.partitions_for_topic(topic) or ())
    ]
