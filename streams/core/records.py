"""The records on the wire, version 1. Times are milliseconds since the epoch (UTC), scores and
weights integers of 10⁻⁶ (votes) or rounded decimals (what people and other teams read).
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Source = Literal["news", "social"]
MILLION = 1_000_000


class Kind(StrEnum):
    """What a record of votes.v1 (or an input topic) is; carried in the header `kind`."""

    VOTE = "vote"
    MARKER = "marker"
    CONTROL = "control"
    END = "end"


KIND_HEADER = "kind"


class Origin(NamedTuple):
    """Where a text lay: input topic, partition, offset. On every output of score."""

    topic: str
    partition: int
    offset: int

    @property
    def source(self) -> str:
        """Topic and partition, as the markers name them."""
        return f"{self.topic}/{self.partition}"


def parse_time(value: Any) -> int:
    """Return milliseconds since the epoch of an ISO 8601 string or of integer milliseconds.

    A string without a zone is UTC.

    Raises:
        ValueError: neither form.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be an ISO 8601 string or integer milliseconds since the epoch")
    if isinstance(value, int):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        # The original message quotes the value, which has no place in logs and headers.
        raise ValueError("is no ISO 8601 time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = moment.replace(microsecond=0)
    return round(seconds.timestamp()) * 1000 + moment.microsecond // 1000


Time = Annotated[int, BeforeValidator(parse_time)]
Short = Annotated[str, Field(max_length=512)]


class Text(BaseModel):
    """A text as producers send it. Only `text` and `published_at` are required; unknown fields
    are kept on the topic and ignored here.
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, strict=True, use_attribute_docstrings=True
    )

    text: str
    published_at: Time
    observed_at: Time | None = None
    source: Source | None = None
    channel: Annotated[str, Field(pattern=r"^[\w.:-]{1,64}$")] | None = None
    id: Short | None = None
    title: Annotated[str, Field(max_length=4000)] | None = None
    url: Annotated[str, Field(max_length=4096)] | None = None
    author: Short | None = None
    lang: Annotated[str, Field(max_length=35)] | None = None
    tickers: list[Annotated[str, Field(min_length=1, max_length=32)]] | None = None
    retweet: bool | None = None
    """whether it repeats another's text; where it is not given, the text's own mark tells"""


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class Sentiment(_Record):
    """Probabilities of the three classes; `score` = positive - negative, in [-1, 1]."""

    negative: float
    neutral: float
    positive: float
    score: float


class Entity(_Record):
    """A company a text speaks about. Spans are of the normalised text, in characters."""

    subject: str
    spans: list[tuple[int, int]]
    relevance: float
    sentiment: Sentiment


class Opinion(_Record):
    """What became of one text (opinions.v1, key = text id)."""

    id: str
    outcome: Literal["scored", "filtered"]
    reason: str | None = None
    origin: Origin
    source: Source
    channel: str
    event_time: int
    lang: str | None = None
    text: str
    url: str | None = None
    author: str | None = None
    sentiment: Sentiment | None = None
    topic: str | None = None
    topic_probability: float | None = None
    grave: list[str] = []
    """classes of grave events that the text reports, in order of place (core/grave.py)"""
    entities: list[Entity] = []
    round_up: bool = False
    fingerprint: str = ""
    model: str = ""
    ingested_at: int = 0
    scored_at: int = 0


Verdict = Literal["organic", "coordinated", "unconfirmed"]
"""Whether a story spreads by itself, is spread, or nobody can tell (core/stories.py)."""

State = Literal["ok", "thin", "feed_hole", "blind"]
"""What a window's numbers are worth: `thin` under three effective texts; `feed_hole` while the
feed brings under a quarter of its usual; `blind` with under five feed-up days of history."""


class Evidence(_Record):
    """A text that moved a window, with its weight in it and its own score."""

    text_id: str
    event_time: int
    channel: str
    origin: Origin
    score: float
    weight: float
    story: str = ""
    """fingerprint of its story's leader"""
    copies: int = 1
    """of its story, so far"""
    authors: int = 0
    """different known authors of those copies"""
    channels: int = 1
    """different channels of those copies"""
    verdict: Verdict = "unconfirmed"
    snippet: str


class Move(_Record):
    """How far a window's index moved and why, in integers of 10⁻⁶ that add up exactly.

    total = now - before = volume + tone + novelty = sum of contributions + remainder
    """

    since: Literal["window", "baseline"]
    """what it is compared with: the window before it, or the baseline where that has no text"""
    before: int
    now: int
    total: int
    volume: int
    """change of the balance of positive and negative texts by number"""
    tone: int
    """change of how strongly, and how much to the point, they speak"""
    novelty: int
    """change of how much new stories and other authors differ from copies"""
    contributions: tuple[int, ...] = ()
    """what each of the texts shown beside it adds, in their order"""
    remainder: int
    """what the other texts add, rounding included"""
    remaining_texts: int


class EchoStory(_Record):
    """A story told again in the closed minute."""

    story: str
    copies: int
    authors: int
    channels: int
    reposts: int
    """copies that say that they repeat another's text"""
    verdict: Verdict
    text_id: str
    """the minute's first copy"""
    snippet: str


class Numbers(_Record):
    """One window's numbers. Indices lie in [-1, 1]; None where there is no evidence."""

    state: State = "ok"
    """ok; thin: under three effective texts; feed_hole: the feed brings under a quarter of its
    usual; blind: under five days of history"""
    texts: int
    """texts that count"""
    stories: int
    """different stories among them"""
    echo: float | None = None
    """share of the texts that are copies of a story told before"""
    authors: int = 0
    """different known authors; exact up to 128 a minute, then within about ten percent"""
    channels: int = 0
    """different channels, counted likewise"""
    dispersion: float | None = None
    """authors / texts, at most 1; None where no author is known"""
    negative: int
    neutral: int
    positive: int
    disagreement: float | None = None
    """0 where all who take a side take the same, 1 where they split evenly"""
    index: float | None
    """original index: a story's n-th copy weighs 0.75^(n-1), an author's fourth text half"""
    echo_index: float | None
    """echo index: every copy and every author's text weighs the same"""
    low: float | None
    """lower end of the 95 % interval of the original index"""
    high: float | None
    """upper end of it"""
    effective: float
    """effective sample (Σw)²/Σw², no more than the stories"""
    divergence: float | None = None
    """index of the news less that of social media; None unless both have texts"""
    z_divergence: float | None = None
    """that difference against its standard error"""
    baseline: float | None
    """the subject's own shrunk tone over the last 30 days"""
    z_tone: float | None
    """tone against the baseline"""
    z_volume: float | None
    """volume against the subject's usual volume"""
    expected: float | None = None
    """stories that are usual at this hour of the week"""
    buzz: float | None = None
    """(stories + ½)/(expected + ½): 1 is as usual"""
    rarity: float | None = None
    """-log₁₀ of the probability of so many stories or more"""


class WindowValues(Numbers):
    """One window: its numbers, and what moved them."""

    move: Move | None = None
    """against the window before this one, with the contributions of the evidence"""
    evidence: list[Evidence] = []


class Window(_Record):
    """All windows of a subject as of a closed minute (windows.v1, key = subject)."""

    subject: str
    minute: int
    """minutes since the epoch of the closed minute; windows end at (minute + 1) · 60,000 ms"""
    revision: int
    windows: dict[str, WindowValues]
    """keys 5m, 30m, 8h, 24h"""
    s: float | None = None
    """decayed sum of scores of 24 hours, half-life 16 hours, in full texts"""
    s_score: float | None = None
    """z of s against the subject's own last 20 feed-up days; None while blind"""
    s_delta: float | None = None
    """s_score less that of 15 minutes before"""
    echoes: list[EchoStory] = []
    """up to three stories of three and more copies that this minute told again, largest first"""
    watermark: int
    model: str
    closed_at: int
    """wall clock at which the record was made"""


class Alert(_Record):
    """One revision of an alert (alerts.v1, key = alert id)."""

    id: str
    revision: int
    state: Literal["confirmed", "updated", "resolved"]
    severity: Literal["info", "warning", "critical"]
    rule: str
    subject: str
    window: str
    first_minute: int
    minute: int
    summary: str
    """a sentence a person can read"""
    verdict: Verdict = "unconfirmed"
    """that of the stories behind at least half of what the movers move"""
    numbers: WindowValues
    move: Move | None = None
    """of the alert's window, with the contributions of `movers`"""
    movers: list[Evidence] = []
    """the 20 texts that contribute most to the move, either way"""
    evidence: list[Evidence] = []
    """the stories that pulled the index furthest below the baseline"""
    model: str
    stages: dict[str, int]
    """milliseconds: published (event time of the newest text), ingested, scored, alerted"""

    @property
    def event_id(self) -> str:
        """The id of this revision, the same everywhere."""
        return f"{self.id}.{self.revision}"
