"""Messages are CloudEvents, within the limit, and their evidence still adds up."""

import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from streams.core.errors import ContractError
from streams.core.records import Alert
from streams.delivery.client import BODY_BYTES
from streams.delivery.events import (
    CONTENT_TYPE,
    Message,
    alert_message,
    digest_message,
    trial_message,
)
from streams.delivery.subscriptions import Tally
from tests.support.alerts import AT, alert

SOURCE = "urn:tickertone:test"


def read(message: Message) -> Any:
    """What the CloudEvents SDK makes of it."""
    http = HTTPMessage(headers={"content-type": CONTENT_TYPE}, body=message.body)
    return from_structured(http, JSONFormat(), CloudEvent)


def test_an_alert_is_a_cloud_event_of_the_specification() -> None:
    made = alert_message(alert(), SOURCE)
    event = read(made)
    assert event.get_specversion() == "1.0"
    assert event.get_id() == made.id == alert().event_id
    assert event.get_source() == SOURCE
    assert event.get_type() == "tickertone.alert.confirmed"
    assert event.get_subject() == "ticker:PLUX"
    assert event.get_time().timestamp() * 1000 == AT
    assert event.get_datacontenttype() == "application/json"
    assert "textsomitted" not in json.loads(made.body)


def test_its_data_are_the_alert() -> None:
    data = json.loads(alert_message(alert(), SOURCE).body)["data"]
    given = alert()
    bare = given.numbers.model_copy(update={"move": None, "evidence": []})
    assert Alert.model_validate(data) == given.model_copy(update={"numbers": bare})


@pytest.mark.parametrize(("texts", "chars"), [(20, 200), (40, 400), (200, 200)])
def test_what_is_too_long_loses_its_least_texts_and_still_adds_up(texts: int, chars: int) -> None:
    given = alert(texts, chars)
    made = alert_message(given, SOURCE)
    assert len(made.body) <= BODY_BYTES
    event = json.loads(made.body)
    data = Alert.model_validate(event["data"])
    assert data.move is not None
    assert given.move is not None
    kept = data.move.contributions
    assert len(kept) == len(data.movers)
    assert sum(kept) + data.move.remainder == data.move.total == given.move.total
    left_out = texts - len(kept)
    assert data.move.remaining_texts == given.move.remaining_texts + left_out
    assert kept == given.move.contributions[left_out:], "the largest stay"
    omitted = left_out + len(given.evidence) - len(data.evidence)
    assert event.get("textsomitted", 0) == omitted
    assert (omitted == 0) == (texts == 20)


def test_an_alert_without_a_move_can_be_shortened_too() -> None:
    made = alert_message(alert(60, 200, move=None), SOURCE)
    assert len(made.body) <= BODY_BYTES
    assert json.loads(made.body)["data"]["movers"]


def test_what_can_not_be_shortened_is_an_error() -> None:
    with pytest.raises(ContractError, match="without texts"):
        alert_message(alert(summary="x" * 30_000), SOURCE)


def test_a_trial_is_a_cloud_event() -> None:
    event = read(trial_message("s1", AT, SOURCE))
    assert (event.get_type(), event.get_id()) == ("tickertone.test", f"test-s1-{AT}")


def test_a_digest_says_what_came_up_and_what_was_held_back() -> None:
    held = Tally(hour=1, sent=2, held=30, held_hour=1, named=("b.1", "b.2"))
    made = digest_message("s1", [alert(), alert(revision=2)], AT, SOURCE, held)
    assert read(made).get_type() == "tickertone.digest"
    data = json.loads(made.body)["data"]
    assert [row["event_id"] for row in data["alerts"]] == [
        alert().event_id,
        alert(revision=2).event_id,
    ]
    assert data["alerts"][0]["summary"] == alert().summary
    assert (data["held"], data["held_event_ids"]) == (30, ["b.1", "b.2"])
    assert digest_message("s1", [alert()], AT, SOURCE).id == made.id, "a repeat is recognised"


def test_a_digest_that_is_too_long_counts_what_it_leaves_out() -> None:
    alerts = [alert(revision=number) for number in range(1, 301)]
    made = digest_message("s1", alerts, AT, SOURCE)
    assert BODY_BYTES - 500 < len(made.body) <= BODY_BYTES
    event = json.loads(made.body)
    kept = [row["revision"] for row in event["data"]["alerts"]]
    assert kept == list(range(1, 301 - event["alertsomitted"]))
    with pytest.raises(ContractError, match="without alerts"):
        digest_message("s" * 30_000, alerts, AT, SOURCE)
