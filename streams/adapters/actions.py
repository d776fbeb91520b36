"""Reading and writing what operators have decided: actions.v1, a small compacted topic."""

import contextlib

from streams.adapters.clock import now_ms
from streams.adapters.kafka_scan import scan
from streams.adapters.publisher import Publisher
from streams.core.actions import Action
from streams.core.errors import ConfigurationError, TopicMissing
from streams.core.topics import ACTIONS, INPUTS, VOTES, Names
from streams.ports import Outgoing
from streams.settings import KafkaSettings


async def read_actions(bootstrap: str, names: Names) -> list[Action]:
    """Return the actions, oldest first.

    Raises:
        ConfigurationError: the broker does not answer, or stops answering.
    """
    actions: list[Action] = []
    # Where a version without that topic made the others, nothing was accepted.
    with contextlib.suppress(TopicMissing):
        async with scan(bootstrap, names.topic(ACTIONS)) as opened:
            async for _, records in opened.batches():
                actions += filter(None, (Action.from_json(record.value) for record in records))
    return actions


async def write_action(settings: KafkaSettings, action: Action) -> None:
    """Write an action.

    Raises:
        PublishFailed: the broker did not confirm it.
    """
    publisher = Publisher(settings)
    await publisher.start()
    try:
        await publisher.send([record_of(action)], now_ms())
    finally:
        await publisher.stop()


def record_of(action: Action) -> Outgoing:
    """Return an action's record."""
    return Outgoing(ACTIONS, action.id.encode(), action.to_json())


async def lost_place(
    bootstrap: str, names: Names, place: str, first: int, end: int
) -> tuple[str, int]:
    """Return topic and partition of a hole, after a look whether its records are really gone.

    Args:
        bootstrap: Address of the broker.
        names: Names on it.
        place: TOPIC/PARTITION, with or without the prefix.
        first: First offset of the hole.
        end: First offset behind it.

    Raises:
        ConfigurationError: there is no such place, or records of the hole can still be read.
    """
    name, _, number = place.rpartition("/")
    topic = names.plain(name)
    if topic not in (*INPUTS, VOTES) or not number.isdecimal():
        known = ", ".join((*INPUTS, VOTES))
        raise ConfigurationError(f"{place!r} is no TOPIC/PARTITION of {known}")
    if not 0 <= first < end:
        raise ConfigurationError("--from is the first missing offset, --to the first behind them")
    full, partition = names.topic(topic), int(number)
    async with scan(bootstrap, full, starts={(full, partition): 0}) as opened:
        starts = list(opened.starts.values())
    if not starts:
        raise ConfigurationError(f"{topic} has no partition {partition}")
    if end > starts[0]:
        raise ConfigurationError(
            f"{topic}/{partition} can be read from offset {starts[0]} on; "
            f"a hole can't reach further: --to {starts[0]}"
        )
    return topic, partition
