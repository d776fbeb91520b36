"""Looking at dead letters and sending them back: what `tickertone dead-letters` does.

The proof that a dead letter was sent back is the header `dl.replayed` on the text itself: the copy
goes to the partition that the original came from, so looking behind the original's offset finds
it. No second list can disagree with it.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.adapters.kafka_scan import scan
from streams.core.deadletter import REPLAYED_HEADER, DeadLetter
from streams.core.errors import ConfigurationError, PublishFailed
from streams.core.topics import DEAD, INPUTS, Names

PREVIEW_CHARS: Final = 80
_SHOWN_BYTES: Final = 64 << 10
_MAX_REQUEST_BYTES: Final = 2 << 20
_UNCONFIRMED: Final = 100


@dataclass(frozen=True, slots=True)
class DeadEntry:
    """A line of the list: what is worth knowing before looking at the letter."""

    id: str
    topic: str
    partition: int
    offset: int
    stage: str
    reason: str
    error: str
    failed_at_ms: int
    size_bytes: int
    preview: str
    """the beginning of the value, safe for a terminal"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters to send back: those that match every condition given."""

    ids: frozenset[str] = frozenset()
    """empty: any"""
    reason: str | None = None

    def __contains__(self, letter: DeadLetter) -> bool:
        """Return whether the letter is selected."""
        return (not self.ids or letter.id in self.ids) and (
            self.reason is None or letter.reason == self.reason
        )


@dataclass(slots=True)
class ReplayedReport:
    """What became of the selected dead letters; every list holds ids."""

    sent: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    """sent back before"""
    cut: list[str] = field(default_factory=list)
    """not whole any more, so there is nothing to send back"""
    doubtful: list[str] = field(default_factory=list)
    """older than what the input topic still holds: may have been sent back before"""
    absent: list[str] = field(default_factory=list)
    """asked for by id, but not on the topic"""


async def list_dead(
    bootstrap: str, names: Names, reason: str | None = None, limit: int = 100
) -> list[DeadEntry]:
    """Return the newest dead letters, the newest first.

    Raises:
        ConfigurationError: the broker or the topic is missing.
    """
    newest: list[tuple[int, str, DeadEntry]] = []  # a heap, the oldest first
    seen: set[str] = set()
    async with scan(bootstrap, names.topic(DEAD)) as dead:
        async for _, records in dead.batches():
            for record in records:
                letter = _letter(record)
                # A crash can leave the same dead letter twice.
                if letter and (reason is None or letter.reason == reason) and letter.id not in seen:
                    seen.add(letter.id)
                    heapq.heappush(newest, (letter.failed_at_ms, letter.id, _entry(letter)))
                    if len(newest) > limit:
                        heapq.heappop(newest)
    return [entry for _, _, entry in sorted(newest, reverse=True)]


async def show_dead(bootstrap: str, names: Names, which: str) -> DeadLetter:
    """Return a dead letter by its id or by its origin, `topic/partition/offset`.

    Raises:
        ConfigurationError: there is no such dead letter, or the broker or topic is missing.
    """
    async with scan(bootstrap, names.topic(DEAD)) as dead:
        async for _, records in dead.batches():
            for record in records:
                letter = _letter(record)
                if letter and which in (letter.id, "/".join(map(str, letter.origin))):
                    return letter
    raise ConfigurationError(f"no dead letter {which} on {names.topic(DEAD)}")


def render(letter: DeadLetter) -> str:
    """Return a dead letter as lines for a terminal; nothing in it can steer the terminal."""
    failed = datetime.fromtimestamp(letter.failed_at_ms / 1000, UTC)
    lines = {
        "id": letter.id,
        "origin": "/".join(map(str, letter.origin)),
        "reason": letter.reason,
        "error": letter.error,
        "field": letter.field,
        "stage": letter.stage,
        "failed at": failed.isoformat(timespec="milliseconds"),
        "attempts": str(letter.attempts),
        "service": letter.service,
        "model": letter.model,
        "cut": "" if letter.cut is None else f"only the beginning of {letter.cut} bytes is kept",
        "key": "" if letter.key is None else printable(letter.key),
    }
    head = [f"{name:>10}: {printable(value)}" for name, value in lines.items() if value]
    if letter.value is None:
        return "\n".join([*head, "", "(no value)"])
    rest = len(letter.value) - _SHOWN_BYTES
    body = printable(letter.value[:_SHOWN_BYTES], keep="\n")
    return "\n".join([*head, "", body, *([f"… {rest} more bytes"] if rest > 0 else [])])


def printable(raw: bytes | str, keep: str = "") -> str:
    """Return text in which everything a terminal could obey is written as an escape.

    That is control and format characters (colours, cursor moves, bidirectional overrides), and
    bytes that are no UTF-8.
    """
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


async def replay_dead(
    bootstrap: str,
    names: Names,
    selection: Selection,
    *,
    force: bool = False,
    idempotent: bool = False,
) -> ReplayedReport:
    """Send dead letters back to where they came from, key and value byte for byte.

    Args:
        bootstrap: Address of the broker.
        names: Prefix of the topics.
        selection: Which ones.
        force: Also those that were, or may have been, sent back before.
        idempotent: Let the broker drop what a retry repeats (not on Tansu).

    Raises:
        ConfigurationError: the broker or a topic is missing.
        PublishFailed: the broker did not confirm; asking again sends only what is missing.
    """
    report = ReplayedReport()
    wanted = await _select(bootstrap, names, selection, report)
    if not force:
        await _drop_replayed(bootstrap, wanted, report)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=idempotent,
        max_request_size=_MAX_REQUEST_BYTES,
    )
    try:
        await producer.start()
        async with scan(bootstrap, names.topic(DEAD)) as dead:
            pending: deque[tuple[str, Any]] = deque()
            async for _, records in dead.batches():
                for record in records:
                    letter = _letter(record)
                    if letter is None or wanted.pop(letter.id, None) is None:
                        continue
                    topic, partition, _ = _target(names, letter)
                    # A batch of one: `send` refuses a record without key and value.
                    batch = producer.create_batch()
                    headers = [(REPLAYED_HEADER, letter.id.encode())]
                    batch.append(
                        key=letter.key, value=letter.value, timestamp=None, headers=headers
                    )
                    sending = await producer.send_batch(batch, topic, partition=partition)
                    pending.append((letter.id, sending))
                    if len(pending) >= _UNCONFIRMED:
                        await _confirm(pending, report)
            await _confirm(pending, report)
    except KafkaError as error:
        raise PublishFailed(
            f"{len(report.sent)} dead letters were sent back, then: {error!r}"
        ) from error
    finally:
        await producer.stop()
    return report


async def _select(
    bootstrap: str, names: Names, selection: Selection, report: ReplayedReport
) -> dict[str, tuple[str, int, int]]:
    """Return id -> origin of the selected dead letters that are whole."""
    wanted: dict[str, tuple[str, int, int]] = {}
    cut: dict[str, None] = {}
    async with scan(bootstrap, names.topic(DEAD)) as dead:
        async for _, records in dead.batches():
            for record in records:
                letter = _letter(record)
                if letter is not None and letter in selection:
                    if letter.cut is None:
                        wanted[letter.id] = _target(names, letter)
                    else:
                        cut[letter.id] = None
    report.cut = list(cut)
    report.absent = sorted(selection.ids - wanted.keys() - cut.keys())
    return wanted


async def _drop_replayed(
    bootstrap: str, wanted: dict[str, tuple[str, int, int]], report: ReplayedReport
) -> None:
    """Take those out of `wanted` that were sent back, or for which nobody can tell."""
    starts: dict[tuple[str, int], int] = {}
    for topic, partition, offset in wanted.values():
        place = topic, partition
        starts[place] = min(starts.get(place, offset + 1), offset + 1)
    if not starts:
        return
    replayed: set[str] = set()
    async with scan(bootstrap, *sorted({topic for topic, _ in starts}), starts=starts) as inputs:
        began = {(p.topic, p.partition): start for p, start in inputs.starts.items()}
        async for _, records in inputs.batches():
            for record in records:
                replayed.update(_replayed_ids(record.headers))
    for letter_id, (topic, partition, offset) in list(wanted.items()):
        if letter_id in replayed:
            report.already.append(letter_id)
        elif began.get((topic, partition), 0) > offset + 1:
            report.doubtful.append(letter_id)
        else:
            continue
        del wanted[letter_id]


async def _confirm(pending: deque[tuple[str, Any]], report: ReplayedReport) -> None:
    while pending:
        letter_id, sending = pending.popleft()
        await sending
        report.sent.append(letter_id)


def _replayed_ids(headers: Iterable[tuple[str, bytes]]) -> list[str]:
    return [value.decode("ascii", "replace") for name, value in headers if name == REPLAYED_HEADER]


def _target(names: Names, letter: DeadLetter) -> tuple[str, int, int]:
    """Return where the original lay.

    Raises:
        ConfigurationError: not on an input topic; a forged header must not choose where we write.
    """
    topic = names.topic(letter.topic)
    if names.plain(topic) not in INPUTS:
        raise ConfigurationError(f"dead letter {letter.id} came from no input topic")
    return topic, letter.partition, letter.offset


def _letter(record: Any) -> DeadLetter | None:
    try:
        return DeadLetter.from_headers(record.headers, record.key, record.value)
    except ValueError:
        return None  # not ours; the ledger reports it


def _entry(letter: DeadLetter) -> DeadEntry:
    value = letter.value or b""
    return DeadEntry(
        id=letter.id,
        topic=printable(letter.topic),
        partition=letter.partition,
        offset=letter.offset,
        stage=printable(letter.stage),
        reason=printable(letter.reason),
        error=printable(letter.error),
        failed_at_ms=letter.failed_at_ms,
        size_bytes=letter.cut if letter.cut is not None else len(value),
        preview=printable(value[: 2 * PREVIEW_CHARS])[:PREVIEW_CHARS],
    )
