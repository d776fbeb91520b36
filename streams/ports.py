"""What the use cases ask of the outside world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.core.errors import UnscorableText

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record as it lay on the broker."""

    topic: str
    """without the prefix"""
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to send. Without a partition the key decides, as in every Kafka client."""

    topic: str
    """without the prefix"""
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """One text's probabilities as integers of 10⁻⁶; each tuple sums to about a million."""

    sentiment: tuple[int, int, int]
    """negative, neutral, positive"""
    topic: tuple[int, ...]
    """in the order of `streams.core.labels.TOPICS`"""


class Classifier(Protocol):
    """Scores texts. Answers do not depend on what else is in the batch."""

    async def classify(self, texts: Sequence[str]) -> list[Prediction | UnscorableText]:
        """Return one answer per text, in order. Texts are at most `MAX_CHARS` long.

        Raises:
            ClassifierUnavailable: after the capped retries; nothing was scored.
            BadModelOutput: the server's answers are no distributions, even for a good text.
        """
        ...

    async def ready(self) -> bool:
        """Return whether a real inference just succeeded."""
        ...

    @property
    def model(self) -> str:
        """Name and version of the model, such as `opinion/1`."""
        ...
