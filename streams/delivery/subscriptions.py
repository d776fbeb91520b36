"""Subscriptions: who wants which alerts, when, and where. All pure; "now" is an argument."""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from streams.core.records import Alert
from streams.delivery.quiet import QuietHours
from streams.delivery.signing import Hidden, SigningSecret

HOUR_MS: Final = 3_600_000
NAMED: Final = 20
"""How many alerts that were held back are named; the others are counted."""

Short = Annotated[str, Field(min_length=1, max_length=100)]
Names = Annotated[tuple[Short, ...], Field(max_length=1000)]
Severity = Literal["info", "warning", "critical"]


class _Record(BaseModel):
    model_config = ConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class WatchList(_Record):
    """Subjects that somebody watches, under a name."""

    name: Short
    subjects: Annotated[tuple[Short, ...], Field(min_length=1, max_length=1000)]


class Filter(_Record):
    """Which alerts: each kind that is given must hold, by any of its entries."""

    subjects: Names = ()
    """names or patterns with *; together with the watch-list they name the subjects"""
    watch_list: WatchList | None = None
    sectors: Names = ()
    topics: Names = ()
    """topics of the alert's texts, or of its subject, such as earnings"""
    rules: Names = ()
    severities: tuple[Severity, ...] = ()
    channels: Names = ()
    """at least one of the alert's texts came by one of them"""
    rarer_than_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """only alerts whose return period is longer; one whose period is unknown is not rare"""


class Immediately(_Record):
    """Each alert by itself, as soon as it is there."""

    kind: Literal["immediate"] = "immediate"


class Every(_Record):
    """What has come up, every so many minutes from midnight UTC on."""

    kind: Literal["every"] = "every"
    minutes: Annotated[int, Field(ge=1, le=1440)]


class PreOpen(_Record):
    """What has come up since the last one, before an exchange opens."""

    kind: Literal["pre_open"] = "pre_open"
    exchange: Annotated[str, Field(pattern=r"^[A-Z0-9]{4}$")] = "XNYS"
    """market identifier code (ISO 10383)"""


Schedule = Annotated[Immediately | Every | PreOpen, Field(discriminator="kind")]


class WebhookTarget(_Record):
    """A URL of the subscriber's, called by Standard Webhooks."""

    kind: Literal["webhook"] = "webhook"
    url: Annotated[str, Field(max_length=2048, repr=False)]
    """kept out of logs: some receivers put a password into it"""
    secrets: Annotated[tuple[SigningSecret, ...], Field(min_length=1, max_length=2)]


class AppriseTarget(_Record):
    """A chat or a mailbox, by a URL of Apprise."""

    kind: Literal["apprise"] = "apprise"
    url: Hidden


class SseTarget(_Record):
    """The live stream of whoever is connected."""

    kind: Literal["sse"] = "sse"


Target = Annotated[WebhookTarget | AppriseTarget | SseTarget, Field(discriminator="kind")]


class Budget(_Record):
    """At most so many alerts in so many days, new or escalated, by the rarest."""

    alerts: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class Subscription(_Record):
    """One subscription (subscriptions.v1, key = subscription id)."""

    id: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")]
    owner: Short
    """only tokens of this owner see it"""
    name: Short
    filter: Filter = Filter()
    schedule: Schedule = Immediately()
    quiet: QuietHours | None = None
    """what falls due then waits until they are over"""
    hourly_cap: Annotated[int, Field(ge=1, le=1000)] | None = None
    """messages in one hour of UTC; what is over is held back, counted and said"""
    budget: Budget | None = None
    paused: bool = False
    disabled: str | None = None
    """why the service itself has stopped it, such as status_410"""
    target: Target
    created_at: int
    updated_at: int


@dataclass(frozen=True)
class About:
    """What is known of an alert beyond its record."""

    sector: str | None = None
    topics: frozenset[str] = frozenset()
    return_period_days: float | None = None


DigestAt = Callable[[str, int], int]
"""(exchange, now) → when the next digest before an open is due, at or after now"""


def matches(
    subscription: Subscription,
    alert: Alert,
    now: int,
    about: About = About(),
    *,
    digest_at: DigestAt,
) -> int | None:
    """Return when an alert is due for a subscription, or None if it does not want it.

    Args:
        now: Milliseconds since the epoch, as is the answer.
        digest_at: The calendar; asked only by subscriptions to a digest.
    """
    if not wants(subscription, alert, about):
        return None
    return due_at(subscription, now, digest_at)


def wants(subscription: Subscription, alert: Alert, about: About) -> bool:
    """Return whether a subscription is active and its filter lets an alert pass."""
    if subscription.paused or subscription.disabled:
        return False
    asked = subscription.filter
    return (
        _names_subject(asked, alert.subject)
        and (not asked.sectors or about.sector in asked.sectors)
        and (not asked.topics or not _topics(alert, about).isdisjoint(asked.topics))
        and (not asked.rules or alert.rule in asked.rules)
        and (not asked.severities or alert.severity in asked.severities)
        and (not asked.channels or not _channels(alert).isdisjoint(asked.channels))
        and (asked.rarer_than_days is None or _rarer(about, asked.rarer_than_days))
    )


def due_at(subscription: Subscription, now: int, digest_at: DigestAt) -> int:
    """Return when what comes up now is to be said, by schedule and quiet hours."""
    match subscription.schedule:
        case Immediately():
            at = now
        case Every(minutes=minutes):
            step = minutes * 60_000
            day = now // 86_400_000 * 86_400_000
            at = min(day + ((now - day) // step + 1) * step, day + 86_400_000)
        case PreOpen(exchange=exchange):
            at = digest_at(exchange, now)
    return subscription.quiet.over_at(at) if subscription.quiet else at


class Tally(_Record):
    """What a subscription got in an hour, and what was held back and not said yet."""

    hour: int = 0
    """since the epoch"""
    sent: int = 0
    held: int = 0
    held_hour: int = 0
    """of the first that was held back"""
    named: tuple[str, ...] = ()
    """event ids of the first that were held back"""

    @property
    def say_at(self) -> int | None:
        """When it is to be said what was held back: at the end of that hour."""
        return (self.held_hour + 1) * HOUR_MS if self.held else None


def admitted(
    tally: Tally, subscription: Subscription, event_id: str, now: int
) -> tuple[Tally, bool]:
    """Count a message that is due; say whether it may go out in this hour.

    A clock that goes back does not open an hour again.
    """
    hour = max(tally.hour, now // HOUR_MS)
    sent = tally.sent if hour == tally.hour else 0
    cap = subscription.hourly_cap
    if cap is None or sent < cap:
        return tally.model_copy(update={"hour": hour, "sent": sent + 1}), True
    return Tally(
        hour=hour,
        sent=sent,
        held=tally.held + 1,
        held_hour=tally.held_hour if tally.held else hour,
        named=(*tally.named, event_id)[:NAMED],
    ), False


def said(tally: Tally) -> Tally:
    """Return the tally after its subscriber was told what was held back."""
    return tally.model_copy(update={"held": 0, "named": ()})


def _names_subject(asked: Filter, subject: str) -> bool:
    listed = asked.watch_list.subjects if asked.watch_list else ()
    if not asked.subjects and not listed:
        return True
    return subject in listed or any(
        fnmatch.fnmatchcase(subject, pattern) for pattern in asked.subjects
    )


def _topics(alert: Alert, about: About) -> frozenset[str]:
    kind, _, topic = alert.subject.partition(":")
    return about.topics | {topic} if kind == "topic" else about.topics


def _channels(alert: Alert) -> set[str]:
    return {text.channel for text in (*alert.evidence, *alert.movers)}


def _rarer(about: About, days: float) -> bool:
    return about.return_period_days is not None and about.return_period_days > days
