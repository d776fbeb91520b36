"""What can go wrong, shaped by what must happen next.

TickertoneError
├── RecordError            this record is wrong        → dead letter
│   ├── UndecodableRecord      not UTF-8, not JSON, not an object
│   ├── SchemaViolation        JSON, but not a text record (carries the field)
│   ├── ImplausibleTime        event time before 1990 or after ingestion + 5 min
│   ├── UnusableText           nothing left after normalising
│   └── UnscorableText         the model refuses this one text
├── TransientError         the world is wrong          → hold, retry in place
│   ├── ClassifierUnavailable  connect, deadline, overloaded, not ready
│   ├── PublishFailed          the broker did not confirm
│   └── SourceUnavailable      a connector's source does not answer as it should
├── ContractError          we are wrong                → stop loudly
│   ├── BadModelOutput         shape, NaN, rows that do not sum to one
│   ├── StateMismatch          stored state belongs to another set of topics
│   ├── LostRecords            retention removed records that nobody has read
│   └── Stalled                input waits, and commits stand still
└── ConfigurationError     before anything starts      → exit code 2
    ├── TopicMissing           the broker has no such topic
    ├── SourceGone             a connector's source says that it ended
    └── Unreachable            nobody answers there        → exit code 3, a restart may mend it
        ├── BrokerUnreachable
        └── GatewayUnreachable
"""

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Why a record became a dead letter; also the label of the metric."""

    UNDECODABLE = "undecodable"
    SCHEMA = "schema"
    IMPLAUSIBLE_TIME = "implausible_time"
    UNUSABLE_TEXT = "unusable_text"
    UNSCORABLE = "unscorable"


class TickertoneError(Exception):
    """The root of all errors that Tickertone raises on purpose."""


class RecordError(TickertoneError):
    """This record is wrong: it goes to the dead letters, the others go on."""

    reason: ClassVar[Reason]

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class UndecodableRecord(RecordError):
    """The value is not UTF-8, not JSON or not an object."""

    reason = Reason.UNDECODABLE


class SchemaViolation(RecordError):
    """The value is JSON but not a text record; `field` is the path of the first fault."""

    reason = Reason.SCHEMA


class ImplausibleTime(RecordError):
    """The event time lies before 1990 or more than five minutes after ingestion."""

    reason = Reason.IMPLAUSIBLE_TIME


class UnusableText(RecordError):
    """Nothing is left of the text after normalising."""

    reason = Reason.UNUSABLE_TEXT


class UnscorableText(RecordError):
    """The model refuses this one text."""

    reason = Reason.UNSCORABLE


class TransientError(TickertoneError):
    """The world is wrong: hold and retry in place."""


class ClassifierUnavailable(TransientError):
    """The model server does not answer in time, is overloaded or not ready."""


class PublishFailed(TransientError):
    """The broker did not confirm a record."""


class SourceUnavailable(TransientError):
    """A connector's source does not answer, or not as it should: try again later."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        """Say why.

        Args:
            message: Without query strings and secrets.
            retry_after_s: What the source asked for; 0 if it did not say.
        """
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ContractError(TickertoneError):
    """We are wrong: stop loudly, commit nothing."""


class BadModelOutput(ContractError):
    """The model answered something that is not a probability distribution."""


class StateMismatch(ContractError):
    """Stored state belongs to other topics, another partition count or a newer schema."""


class LostRecords(ContractError):
    """Records were removed by retention before they were read: offsets [first, end)."""

    def __init__(self, topic: str, partition: int, first: int, end: int) -> None:
        """Name the hole, and the way past it.

        Args:
            topic: Without the prefix.
            partition: Its number.
            first: First offset that is missing.
            end: First offset that can be read.
        """
        super().__init__(
            f"{topic}/{partition}: the records of offsets {first} … {end - 1} were removed by "
            "retention before they were read. To go on without them: "
            f"tickertone accept hole {topic}/{partition} --from {first} --to {end} --why '…'"
        )
        self.topic, self.partition, self.first, self.end = topic, partition, first, end


class Stalled(ContractError):
    """Input waits, and no commit of this process has moved for too long."""


class ConfigurationError(TickertoneError):
    """The settings or the surroundings do not allow a start; the message says what to do."""


class TopicMissing(ConfigurationError):
    """The broker has no such topic."""


class SourceGone(ConfigurationError):
    """A connector's source says that it ended for good (410)."""


class Unreachable(ConfigurationError):
    """Nobody answers at an address."""


class BrokerUnreachable(Unreachable):
    """No broker answers at the address of the settings."""


class GatewayUnreachable(Unreachable):
    """No gateway answers at the address."""


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors that a group holds, however deep, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]
