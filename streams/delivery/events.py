"""What a receiver gets: CloudEvents 1.0 in structured JSON, at most 20 kB.

The envelope is plain JSON by the specification: eleven fields need no library, and the tests read
it back with the CloudEvents SDK.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Final

import orjson

from streams.core.errors import ContractError
from streams.core.records import Alert
from streams.delivery.client import BODY_BYTES
from streams.delivery.subscriptions import Tally

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
SCHEMA: Final = "urn:tickertone:schema:alerts.v1"


_IN_DIGEST: Final = {
    "id", "revision", "state", "severity", "rule", "subject", "minute", "summary", "verdict"
}  # fmt: skip


@dataclass(frozen=True)
class Message:
    """One thing to say to receivers, the same bytes to each and at each attempt."""

    id: str
    body: bytes


def alert_message(alert: Alert, source: str) -> Message:
    """Return the message about one revision of an alert; its id is the event id.

    Texts are left out, from the least, until it fits; what a move consists of still adds up, as
    the contributions of texts left out go to the remainder. `textsomitted` says how many.

    Args:
        source: URI reference of this service; with the id it is unique.

    Raises:
        ContractError: it does not fit without any text either.
    """
    data = alert.model_dump(mode="json", exclude={"numbers": {"move", "evidence"}})
    omitted = 0
    while True:
        body = _envelope(
            alert.event_id,
            source,
            f"tickertone.alert.{alert.state}",
            alert.stages.get("alerted", (alert.minute + 1) * 60_000),
            data,
            subject=alert.subject,
            dataschema=SCHEMA,
            **({"textsomitted": omitted} if omitted else {}),
        )
        if len(body) <= BODY_BYTES:
            return Message(alert.event_id, body)
        if not _omit_text(data):
            raise ContractError(f"alert {alert.event_id} is {len(body)} bytes without texts")
        omitted += 1


def digest_message(
    subscription: str, alerts: Sequence[Alert], at: int, source: str, held: Tally | None = None
) -> Message:
    """Return the message that says several alerts at once, or what a cap has held back.

    Of each alert it has what a reader needs to choose; the whole one is at the gateway. What does
    not fit is left out from the end and counted in `alertsomitted`.

    Args:
        at: When it is due, milliseconds since the epoch; with the subscription it makes the id.
        held: What was held back since the message before.

    Raises:
        ContractError: it does not fit without any alert either.
    """
    made = f"digest-{subscription}-{at}"
    rows = [
        {"event_id": alert.event_id, **alert.model_dump(mode="json", include=_IN_DIGEST)}
        for alert in alerts
    ]

    def body(kept: int) -> bytes:
        data = {
            "subscription": subscription,
            "alerts": rows[:kept],
            "held": held.held if held else 0,
            "held_event_ids": list(held.named) if held else [],
        }
        omitted = len(rows) - kept
        extra = {"alertsomitted": omitted} if omitted else {}
        return _envelope(made, source, "tickertone.digest", at, data, **extra)

    room = BODY_BYTES - len(body(0))
    if room < 0:
        raise ContractError(f"digest {made} does not fit without alerts")
    ends = accumulate(len(orjson.dumps(row)) + 1 for row in rows)
    return Message(made, body(sum(end <= room for end in ends)))


def trial_message(subscription: str, now: int, source: str) -> Message:
    """Return a message that only tries a subscription out."""
    made = f"test-{subscription}-{now}"
    data = {"subscription": subscription, "summary": "This is a test message; nothing happened."}
    return Message(made, _envelope(made, source, "tickertone.test", now, data))


def _envelope(
    event_id: str, source: str, kind: str, at: int, data: dict[str, Any], **more: Any
) -> bytes:
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": kind,
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            **more,
            "data": data,
        }
    )


def _omit_text(data: dict[str, Any]) -> bool:
    """Take the least text out of an alert's fields; say whether there was one."""
    movers, evidence, move = data["movers"], data["evidence"], data["move"]
    if evidence and len(evidence) >= len(movers):
        evidence.pop()
    elif movers and move:
        sizes = [abs(each) for each in move["contributions"]]
        least = len(sizes) - 1 - sizes[::-1].index(min(sizes))
        movers.pop(least)
        move["remainder"] += move["contributions"].pop(least)
        move["remaining_texts"] += 1
    elif movers:
        movers.pop()
    else:
        return False
    return True
