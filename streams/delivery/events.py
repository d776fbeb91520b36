"""What a receiver gets: CloudEvents 1.0 in structured JSON, at most 20 kB.

The envelope is plain JSON by the specification: eleven fields need no library, and the tests read
it back with the CloudEvents SDK.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from streams.core.errors import ContractError
from streams.core.records import Alert
from streams.delivery.client import BODY_BYTES

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
SCHEMA: Final = "urn:tickertone:schema:alerts.v1"


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
