"""Dead letters: the record that went wrong, byte for byte, with the story of it in its headers.

Key and value stay untouched, so that replaying is a byte copy and nothing is lost in between.
"""

import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

MAX_VALUE_BYTES: Final = 3 << 19
"""1.5 MiB; originals above it are cut, and the header `dl.cut` says how long they were."""

MAX_ERROR_BYTES: Final = 1024
VERSION: Final = "1"
REPLAYED_HEADER: Final = "dl.replayed"
"""On a replayed text: the id of the dead letter it is a copy of."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "tickertone:dead-letter")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_STRINGS = {
    "dl.topic": "topic",
    "dl.stage": "stage",
    "dl.reason": "reason",
    "dl.error": "error",
    "dl.field": "field",
    "dl.service": "service",
    "dl.model": "model",
}
_NUMBERS = {
    "dl.partition": "partition",
    "dl.offset": "offset",
    "dl.timestamp_ms": "timestamp_ms",
    "dl.attempts": "attempts",
}

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that could not be processed, and why."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """the Kafka timestamp of the original record"""
    key: bytes | None
    value: bytes | None
    stage: str
    """decode or score"""
    reason: str
    """a value of `streams.core.errors.Reason`, the same word as the metric's label"""
    error: str = ""
    """the error's class and message, without payload or traceback"""
    field: str = ""
    """path of the faulty field where the schema is violated"""
    service: str = ""
    model: str = ""
    failed_at_ms: int = 0
    attempts: int = 1
    cut: int | None = None
    """length in bytes of the whole value, where only its beginning is kept"""

    @property
    def id(self) -> str:
        """The id, made of the place of the original: repeating the failure makes no new one."""
        place = f"{self.topic}/{self.partition}/{self.offset}"
        return str(uuid.uuid5(_NAMESPACE, place.encode("utf-8", "replace").decode()))

    @property
    def origin(self) -> tuple[str, int, int]:
        """Topic, partition and offset of the original."""
        return self.topic, self.partition, self.offset

    def bounded(self) -> "DeadLetter":
        """Return the letter as it fits on the topic, value and error cut where too long."""
        error = self.error.encode("utf-8", "replace")[:MAX_ERROR_BYTES].decode("utf-8", "ignore")
        if self.value is None or len(self.value) <= MAX_VALUE_BYTES:
            return self if error == self.error else replace(self, error=error)
        whole = len(self.value) if self.cut is None else self.cut
        return replace(self, error=error, value=self.value[:MAX_VALUE_BYTES], cut=whole)

    def to_headers(self) -> list[tuple[str, bytes]]:
        """Return the headers that carry everything but key and value, in a fixed order."""
        values = {
            "dl.version": VERSION,
            "dl.id": self.id,
            "dl.failed_at": _rfc3339(self.failed_at_ms),
            **{header: getattr(self, name) for header, name in _STRINGS.items()},
            **{header: str(getattr(self, name)) for header, name in _NUMBERS.items()},
        }
        if self.cut is not None:
            values["dl.cut"] = str(self.cut)
        return [(header, value.encode("utf-8", "replace")) for header, value in values.items()]

    @classmethod
    def from_headers(
        cls, headers: Iterable[tuple[str, bytes]], key: bytes | None, value: bytes | None
    ) -> "DeadLetter":
        """Return the dead letter that a record of texts.dead.v1 holds.

        Raises:
            ValueError: headers are missing or are not ours.
        """
        given = {name: content.decode("utf-8", "replace") for name, content in headers}
        try:
            if given["dl.version"] != VERSION:
                raise ValueError(f"dead letter of version {given['dl.version']!r}")
            strings = {name: given[header] for header, name in _STRINGS.items()}
            numbers = {name: int(given[header]) for header, name in _NUMBERS.items()}
            failed_at = datetime.fromisoformat(given["dl.failed_at"])
        except KeyError as error:
            raise ValueError(f"no dead letter: the header {error} is missing") from None
        return cls(
            topic=strings["topic"],
            partition=numbers["partition"],
            offset=numbers["offset"],
            timestamp_ms=numbers["timestamp_ms"],
            key=key,
            value=value,
            stage=strings["stage"],
            reason=strings["reason"],
            error=strings["error"],
            field=strings["field"],
            service=strings["service"],
            model=strings["model"],
            failed_at_ms=(failed_at - _EPOCH) // _MILLISECOND,
            attempts=numbers["attempts"],
            cut=int(given["dl.cut"]) if "dl.cut" in given else None,
        )


class DeadLetterBudget:
    """Tells when so many texts die that something else must be wrong.

    Then the stage holds and says so, instead of emptying a topic into the dead letters. Mutable;
    one per process, not thread-safe.
    """

    def __init__(self, window: int, ratio: float, run: int) -> None:
        """Set the limits.

        Args:
            window: Texts over which the share is taken; no share is known before it is full.
            ratio: Share of dead texts above which the budget is spent.
            run: Dead texts in a row that spend the budget by themselves.
        """
        self._recent: deque[bool] = deque(maxlen=window)
        self._limit = ratio * window
        self._run = run
        self._dead = 0
        self._in_a_row = 0

    def record(self, dead: bool) -> None:
        """Count one text that reached its end."""
        if len(self._recent) == self._recent.maxlen:
            self._dead -= self._recent[0]
        self._recent.append(dead)
        self._dead += dead
        self._in_a_row = self._in_a_row + 1 if dead else 0

    def accept(self) -> None:
        """Begin anew: an operator has looked at the flood and lets it through."""
        self._recent.clear()
        self._dead = self._in_a_row = 0

    @property
    def spent(self) -> bool:
        """Whether to hold."""
        full = len(self._recent) == self._recent.maxlen
        return self._in_a_row >= self._run or (full and self._dead > self._limit)


def _rfc3339(time_ms: int) -> str:
    return (_EPOCH + time_ms * _MILLISECOND).isoformat(timespec="milliseconds")
