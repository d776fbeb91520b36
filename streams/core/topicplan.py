"""What is to be done so that the topics on a broker are as the protocol wants them.

Only missing topics are made and settings changed. What no command may mend (partition counts that
can't work together, a topic made anew under existing state) is refused, with the way out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.core.sources import WAY_OUT
from streams.core.topics import CO_PARTITIONED, INPUTS, STATE, VOTES, Names, TopicSpec

_SAFE_REPLICAS: Final = 3
_IN_SYNC: Final = {"min.insync.replicas": "2"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A topic's setting as the broker tells it."""

    value: str
    on_purpose: bool
    """set for this topic, and not a default of the broker"""


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as it is on the broker."""

    partitions: int
    replication: int
    id: str = ""
    """empty where the broker has no ids"""
    config: Mapping[str, Setting] | None = None
    """None: not asked for"""


@dataclass(frozen=True, slots=True)
class Written:
    """What the state of one votes partition says of the topics that it was made of."""

    partition: int
    partitions: int
    """how many votes partitions there were"""
    topics: Mapping[str, str]
    """topic → its id, empty where it is not known"""


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that is to get another value."""

    setting: str
    old: Setting | None
    """None: the broker does not tell it"""
    new: str

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.setting}: not set → {self.new}"
        whose = "set for this topic" if self.old.on_purpose else "the broker's default"
        return f"{self.setting}: {self.old.value} ({whose}) → {self.new}"


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One topic as it is to be."""

    name: str
    """on the broker"""
    partitions: int
    replication: int
    config: Mapping[str, str]
    missing: bool
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All topics, and what stands against it."""

    topics: tuple[TopicPlan, ...]
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def to_do(self) -> int:
        """How many topics are to be made or changed."""
        return sum(topic.missing or bool(topic.changes) for topic in self.topics)

    def lines(self) -> Iterator[tuple[str, str, str]]:
        """Yield the difference for people: what is done, topic, details."""
        for topic in self.topics:
            size = f"{_count(topic.partitions)}, {_count(topic.replication, 'replica')}"
            if topic.missing:
                config = "".join(f", {name}={value}" for name, value in topic.config.items())
                yield "make", topic.name, size + config
            for change in topic.changes:
                yield "change", topic.name, str(change)
            if not topic.missing and not topic.changes:
                yield "as it should be", topic.name, size
            for note in topic.notes:
                yield "note", topic.name, note
        for note in self.notes:
            yield "note", "", note
        for reason in self.refused:
            yield "refused", "", reason


def plan_topics(
    specs: Sequence[TopicSpec],
    found: Mapping[str, Found],
    written: Sequence[Written],
    *,
    names: Names,
    partitions: int,
    replication: int,
    brokers: int,
) -> Plan:
    """Compare what is wanted with what is there.

    Args:
        specs: What is wanted.
        found: What is there, by name without prefix.
        written: What the state remembers; nothing before the first votes.
        names: Names on the broker.
        partitions: The count of the settings, for topics that are made.
        replication: The factor of the settings, for topics that are made.
        brokers: How many brokers there are.
    """
    siblings = {found[name].partitions for name in CO_PARTITIONED if name in found}
    shared = min(siblings, default=partitions)
    topics = []
    for spec in specs:
        count = spec.partitions or (shared if spec.name in CO_PARTITIONED else partitions)
        there = found.get(spec.name)
        if there is None:
            config = wanted_config(spec, replication)
            topics.append(TopicPlan(names.topic(spec.name), count, replication, config, True))
        else:
            wanted = spec.partitions or partitions
            topics.append(_compared(spec, there, names, wanted, replication))
    refused = [
        *_counts_refused(specs, found, names),
        *_state_refused(found, written, names),
    ]
    if replication > brokers and any(topic.missing for topic in topics):
        refused.append(
            f"TICKERTONE_KAFKA__REPLICATION is {replication}, but the broker knows of "
            f"{_count(brokers, 'broker')}: lower it, or start the others first"
        )
    return Plan(tuple(topics), tuple(refused), tuple(_input_notes(found, names)))


def wanted_config(spec: TopicSpec, replication: int) -> dict[str, str]:
    """Return a topic's settings; with three replicas, two must have a record before it counts."""
    return {**spec.config, **(_IN_SYNC if replication >= _SAFE_REPLICAS else {})}


def _compared(
    spec: TopicSpec, there: Found, names: Names, partitions: int, replication: int
) -> TopicPlan:
    # By its own factor: two in sync are more than a topic of one replica can ever have.
    wanted = wanted_config(spec, there.replication)
    changes = []
    if there.config is not None:
        for setting, value in wanted.items():
            old = there.config.get(setting)
            if old is None or old.value != value:
                changes.append(Change(setting, old, value))
    notes = []
    if there.partitions != partitions:
        notes.append(
            f"{_count(there.partitions)}, TICKERTONE_KAFKA__PARTITIONS is {partitions}: it counts "
            "for topics that are made, this one stays as it is"
        )
    if there.replication != replication:
        notes.append(
            f"{_count(there.replication, 'replica')}, TICKERTONE_KAFKA__REPLICATION is "
            f"{replication}: change it with kafka-reassign-partitions.sh"
        )
    name = names.topic(spec.name)
    return TopicPlan(
        name, there.partitions, there.replication, wanted, False, tuple(changes), tuple(notes)
    )


def _counts_refused(
    specs: Sequence[TopicSpec], found: Mapping[str, Found], names: Names
) -> Iterator[str]:
    counts = {name: found[name].partitions for name in CO_PARTITIONED if name in found}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{names.topic(name)} has {_count(n)}" for name, n in counts.items())
        yield f"{told}: these must be equal; {WAY_OUT}"
    for spec in specs:
        there = found.get(spec.name)
        if there is not None and spec.partitions and there.partitions != spec.partitions:
            yield (
                f"{names.topic(spec.name)} has {_count(there.partitions)}, it must have "
                f"{spec.partitions}, whose offsets are the order of its records; {WAY_OUT}"
            )


def _state_refused(
    found: Mapping[str, Found], written: Sequence[Written], names: Names
) -> Iterator[str]:
    known: dict[str, str] = {}
    for row in written:
        for topic, topic_id in row.topics.items():
            known[topic] = topic_id or known.get(topic, "")
    for count in sorted({row.partitions for row in written}):
        for topic in (VOTES, STATE):
            if topic in found and found[topic].partitions != count:
                yield (
                    f"{names.topic(topic)} has {_count(found[topic].partitions)}, but the state "
                    f"was written with {count}; {WAY_OUT}"
                )
    for topic, topic_id in sorted(known.items()):
        there = found.get(topic)
        if there is None:
            yield (
                f"{names.topic(topic)} is gone, but {names.topic(STATE)} holds state that was made "
                f"of it; {WAY_OUT}"
            )
        elif topic_id and there.id and there.id != topic_id:
            yield (
                f"{names.topic(topic)} was made anew: its id is {there.id}, but "
                f"{names.topic(STATE)} holds state that was made of {topic_id}; {WAY_OUT}"
            )


def _input_notes(found: Mapping[str, Found], names: Names) -> Iterator[str]:
    counts = {name: found[name].partitions for name in INPUTS if name in found}
    if len(set(counts.values())) > 1:
        told = " and ".join(f"{names.topic(name)} has {_count(n)}" for name, n in counts.items())
        yield f"{told}: inputs may differ"


def _count(number: int, what: str = "partition") -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
