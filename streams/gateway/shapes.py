"""What the API answers, so that OpenAPI is complete.

Times are milliseconds since the epoch, UTC; subjects are `market`, `topic:<slug>` or
`ticker:<symbol>`.
"""

from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from streams.core.records import (
    Alert,
    Evidence,
    Move,
    Numbers,
    Opinion,
    Sentiment,
    Source,
    State,
    Verdict,
    Window,
)
from streams.gateway.feed import Event

MINUTE_MS = 60_000


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SubjectItem(_Shape):
    """A subject and where it stands."""

    id: str = Field(description="The subject.", examples=["ticker:AAPL"])
    kind: Literal["ticker", "topic", "market"] = Field(description="What it is.")
    name: str = Field(description="A name for people.", examples=["Apple"])
    latest: int | None = Field(description="End of the latest closed minute with a window.")
    index: float | None = Field(description="Original index of the last 24 h, in [-1, 1].")
    baseline: float | None = Field(description="The subject's own usual tone.")
    texts: int = Field(description="Texts of the last 24 h.")
    open_alerts: int = Field(description="Alerts that are not resolved.")


class SubjectPage(_Shape):
    """A page of the list of subjects."""

    items: list[SubjectItem]
    next: str | None = Field(description="Pass it as `cursor` for the next page; null at the end.")


class WindowItem(_Shape):
    """All windows of a subject as of a closed minute."""

    minute: int = Field(description="The closed minute, in minutes since the epoch.")
    end: int = Field(description="End of that minute and of the windows.")
    revision: int = Field(description="Grows when late texts change the minute.")
    windows: dict[str, Numbers] = Field(description="By length: 5m, 30m, 8h, 24h.")
    s: float | None = Field(None, description="Decayed sum of scores of 24 hours.")
    s_score: float | None = Field(None, description="Its z against the subject's own 20 days.")
    s_delta: float | None = Field(None, description="S-Score less that of 15 minutes before.")
    watermark: int = Field(description="Event time up to which texts had been seen.")
    model: str = Field(description="Name and version of the model.")
    closed_at: int = Field(description="Wall clock at which the record was made.")


class WindowPage(_Shape):
    """Windows of a subject, oldest first."""

    subject: str
    items: list[WindowItem]


class HistoryPoint(_Shape):
    """A window's main numbers as of an earlier minute, for a line."""

    minute: int = Field(description="The closed minute, in minutes since the epoch.")
    end: int = Field(description="End of that minute and of the window.")
    index: float | None = Field(description="Original index.")
    low: float | None = Field(description="Lower end of its 95 % interval.")
    high: float | None = Field(description="Upper end of it.")
    texts: int = Field(description="Texts that count.")
    buzz: float | None = Field(None, description="Stories against the usual; 1 is as usual.")
    state: State = Field("ok", description="What the numbers are worth.")


class History(_Shape):
    """One window of a subject over time."""

    window: str = Field(description="Its length.")
    every: int = Field(description="Of each stretch of so many minutes the last is shown.")
    items: list[HistoryPoint] = Field(description="Oldest first; minutes without a text are none.")


class SubjectDetail(_Shape):
    """Where a subject stands and how it came there."""

    id: str = Field(description="The subject.", examples=["ticker:AAPL"])
    kind: Literal["ticker", "topic", "market"] = Field(description="What it is.")
    name: str = Field(description="A name for people.", examples=["Apple"])
    open_alerts: int = Field(description="Alerts that are not resolved.")
    latest: Window | None = Field(
        description="Its newest record of windows.v1, as it stands there; null before the first."
    )
    history: History


class TextItem(_Shape):
    """A scored text, with its opinion about the subject that was asked for."""

    id: str = Field(description="Text id.")
    event_time: int
    source: Source
    channel: str
    lang: str | None
    text: str = Field(description="The normalised text.")
    url: str | None
    author: str | None = Field(description="Pseudonym; the author's name is not kept.")
    sentiment: Sentiment | None = Field(description="About the subject, else of the whole text.")
    relevance: float | None = Field(description="How much the text is about the company, 0 to 1.")
    topic: str | None
    model: str
    scored_at: int


class TextPage(_Shape):
    """The latest scored texts about a subject, newest first."""

    subject: str
    items: list[TextItem]


class AlertItem(_Shape):
    """An alert's revision."""

    event_id: str = Field(description="`<alert id>.<revision>`, the same in every channel.")
    id: str = Field(description="Alert id; all revisions share it.")
    revision: int
    state: Literal["confirmed", "updated", "resolved"]
    severity: Literal["info", "warning", "critical"]
    rule: str = Field(description="Id of the rule that fired.")
    subject: str
    window: str = Field(description="The window the rule looked at.")
    first_minute: int = Field(description="First minute over the threshold.")
    minute: int = Field(description="The minute this revision speaks of.")
    end: int = Field(description="End of that minute, in milliseconds.")
    summary: str = Field(description="A sentence for people.")
    verdict: Verdict = Field("unconfirmed", description="Of the stories behind the move.")
    numbers: Numbers
    move: Move | None = Field(None, description="How far the index moved, and why; adds up.")
    movers: list[Evidence] = Field([], description="The texts of the move's contributions.")
    evidence: list[Evidence] = Field(description="The stories that pulled it furthest down.")
    model: str
    stages: dict[str, int] = Field(
        description="When the newest text was published, ingested, scored, and the alert raised."
    )


class AlertPage(_Shape):
    """Alerts in their newest revision, latest revised first."""

    items: list[AlertItem]


class AlertDetail(_Shape):
    """An alert with its history."""

    offset: int = Field(description="Offset of the newest revision, the `id:` of the live stream.")
    alert: AlertItem = Field(description="The newest revision.")
    revisions: list[AlertItem] = Field(description="All revisions that are kept, oldest first.")


class Accepted(_Shape):
    """Where a text lies now."""

    id: str = Field(description="Text id, found again in opinions and evidence.")
    topic: str
    partition: int
    offset: int


class AcceptedTexts(_Shape):
    """The texts of a request, in its order, all confirmed by the broker."""

    items: list[Accepted]


class TopicState(_Shape):
    """How the reader of a topic is doing."""

    caught_up: bool = Field(description="Whether all that was there at the start has been read.")
    connected: bool = Field(description="Whether the broker answered lately.")
    lag: int | None = Field(description="Records not read yet; null while unknown.")


class Readiness(_Shape):
    """Whether the gateway can serve."""

    ready: bool
    producer: bool = Field(description="Whether texts can be accepted.")
    readers: dict[str, TopicState]


class Health(_Shape):
    """The process lives."""

    status: Literal["ok"] = "ok"


def alert_item(alert: Alert) -> AlertItem:
    """Return an alert's revision as the API shows it."""
    fields: dict[str, Any] = alert.model_dump()
    return AlertItem(event_id=alert.event_id, end=(alert.minute + 1) * MINUTE_MS, **fields)


def alert_event(alert: Alert, offset: int) -> Event:
    """Return an alert's revision as the live stream sends it."""
    payload = {
        "event_id": alert.event_id,
        "offset": offset,
        "alert": alert_item(alert).model_dump(),
    }
    return Event(offset, alert.event_id, orjson.dumps(payload))


def history_point(compact: bytes, window: str) -> HistoryPoint | None:
    """Return a window's numbers out of what the store keeps of a minute, if it has that window."""
    fields = orjson.loads(compact)
    values = fields["windows"].get(window)
    if values is None:
        return None
    return HistoryPoint(minute=fields["minute"], end=fields["end"], **values)


def text_item(opinion: Opinion, subject: str) -> TextItem:
    """Return a text with what it says about a subject."""
    entity = next((e for e in opinion.entities if e.subject == subject), None)
    fields = opinion.model_dump(exclude={"sentiment"})
    return TextItem(
        sentiment=entity.sentiment if entity else opinion.sentiment,
        relevance=entity.relevance if entity else None,
        **fields,
    )
