"""One attempt to deliver a message to a webhook, and what follows from it.

Source: the Standard Webhooks specification, section Operational considerations.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streams.delivery.client import Answer, CallFailed, Client
from streams.delivery.events import CONTENT_TYPE, Message
from streams.delivery.guard import TargetRefused
from streams.delivery.retries import pause_ms, retry_after_ms
from streams.delivery.signing import SigningSecret, signed

GONE: Final = 410
_BUSY: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Delivered:
    """The receiver has taken it."""


@dataclass(frozen=True)
class RetryAt:
    """It was not taken; the same id is sent again later."""

    at: int
    """milliseconds since the epoch"""
    cause: str
    busy: bool = False
    """whether the receiver is overloaded, so that its other messages had better wait as well"""


@dataclass(frozen=True)
class Disabled:
    """The receiver is gone for good (410): send it nothing any more."""

    cause: str


@dataclass(frozen=True)
class Failed:
    """It was not taken and is not tried again."""

    cause: str


Outcome = Delivered | RetryAt | Disabled | Failed


@dataclass(frozen=True)
class Attempt:
    """What the ledger keeps of one attempt."""

    number: int
    outcome: Outcome
    status: int | None
    """of HTTP, where there was an answer"""
    latency_ms: int


async def attempt(
    client: Client,
    url: str,
    secrets: Sequence[SigningSecret],
    message: Message,
    *,
    number: int,
    drawn: float,
    now: Callable[[], int],
) -> Attempt:
    """Send a message once.

    Args:
        number: Of this attempt for this message and receiver, from 1.
        drawn: A number in [0, 1), for the jitter.
        now: The clock, in milliseconds since the epoch.
    """
    headers = {
        "content-type": CONTENT_TYPE,
        "user-agent": "tickertone",
        "accept-encoding": "identity",
        **signed(secrets, message.id, message.body, now()),
    }
    began = time.perf_counter()
    outcome: Outcome
    status = None
    try:
        answer = await client.post(url, message.body, headers)
    except TargetRefused as refused:
        # What a name resolves to may be a mistake of an hour; what the URL says is not.
        cause = refused.reason.value
        outcome = Failed(cause) if refused.lasting else _again(number, drawn, now(), cause)
    except CallFailed as failed:
        outcome = _again(number, drawn, now(), failed.trouble.value)
    else:
        status = answer.status
        outcome = judged(answer, number, drawn, now())
    return Attempt(number, outcome, status, round((time.perf_counter() - began) * 1000))


def judged(answer: Answer, number: int, drawn: float, now: int) -> Outcome:
    """Return what an answer means: 2xx is success, 410 the end, all else a failure.

    Redirects are failures too; a receiver that moves changes its subscription.
    """
    cause = f"status_{answer.status}"
    if 200 <= answer.status < 300:
        return Delivered()
    if answer.status == GONE:
        return Disabled(cause)
    asked = retry_after_ms(answer.retry_after, now)
    return _again(number, drawn, now, cause, asked, busy=answer.status in _BUSY)


def _again(
    number: int,
    drawn: float,
    now: int,
    cause: str,
    retry_after: int | None = None,
    *,
    busy: bool = False,
) -> RetryAt | Failed:
    pause = pause_ms(number, drawn, retry_after)
    return Failed(cause) if pause is None else RetryAt(now + pause, cause, busy)
