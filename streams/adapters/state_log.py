"""Reading the rows of a votes partition back from the compacted topic of state."""

from typing import Final

import aiokafka
from aiokafka.structs import TopicPartition as TP

from streams.core.fold import PARTITION_ROW
from streams.core.topics import STATE, Names
from streams.settings import KafkaSettings

OWNER_ROW: Final = "@owner"


async def read_rows(settings: KafkaSettings, partition: int, token: bytes) -> dict[str, bytes]:
    """Return the rows that stand, read up to the owner's own marker row.

    No end offset is needed: the marker row was written after everything that can stand. Where
    the broker has no transactions, rows count once their `@partition` has come, and those of a
    batch that another owner cut short don't.

    Args:
        settings: The broker.
        partition: Number of the votes partition.
        token: What the new owner has just written to its row.
    """
    tp = TP(Names(settings.prefix).topic(STATE), partition)
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 << 20,
    )
    rows: dict[str, bytes] = {}
    held: dict[str, bytes | None] = {}
    await consumer.start()
    try:
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        while True:
            for record in (await consumer.getmany(tp, timeout_ms=500)).get(tp, ()):
                key = record.key.decode()
                if key == OWNER_ROW:
                    if record.value == token:
                        return rows
                    if not settings.transactions:
                        held.clear()
                    continue
                held[key] = record.value
                if settings.transactions or key == PARTITION_ROW:
                    for name, value in held.items():
                        if value is None:
                            rows.pop(name, None)
                        else:
                            rows[name] = value
                    held.clear()
    finally:
        await consumer.stop()
