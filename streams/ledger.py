"""Proving afterwards that no text and no vote was lost: what `tickertone ledger check` does.

Every readable record of the input topics must have left its origin in opinions.v1 or
texts.dead.v1, and every vote must be in the counts of the state. One byte per input record is
kept, so a hundred million texts take a hundred megabytes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from rich.table import Table
from rich.text import Text

from streams.adapters.actions import read_actions
from streams.adapters.kafka_scan import scan
from streams.core.actions import Action
from streams.core.records import KIND_HEADER, Kind
from streams.core.topics import DEAD, INPUTS, OPINIONS, STATE, VOTES, Names

SHOWN: Final = 20
"""Differences that a report spells out."""

PARTITION_ROW: Final = b"@partition"
_VOTE_COUNTS = ("counted", "resent", "duplicate", "late")
_NO_VOTES = {Kind.MARKER.value.encode(), Kind.CONTROL.value.encode(), Kind.END.value.encode()}

# What is known of an input offset: bits of one byte.
_READABLE, _SCORED, _FILTERED, _DEAD = 1, 2, 4, 8


@dataclass(slots=True)
class PartitionLedger:
    """The accounts of one input partition."""

    topic: str
    partition: int
    readable: int = 0
    ends: int = 0
    """end records of replays, which leave nothing behind"""
    scored: int = 0
    filtered: int = 0
    dead: int = 0
    missing: int = 0
    unknown: int = 0
    """outcomes whose origin is no readable record"""


@dataclass(slots=True)
class VoteLedger:
    """The accounts of one votes partition."""

    partition: int
    votes: int = 0
    """votes on the topic up to the applied offset"""
    pending: int = 0
    """votes behind it, not applied yet"""
    applied: int = -1
    read: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    complete: bool = True
    """False where retention has removed votes, so that they can't be counted again"""


@dataclass(slots=True)
class LedgerReport:
    """The accounts of all partitions, and the first differences in words."""

    inputs: list[PartitionLedger] = field(default_factory=list)
    votes: list[VoteLedger] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """the first twenty"""
    difference_count: int = 0
    accepted: list[Action] = field(default_factory=list)
    """losses that operators have accepted"""

    @property
    def balanced(self) -> bool:
        """Whether everything is accounted for."""
        return self.difference_count == 0

    def add_difference(self, text: str) -> None:
        """Note a difference; only the first ones are kept in words."""
        self.difference_count += 1
        if self.has_room:
            self.differences.append(text)

    @property
    def has_room(self) -> bool:
        """Whether another difference would be spelled out."""
        return len(self.differences) < SHOWN

    def tables(self) -> Iterator[Table]:
        """Yield the accounts as tables for a terminal."""
        yield _table(
            "Texts",
            ["partition", "readable", "scored", "filtered", "dead", "missing", "unknown", "ends"],
            (
                [
                    f"{p.topic}/{p.partition}",
                    *(p.readable, p.scored, p.filtered, p.dead, p.missing, p.unknown, p.ends),
                ]
                for p in self.inputs
            ),
        )
        yield _table(
            "Votes",
            ["partition", "on the topic", "read", *_VOTE_COUNTS, "pending"],
            (
                [
                    str(v.partition),
                    *(v.votes, v.read, *(v.counts.get(name, 0) for name in _VOTE_COUNTS)),
                    v.pending,
                ]
                for v in self.votes
            ),
        )
        if self.accepted:
            yield accepted_table(self.accepted)


async def check_ledger(bootstrap: str, names: Names) -> LedgerReport:
    """Compare inputs with outcomes, and votes with the counts of the state.

    The inputs are read first, so outcomes of texts that come meanwhile are left aside. Texts that
    are being scored and votes that are not applied yet count as differences: ask again, or stop
    the feed, for a proof.

    Raises:
        ConfigurationError: the broker or a topic is missing, or the broker stops answering.
    """
    report = LedgerReport()
    await _check_texts(bootstrap, names, report)
    await _check_votes(bootstrap, names, report)
    actions = await read_actions(bootstrap, names)
    report.accepted = [action for action in actions if action.accepts]
    return report


def accepted_table(actions: Iterable[Action]) -> Table:
    """Return who has accepted what, when and why."""
    table = Table("who", "when (UTC)", "what", "why", title="Accepted", title_justify="left")
    for action in actions:
        when = datetime.fromtimestamp(action.at / 1000, UTC).isoformat(" ", "seconds")
        cells = (action.who, when.removesuffix("+00:00"), action.what, action.why)
        table.add_row(*map(Text, cells))
    return table


class _Account:
    """The offsets of one input partition: what is readable, and what became of it."""

    def __init__(self, topic: str, partition: int, start: int) -> None:
        self.ledger = PartitionLedger(topic, partition)
        self.start = start
        self.end = start
        self.seen = bytearray()

    def mark_readable(self, offset: int) -> None:
        """Offsets come in order; holes are control records and what was compacted or aborted."""
        self.seen.extend(bytes(offset - self.start - len(self.seen)))
        self.seen.append(_READABLE)

    def close(self, end: int) -> None:
        self.end = end
        self.seen.extend(bytes(end - self.start - len(self.seen)))

    def mark(self, offset: int, bit: int) -> bool:
        """Note an outcome; return False if there is no such record."""
        if not self.start <= offset < self.end:
            return True  # before the log's start, or after we looked: nothing can be said
        self.seen[offset - self.start] |= bit
        return bool(self.seen[offset - self.start] & _READABLE)

    def settle(self, report: LedgerReport) -> None:
        """Count, and name what is missing or unknown."""
        ledger = self.ledger
        tally = [self.seen.count(value) for value in range(16)]
        for value, number in enumerate(tally):
            if not value & _READABLE:
                ledger.unknown += number if value else 0
                continue
            ledger.readable += number
            if value & _SCORED:  # where a text has several outcomes, scored wins
                ledger.scored += number
            elif value & _FILTERED:
                ledger.filtered += number
            elif value & _DEAD:
                ledger.dead += number
            else:
                ledger.missing += number
        place = f"{ledger.topic}/{ledger.partition}"
        for value in [_READABLE, *(v for v in range(2, 16, 2) if tally[v])]:
            word = "has no outcome" if value == _READABLE else "has an outcome but is no record"
            at, left = -1, tally[value]
            while left and report.has_room:
                at = self.seen.index(value, at + 1)
                report.add_difference(f"{place} offset {self.start + at} {word}")
                left -= 1
            report.difference_count += left
        report.inputs.append(ledger)


async def _check_texts(bootstrap: str, names: Names, report: LedgerReport) -> None:
    accounts: dict[tuple[str, int], _Account] = {}
    async with scan(bootstrap, *(names.topic(topic) for topic in INPUTS)) as inputs:
        for partition, start in inputs.starts.items():
            place = partition.topic, partition.partition
            accounts[place] = _Account(*place, start)
        async for partition, records in inputs.batches():
            account = accounts[partition.topic, partition.partition]
            for record in records:
                if _kind(record) == Kind.END.value.encode():
                    account.ledger.ends += 1
                else:
                    account.mark_readable(record.offset)
        for partition, end in inputs.ends.items():
            accounts[partition.topic, partition.partition].close(end)
    async with scan(bootstrap, names.topic(OPINIONS), names.topic(DEAD)) as outcomes:
        async for partition, records in outcomes.batches():
            read = _dead_origin if partition.topic == names.topic(DEAD) else _opinion_origin
            for record in records:
                found = read(record)
                place_name = f"{partition.topic}/{partition.partition} offset {record.offset}"
                if found is None:
                    report.add_difference(f"{place_name} has no origin")
                    continue
                topic, number, offset, bit = found
                origin = accounts.get((names.topic(topic), number))
                if origin is None:
                    report.add_difference(f"{place_name} names the partition {topic}/{number}")
                else:
                    origin.mark(offset, bit)
    for account in accounts.values():
        account.settle(report)


def _opinion_origin(record: Any) -> tuple[str, int, int, int] | None:
    try:
        opinion = orjson.loads(record.value)
        topic, partition, offset = opinion["origin"]
        bit = _SCORED if opinion["outcome"] == "scored" else _FILTERED
        return str(topic), int(partition), int(offset), bit
    except (ValueError, KeyError, TypeError):
        return None


def _dead_origin(record: Any) -> tuple[str, int, int, int] | None:
    headers = dict(record.headers)
    try:
        topic = headers["dl.topic"].decode()
        return topic, int(headers["dl.partition"]), int(headers["dl.offset"]), _DEAD
    except (ValueError, KeyError):
        return None


async def _check_votes(bootstrap: str, names: Names, report: LedgerReport) -> None:
    rows: dict[int, dict[str, Any]] = {}
    async with scan(bootstrap, names.topic(STATE)) as state:
        async for partition, records in state.batches():
            for record in records:
                if record.key == PARTITION_ROW and record.value is not None:
                    rows[partition.partition] = orjson.loads(record.value)
    ledgers: dict[int, VoteLedger] = {}
    async with scan(bootstrap, names.topic(VOTES)) as votes:
        for partition, start in votes.starts.items():
            row = rows.get(partition.partition, {})
            counts = dict(row.get("counts", {}))
            ledgers[partition.partition] = VoteLedger(
                partition.partition,
                applied=row.get("applied", -1),
                read=counts.pop("read", 0),
                counts=counts,
                complete=start == 0,
            )
        async for partition, records in votes.batches():
            ledger = ledgers[partition.partition]
            for record in records:
                if _kind(record) not in _NO_VOTES:
                    if record.offset <= ledger.applied:
                        ledger.votes += 1
                    else:
                        ledger.pending += 1
    for ledger in ledgers.values():
        for difference in _vote_differences(ledger):
            report.add_difference(f"{names.topic(VOTES)}/{ledger.partition}: {difference}")
        report.votes.append(ledger)


def _vote_differences(ledger: VoteLedger) -> Iterator[str]:
    booked = sum(ledger.counts.get(name, 0) for name in _VOTE_COUNTS)
    if ledger.read != booked:
        yield f"{ledger.read} votes read, but {booked} counted, resent, duplicate or late"
    if ledger.complete and ledger.votes != ledger.read:
        yield f"{ledger.votes} votes up to offset {ledger.applied}, but {ledger.read} read"
    if ledger.pending:
        yield f"{ledger.pending} votes behind offset {ledger.applied} are not applied yet"


def _kind(record: Any) -> bytes | None:
    for name, value in record.headers:
        if name == KIND_HEADER:
            return bytes(value)
    return None


def _table(title: str, columns: list[str], rows: Iterable[list[Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else f"{cell:,}" for cell in row))
    return table
