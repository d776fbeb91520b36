"""What a connector is, and what it gives to the process that runs it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.ports import Outgoing


@dataclass(frozen=True, slots=True)
class Batch:
    """What a connector has read, and where to go on once it stands on Kafka."""

    texts: tuple[Outgoing, ...]
    position: bytes
    """JSON; means: everything before this is in `texts` of this batch or of earlier ones"""
    skipped: int = 0
    """items that could not become texts (empty, or without what the mapping wants)"""


class Connector(Protocol):
    """Reads one place in the world."""

    def batches(self, position: bytes | None) -> AsyncGenerator[Batch]:
        """Yield batches without end, waiting where there is nothing new.

        The next batch is asked for when the last one stands on Kafka. After an error the generator
        is made anew from the last position that stands.

        Args:
            position: Of the last batch that stands; None at the very first start.

        Raises:
            SourceUnavailable: try again later.
            SourceGone: there is nothing to try again.
            ConfigurationError: the position is not one of this connector.
        """
        ...


class Sink(Protocol):
    """Where texts and positions go."""

    async def positions(self) -> dict[str, bytes]:
        """Return the position of every connector that has one.

        Raises:
            BrokerUnreachable: nobody answers.
        """
        ...

    async def put(self, name: str, texts: Sequence[Outgoing], position: bytes) -> None:
        """Return when the texts stand, and after them the position; holds until they do.

        Whatever goes wrong in between, a position never stands without the texts before it.
        """
        ...
