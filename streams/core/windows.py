"""Minute buckets and sliding windows over them, in integers, so that order does not matter.

Weights are integers of 10⁻⁶, their products with scores of 10⁻¹². A window of length L at the
closed minute m covers the minutes m - L + 1 … m.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Self

from streams.core.records import MILLION, Origin
from streams.core.votes import Vote

WINDOWS: Final = {"5m": 5, "30m": 30, "8h": 480, "24h": 1440}
"""Names and lengths in minutes of the published windows."""

KEPT_MINUTES: Final = 49 * 60
"""Buckets are kept this long: a day of revisions, each looking back over a day."""

TOP_TEXTS: Final = 5

STORIES_IN_ROW: Final = 4_000
"""of a closed minute; more stand in rows of their own, so that none comes near 256 kB"""

_NOVELTY: Final = tuple(round(MILLION * 0.75**n) for n in range(48))
# The variance of one text's score where a window has too few texts to tell (two pseudo-texts).
_PRIOR_VARIANCE: Final = 0.35**2
_PRIOR_TEXTS: Final = 2.0


def novelty(rank: int) -> int:
    """Return the weight factor in 10⁻⁶ of a story's copy number `rank`, counted from one.

    Source:
        RavenPack event novelty score: 100·0.75^(n-1) inside 24 hours.
    """
    return _NOVELTY[rank - 1] if rank <= len(_NOVELTY) else 0


@dataclass(slots=True)
class Sums:
    """What a minute or a window adds up to; addition and subtraction are exact."""

    texts: int = 0
    stories: int = 0
    negative: int = 0
    neutral: int = 0
    positive: int = 0
    w: int = 0
    ws: int = 0
    wss: int = 0
    """Σ w·s², in 10⁻¹² (one factor of 10⁻⁶ dropped per text, to stay within 64 bits)"""
    ww: int = 0
    echo_w: int = 0
    echo_ws: int = 0

    def count(self, vote: Vote, rank: int) -> int:
        """Add a vote that is copy number `rank` of its story; return its effective weight."""
        weight = vote.weight * novelty(rank) // MILLION
        self.texts += 1
        self.stories += rank == 1
        self.negative += vote.label == 0
        self.neutral += vote.label == 1
        self.positive += vote.label == 2
        self.w += weight
        self.ws += weight * vote.score
        self.wss += weight * vote.score * vote.score // MILLION
        self.ww += weight * weight
        self.echo_w += vote.weight
        self.echo_ws += vote.weight * vote.score
        return weight

    def add(self, other: "Sums", sign: int = 1) -> None:
        """Add the other sums, or take them away with sign -1."""
        self.texts += sign * other.texts
        self.stories += sign * other.stories
        self.negative += sign * other.negative
        self.neutral += sign * other.neutral
        self.positive += sign * other.positive
        self.w += sign * other.w
        self.ws += sign * other.ws
        self.wss += sign * other.wss
        self.ww += sign * other.ww
        self.echo_w += sign * other.echo_w
        self.echo_ws += sign * other.echo_ws

    @property
    def index(self) -> float | None:
        """Original index Σws/Σw in [-1, 1], None without evidence."""
        return self.ws / self.w / MILLION if self.w else None

    @property
    def echo_index(self) -> float | None:
        """The index in which every copy of a story weighs the same."""
        return self.echo_ws / self.echo_w / MILLION if self.echo_w else None

    @property
    def effective(self) -> float:
        """Effective sample (Σw)²/Σw² (Kish)."""
        return self.w * self.w / self.ww if self.ww else 0.0

    @property
    def standard_error(self) -> float | None:
        """Standard error of the index, its variance shrunk towards that of a typical text."""
        if not self.w:
            return None
        mean = self.ws / self.w / MILLION
        spread = max(self.wss / self.w / MILLION - mean * mean, 0.0)
        effective = self.effective
        variance = (effective * spread + _PRIOR_TEXTS * _PRIOR_VARIANCE) / (
            effective + _PRIOR_TEXTS
        )
        return math.sqrt(variance / effective)

    def to_row(self) -> list[int]:
        """Return the numbers in order."""
        return [getattr(self, name) for name in self.__slots__]


@dataclass(frozen=True, slots=True)
class Contribution:
    """A text among the strongest of its minute."""

    weight: int
    score: int
    text_id: str
    fingerprint: str
    event_time: int
    channel: str
    origin: Origin
    ingested_at: int
    scored_at: int
    snippet: str

    @property
    def strength(self) -> tuple[int, str]:
        """Order of the strongest: weight times distance from zero, then id."""
        return (self.weight * abs(self.score), self.text_id)

    @classmethod
    def of(cls, vote: Vote, weight: int) -> Self:
        """Return a vote's contribution with its effective weight."""
        return cls(
            weight,
            vote.score,
            vote.text_id,
            vote.fingerprint,
            vote.event_time,
            vote.channel,
            vote.origin,
            vote.ingested_at,
            vote.scored_at,
            vote.snippet,
        )

    def to_row(self) -> list[Any]:
        """Return the fields in order."""
        values = [getattr(self, name) for name in self.__slots__]
        values[_ORIGIN] = list(self.origin)
        return values

    @classmethod
    def from_row(cls, row: list[Any]) -> Self:
        """Read the fields in order."""
        row[_ORIGIN] = Origin(*row[_ORIGIN])
        return cls(*row)


_ORIGIN = Contribution.__slots__.index("origin")


@dataclass(slots=True)
class Bucket:
    """A closed minute of a subject."""

    sums: Sums = field(default_factory=Sums)
    top: list[Contribution] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)
    """(fingerprint, first 64 bits of the text id) of each vote"""
    revision: int = 0
    best: tuple[int, str] = (-1, "")
    """strength of the strongest text"""

    def count(self, vote: Vote, rank: int) -> None:
        """Add a vote that is copy number `rank` of its story."""
        weight = self.sums.count(vote, rank)
        self.copies.append((vote.fingerprint, vote.text_id[:16]))
        strength = (weight * abs(vote.score), vote.text_id)
        if len(self.top) == TOP_TEXTS and strength <= self.top[-1].strength:
            return
        self.top.append(Contribution.of(vote, weight))
        self.top.sort(key=lambda c: c.strength, reverse=True)
        del self.top[TOP_TEXTS:]
        self.best = self.top[0].strength

    @property
    def rows(self) -> int:
        """How many rows it takes."""
        return max(1, -(-len(self.copies) // STORIES_IN_ROW))

    def to_rows(self) -> list[list[Any]]:
        """Return what survives a restart: one row, and more where there are many votes."""
        parts = [
            self.copies[part * STORIES_IN_ROW : (part + 1) * STORIES_IN_ROW]
            for part in range(self.rows)
        ]
        first = [self.sums.to_row(), [c.to_row() for c in self.top], parts[0], self.revision]
        return [first, *parts[1:]]

    @classmethod
    def from_rows(cls, rows: Sequence[list[Any]]) -> Self:
        """Read them back, in the same order."""
        sums, tops, copies, revision = rows[0]
        top = [Contribution.from_row(c) for c in tops]
        best = top[0].strength if top else (-1, "")
        stories = [(f, t) for f, t in chain(copies, *rows[1:])]
        return cls(Sums(*sums), top, stories, revision, best)


class Buckets:
    """The closed minutes of a subject in time order, with running sums for each window."""

    def __init__(self) -> None:
        self._minutes: list[int] = []
        self._by_minute: dict[int, Bucket] = {}
        self._running = {name: Sums() for name in WINDOWS}
        self._at: int | None = None

    def __getitem__(self, minute: int) -> Bucket:
        return self._by_minute[minute]

    def __contains__(self, minute: int) -> bool:
        return minute in self._by_minute

    def items(self) -> Iterator[tuple[int, Bucket]]:
        """Yield the buckets by minute."""
        return ((m, self._by_minute[m]) for m in self._minutes)

    def put(self, minute: int, bucket: Bucket) -> None:
        """Add a closed minute; running sums move on at the next `at`."""
        insort(self._minutes, minute)
        self._by_minute[minute] = bucket
        self._change(minute, bucket.sums)

    def revise(self, minute: int, added: Sums) -> None:
        """Keep running sums right after votes were added to a bucket that is already here."""
        self._change(minute, added)

    def _change(self, minute: int, added: Sums) -> None:
        if self._at is None or minute > self._at:
            return
        for name, length in WINDOWS.items():
            if minute > self._at - length:
                self._running[name].add(added)

    def between(self, first: int, last: int) -> Iterator[Bucket]:
        """Yield the buckets of the minutes first … last."""
        return map(self._by_minute.__getitem__, self.span(first, last))

    def strongest(self, minute: int, most: int) -> dict[str, list[Contribution]]:
        """Return the strongest texts of each window that ends with the minute, strongest first.

        The windows nest, so one walk back through the longest serves all of them.
        """
        found: dict[str, list[Contribution]] = {}
        best: list[Contribution] = []
        least = (-1, "")
        last = minute
        for name, length in WINDOWS.items():
            first = minute - length + 1
            for bucket in map(self._by_minute.__getitem__, reversed(self.span(first, last))):
                if bucket.best < least:
                    continue
                best += bucket.top[:most]
                # Of equals, the older goes first.
                best.sort(key=lambda c: (c.strength, -c.event_time), reverse=True)
                del best[most:]
                if len(best) == most:
                    least = best[-1].strength
            found[name] = best.copy()
            last = first - 1
        return found

    def at(self, minute: int) -> dict[str, Sums]:
        """Return the sums of each window that ends with the minute. The caller keeps no copy.

        Moving forward costs the buckets that enter and leave; looking back costs the window.
        """
        if self._at is None or minute - self._at > KEPT_MINUTES:
            self._running = {name: self._sum(minute, length) for name, length in WINDOWS.items()}
            self._at = minute
        if minute < self._at:
            return {name: self._sum(minute, length) for name, length in WINDOWS.items()}
        for name, length in WINDOWS.items():
            running = self._running[name]
            for bucket in self.between(self._at + 1, minute):
                running.add(bucket.sums)
            for bucket in self.between(self._at - length + 1, minute - length):
                running.add(bucket.sums, -1)
        self._at = minute
        return self._running

    def _sum(self, minute: int, length: int) -> Sums:
        total = Sums()
        for bucket in self.between(minute - length + 1, minute):
            total.add(bucket.sums)
        return total

    def span(self, first: int, last: int) -> list[int]:
        """Return the minutes first … last that have a bucket."""
        return self._minutes[bisect_left(self._minutes, first) : bisect_right(self._minutes, last)]

    def expire(self, minute: int) -> list[tuple[int, Bucket]]:
        """Forget, and return, the buckets that no window and no revision at the minute can need."""
        gone = self.span(0, minute - KEPT_MINUTES)
        del self._minutes[: len(gone)]
        return [(m, self._by_minute.pop(m)) for m in gone]
