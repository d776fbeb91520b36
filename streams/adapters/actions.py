"""Reading and writing what operators have decided: actions.v1, a small compacted topic."""

from streams.adapters.clock import now_ms
from streams.adapters.kafka_scan import scan
from streams.adapters.publisher import Publisher
from streams.core.actions import Action
from streams.core.errors import ConfigurationError, TopicMissing
from streams.core.topics import ACTIONS, INPUTS, VOTES, Names
from streams.ports import Outgoing
from streams.settings import KafkaSettings


async def read_actions(bootstrap: str, names: Names, since: int = 0) -> tuple[list[Action], int]:
    """Return the actions from an offset on, oldest first, and the offset behind the last one.

    Raises:
        ConfigurationError: the broker does not answer, or stops answering.
    """
    topic = names.topic(ACTIONS)
    actions: list[Action] = []
    end = since
    try:
        async with scan(bootstrap, topic, starts={(topic, 0): since}) as opened:
            async for _, records in opened.batches():
                actions += filter(None, (Action.from_json(record.value) for record in records))
            end = max([since, *opened.ends.values()])
    except TopicMissing:
        pass  # made by a version that had no such topic: nothing was accepted
    return actions, end


async def write_action(settings: KafkaSettings, action: Action) -> None:
    """Write an action.

    Raises:
        PublishFailed: the broker did not confirm it.
    """
    publisher = Publisher(settings)
    await publisher.start()
    try:
        await publisher.send([Outgoing(ACTIONS, action.id.encode(), action.to_json())], now_ms())
    finally:
        await publisher.stop()


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
