"""Reading rows back from the compacted topic of state."""

from collections.abc import Callable
from typing import Any, Final

import orjson
from aiokafka.structs import TopicPartition as TP

from streams.adapters.kafka_scan import committed_reader, scan
from streams.core.errors import TopicMissing
from streams.core.fold import PARTITION_ROW
from streams.core.sources import split_source
from streams.core.topicplan import Written
from streams.core.topics import STATE, VOTES, Names
from streams.settings import KafkaSettings

OWNER_ROW: Final = "@owner"


async def read_rows(
    settings: KafkaSettings,
    partition: int,
    token: bytes,
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, bytes]:
    """Return the rows that stand, read up to the owner's own marker row.

    No end offset is needed: the marker row was written after everything that can stand. Where
    the broker has no transactions, rows count once their `@partition` has come, and those of a
    batch that another owner cut short don't.

    Args:
        settings: The broker.
        partition: Number of the votes partition.
        token: What the new owner has just written to its row.
        on_progress: Called for every row.
    """
    tp = TP(Names(settings.prefix).topic(STATE), partition)
    consumer = committed_reader(str(settings.bootstrap))
    rows: dict[str, bytes] = {}
    held: dict[str, bytes | None] = {}
    await consumer.start()
    try:
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        while True:
            for record in (await consumer.getmany(tp, timeout_ms=500)).get(tp, ()):
                on_progress()
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


async def read_written(settings: KafkaSettings) -> list[Written]:
    """Return what the newest `@partition` row of each votes partition says of its topics.

    It reads state.v1 whole.

    Raises:
        ConfigurationError: the broker does not answer, or stops answering.
    """
    rows: dict[int, bytes] = {}
    try:
        async with scan(str(settings.bootstrap), Names(settings.prefix).topic(STATE)) as opened:
            async for tp, records in opened.batches():
                for record in records:
                    if record.key == PARTITION_ROW.encode() and record.value is not None:
                        rows[tp.partition] = record.value
    except TopicMissing:
        return []
    return [_written(number, orjson.loads(value)) for number, value in sorted(rows.items())]


def _written(partition: int, row: dict[str, Any]) -> Written:
    sources = dict.fromkeys((split_source(source)[0] for source in row["highest"]), "")
    # Schema 1 knew no ids.
    topics = {VOTES: "", **sources, **row.get("topics", {})}
    return Written(partition, row["partitions"], topics)
