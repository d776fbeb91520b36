"""Reading what Faust skipped; what retention has cut is passed only where an operator said so."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import TopicPartition as TP

from streams.adapters.actions import read_actions
from streams.adapters.kafka_scan import committed_reader
from streams.core.actions import accepted_hole
from streams.core.errors import ConfigurationError, ContractError, LostRecords
from streams.core.topics import Names
from streams.ports import Incoming
from streams.settings import KafkaSettings

log = structlog.get_logger()


async def fill(
    settings: KafkaSettings,
    tp: TP,
    start: int,
    end: int,
    on_progress: Callable[[], None],
    on_lost: Callable[[int], None],
) -> list[Incoming]:
    """Return the committed records of [start, end) that there are.

    Args:
        settings: The broker.
        tp: The partition.
        start: First offset.
        end: First offset behind the range; the record there is in hand.
        on_progress: Called for every record, so that a long read is no stall.
        on_lost: Told how many offsets an accepted hole has.

    Raises:
        LostRecords: retention has cut some of them, and nobody has accepted that.
    """
    found: list[Incoming] = []
    while start < end:
        try:
            async for record in read_range(settings, tp, start, end):
                found.append(record)
                on_progress()
        except LostRecords as lost:
            await _require_accepted(settings, lost)
            on_lost(lost.end - lost.first)
            start = lost.end
        else:
            break
    return found


async def _require_accepted(settings: KafkaSettings, lost: LostRecords) -> None:
    try:
        actions = await read_actions(str(settings.bootstrap), Names(settings.prefix))
    except ConfigurationError as error:
        raise lost from error
    used = accepted_hole(actions, lost.topic, lost.partition, lost.first, lost.end)
    if not used:
        raise lost
    for action in used:
        log.warning("hole_accepted", what=action.what, who=action.who, at=action.at, why=action.why)


async def read_range(
    settings: KafkaSettings, tp: TP, start: int, end: int
) -> AsyncIterator[Incoming]:
    """Yield the committed records of [start, end); a range without records is simply empty.

    Raises:
        LostRecords: retention has removed the start of the range.
    """
    names = Names(settings.prefix)
    consumer = committed_reader(str(settings.bootstrap), auto_offset_reset="none")
    await consumer.start()
    try:
        consumer.assign([tp])
        consumer.seek(tp, start)
        at = start
        while at < end:
            try:
                fetched = await consumer.getmany(tp, timeout_ms=200)
            except OffsetOutOfRangeError as error:
                first = int((await consumer.beginning_offsets([tp]))[tp])
                place = names.plain(tp.topic)
                if first <= at:
                    raise ContractError(
                        f"{place}/{tp.partition} ends before offset {at}: was it made anew?"
                    ) from error
                raise LostRecords(place, tp.partition, at, min(first, end)) from error
            for record in fetched.get(tp, ()):
                if record.offset >= end:
                    return
                yield incoming(record, names)
            at = await consumer.position(tp)
    finally:
        await consumer.stop()


def incoming(record: Any, names: Names) -> Incoming:
    """Return an aiokafka record in our form."""
    return Incoming(
        names.plain(record.topic),
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        dict(record.headers),
    )
