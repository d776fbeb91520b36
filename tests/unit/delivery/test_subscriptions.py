"""What a subscription asks for, and what leaks of it."""

import json
from datetime import time
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import SecretStr, ValidationError

from streams.delivery.quiet import QuietHours
from streams.delivery.signing import new_secret, stored
from streams.delivery.subscriptions import (
    HOUR_MS,
    NAMED,
    About,
    AppriseTarget,
    Budget,
    Every,
    Filter,
    PreOpen,
    SseTarget,
    Subscription,
    Tally,
    WatchList,
    WebhookTarget,
    admitted,
    matches,
    said,
    wants,
)
from streams.delivery.tokens import issue
from streams.reference import schemas
from tests.support.alerts import AT, alert

OPEN_AT = AT + 9_000_000


def subscription(**changes: Any) -> Subscription:
    fields: dict[str, Any] = {
        "id": "s1",
        "owner": "ann",
        "name": "desk",
        "target": SseTarget(),
        "created_at": AT,
        "updated_at": AT,
    }
    return Subscription(**{**fields, **changes})


def digest_at(exchange: str, now: int) -> int:
    assert (exchange, now) == ("XNYS", AT)
    return OPEN_AT


ABOUT = About("industrials", frozenset({"dividend"}), 45.0)
PASSES = [
    {},
    {"subjects": ("ticker:PLUX",)},
    {"subjects": ("market", "ticker:PL*")},
    {"watch_list": WatchList(name="mine", subjects=("ticker:PLUX", "ticker:NOK"))},
    {"subjects": ("market",), "watch_list": WatchList(name="mine", subjects=("ticker:PLUX",))},
    {"sectors": ("energy", "industrials")},
    {"topics": ("dividend",)},
    {"rules": ("negative-surge",)},
    {"severities": ("warning", "critical")},
    {"channels": ("chirp",)},
    {"rarer_than_days": 44.9},
]
FAILS = [
    {"subjects": ("ticker:NOK",)},
    {"subjects": ("PLUX", "ticker:plux", "ticker:PLUX.L")},
    {"watch_list": WatchList(name="mine", subjects=("ticker:PL*",))},
    {"sectors": ("energy",)},
    {"topics": ("earnings",)},
    {"rules": ("buzz",)},
    {"severities": ("critical",)},
    {"channels": ("blog",)},
    {"rarer_than_days": 45.0},
]


@pytest.mark.parametrize("asked", PASSES)
def test_a_filter_lets_pass_what_it_names(asked: dict[str, Any]) -> None:
    assert wants(subscription(filter=Filter(**asked)), alert(), ABOUT)


@pytest.mark.parametrize("asked", FAILS)
def test_a_filter_stops_what_it_does_not_name(asked: dict[str, Any]) -> None:
    assert not wants(subscription(filter=Filter(**asked)), alert(), ABOUT)


@pytest.mark.parametrize("fails", FAILS[3:])
def test_every_kind_that_is_given_must_hold(fails: dict[str, Any]) -> None:
    together = {**PASSES[1], **fails}
    assert not wants(subscription(filter=Filter(**together)), alert(), ABOUT)


def test_the_topic_of_a_topics_own_alert_counts() -> None:
    asked = subscription(filter=Filter(topics=("earnings",)))
    assert wants(asked, alert(subject="topic:earnings"), About())
    assert not wants(asked, alert(subject="ticker:earnings"), About())


def test_what_is_unknown_is_neither_rare_nor_of_a_sector() -> None:
    assert not wants(subscription(filter=Filter(rarer_than_days=0.001)), alert(), About())
    assert not wants(subscription(filter=Filter(sectors=("energy",))), alert(), About())


@pytest.mark.parametrize("stopped", [{"paused": True}, {"disabled": "status_410"}])
def test_a_stopped_subscription_wants_nothing(stopped: dict[str, Any]) -> None:
    asked = subscription(**stopped)
    assert matches(asked, alert(), AT, ABOUT, digest_at=digest_at) is None


def test_a_schedule_says_when() -> None:
    quarter = 900_000
    due = {
        kind: matches(subscription(**fields), alert(), AT, ABOUT, digest_at=digest_at)
        for kind, fields in {
            "immediate": {},
            "every": {"schedule": Every(minutes=15)},
            "pre_open": {"schedule": PreOpen()},
        }.items()
    }
    assert due == {
        "immediate": AT,
        "every": (AT // quarter + 1) * quarter,
        "pre_open": OPEN_AT,
    }


def test_minutes_that_do_not_divide_a_day_begin_anew_at_midnight() -> None:
    asked = subscription(schedule=Every(minutes=700))
    day = AT // 86_400_000 * 86_400_000
    starts = [0, 699, 700, 1399, 1400, 1439]
    due = [
        matches(asked, alert(), day + 60_000 * minute, ABOUT, digest_at=digest_at)
        for minute in starts
    ]
    assert [((each or 0) - day) // 60_000 for each in due] == [700, 700, 1400, 1400, 1440, 1440]


def test_records_keep_to_their_schemas() -> None:
    token = issue("desk", "ann", ("read",), now=AT).record
    webhook = WebhookTarget(url="https://receiver.example/", secrets=(new_secret(),))
    quiet = QuietHours(begin=time(22), end=time(7), zone="UTC")
    for topic, record in (
        ("subscriptions.v1", subscription(target=webhook, quiet=quiet, budget=Budget(alerts=2))),
        ("subscriptions.v1", subscription(target=AppriseTarget(url=SecretStr("slack://x")))),
        ("tokens.v1", token),
    ):
        schema: Any = Draft202012Validator(json.loads(schemas()[f"{topic}.schema.json"]))
        fields = json.loads(stored(record))
        assert not list(schema.iter_errors(fields))
        assert list(schema.iter_errors({**fields, "id": None}))


def test_what_is_over_the_cap_is_counted_named_and_said_once() -> None:
    asked, tally = subscription(hourly_cap=2), Tally()
    outcomes = []
    for number in range(30):
        tally, goes = admitted(tally, asked, f"a.{number}", AT + number)
        outcomes.append(goes)
    assert outcomes == [True, True] + [False] * 28
    assert tally.held == 28
    assert tally.named == tuple(f"a.{number}" for number in range(2, 2 + NAMED))
    end = (AT // HOUR_MS + 1) * HOUR_MS
    assert tally.say_at == end
    tally, goes = admitted(tally, asked, "b.1", end)
    assert goes
    assert (tally.held, tally.say_at) == (28, end), "it is due as long as it is not said"
    for number in (2, 3):
        tally, goes = admitted(tally, asked, f"b.{number}", end)
    assert (goes, tally.held, tally.say_at) == (False, 29, end)
    assert said(tally).say_at is None
    assert said(tally).sent == 2


def test_a_subscription_comes_back_from_its_topic_and_shows_no_secret() -> None:
    webhook = WebhookTarget(url="https://receiver.example/?key=hush", secrets=(new_secret(),))
    chat = AppriseTarget(url=SecretStr("slack://hush/hush"))
    for target in (webhook, chat, SseTarget()):
        kept = subscription(target=target, budget=Budget(alerts=2), schedule=Every(minutes=5))
        assert Subscription.model_validate_json(stored(kept)) == kept
        assert "hush" not in repr(kept)
        assert "hush" not in str(kept)
        dumped = kept.model_dump_json()
        assert "slack" not in dumped
        if isinstance(target, WebhookTarget):
            assert target.secrets[0].secret.get_secret_value() not in dumped


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "s.1"},
        {"owner": ""},
        {"hourly_cap": 0},
        {"schedule": {"kind": "every", "minutes": 0}},
        {"schedule": {"kind": "now"}},
        {"filter": {"rarer_than_days": float("inf")}},
        {"filter": {"severities": ["loud"]}},
        {"quiet": {"begin": "22:00", "end": "07:00", "zone": "Mars/Base"}},
        {"quiet": {"begin": "22:00", "end": "07:00", "zone": "../../etc/passwd"}},
        {"quiet": {"begin": "22:00", "end": "22:00", "zone": "UTC"}},
        {"quiet": {"begin": "22:00:30", "end": "07:00", "zone": "UTC"}},
        {"target": {"kind": "webhook", "url": "https://receiver.example/hush", "secrets": []}},
        {"target": {"kind": "webhook", "url": "x", "secrets": [{"secret": "whsec_hush"}]}},
    ],
)
def test_what_is_not_valid_is_refused_without_being_quoted(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        subscription(**wrong)
    assert "hush" not in str(caught.value)
