"""Votes and markers: what score writes to votes.v1 and aggregate folds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import orjson

from streams.core.records import Origin
from streams.core.topics import TEXTS_NEWS


@dataclass(frozen=True, slots=True)
class Vote:
    """One text's opinion about one subject. Scores and weights are integers of 10⁻⁶."""

    id: str
    text_id: str
    subject: str
    event_time: int
    channel: str
    score: int
    """p⁺ - p⁻, in [-10⁶, 10⁶]"""
    label: int
    """class index, in the order of `SENTIMENTS`"""
    relevance: int
    confidence: int
    fingerprint: str
    author: str
    origin: Origin
    index: int
    """place within the text: entities by first mention, then market, then the topic"""
    model: str
    ingested_at: int
    scored_at: int
    snippet: str
    source: str = ""
    """partition of the origin, with the topic's id; empty in votes from before there were ids"""
    news: bool | None = None
    """whether the text came from a news source; None in older votes, where the topic tells"""
    repost: bool = False
    """whether the text says that it repeats another's, as retweets do"""

    @property
    def from_news(self) -> bool:
        """Whether the text came from a news source."""
        return self.origin.topic == TEXTS_NEWS if self.news is None else self.news

    @property
    def minute(self) -> int:
        """The minute since the epoch to which the vote belongs."""
        return self.event_time // 60_000

    @property
    def weight(self) -> int:
        """Relevance times confidence, in 10⁻⁶."""
        return self.relevance * self.confidence // 1_000_000

    def to_list(self) -> list[Any]:
        """Return the fields in order: the compact form of state rows, which need no source."""
        values = [getattr(self, name) for name in _ROW]
        values[_ORIGIN] = list(self.origin)
        return [*values, self.news, self.repost]

    @classmethod
    def from_list(cls, values: list[Any]) -> Self:
        """Read the compact form, also as older versions wrote it: without what stands last."""
        values[_ORIGIN] = Origin(*values[_ORIGIN])
        return cls(*[*values[: len(_ROW)], "", *values[len(_ROW) :]])

    def to_json(self) -> bytes:
        """Return the record of votes.v1."""
        fields = dict(zip([*_ROW, "news", "repost"], self.to_list(), strict=True))
        return orjson.dumps({**fields, "source": self.source} if self.source else fields)

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """Read a record of votes.v1; unknown fields are ignored."""
        fields = orjson.loads(value)
        row = [fields[name] for name in _ROW]
        row[_ORIGIN] = Origin(*row[_ORIGIN])
        last = fields.get("source", ""), fields.get("news"), fields.get("repost", False)
        return cls(*[*row, *last])


_ROW = Vote.__slots__[: Vote.__slots__.index("source")]
_ORIGIN = Vote.__slots__.index("origin")


@dataclass(frozen=True, slots=True)
class Marker:
    """How far some sources have come, sent behind the votes it covers to every partition.

    One marker speaks for all sources of a batch (`marks`), which saves a record per source.
    """

    generation: int
    """score's consumer generation"""
    marks: dict[str, tuple[int | None, int | None]]
    """source → (largest event time of its confirmed texts, milliseconds idle or None)"""
    sources: tuple[str, ...]
    """all partitions of all input topics, as score sees them"""

    def renamed(self, name: Callable[[str], str]) -> "Marker":
        """Return the marker with its sources renamed."""
        marks = {name(source): mark for source, mark in self.marks.items()}
        return Marker(self.generation, marks, tuple(name(source) for source in self.sources))

    def to_json(self) -> bytes:
        """Return the record of votes.v1 (header `kind: marker`)."""
        return orjson.dumps(
            {"generation": self.generation, "marks": self.marks, "sources": self.sources}
        )

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """Read a record of votes.v1."""
        fields = orjson.loads(value)
        marks = {source: (mark[0], mark[1]) for source, mark in fields["marks"].items()}
        return cls(fields["generation"], marks, tuple(fields["sources"]))
