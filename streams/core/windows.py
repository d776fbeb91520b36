"""Minute buckets and sliding windows over them.

A window of length L at the closed minute m covers the minutes m - L + 1 … m; the window before it
ends with the minute m - L.
"""

import sys
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple, Self

from streams.core import decay
from streams.core.distinct import Distinct, Sample, member
from streams.core.records import Origin
from streams.core.stories import Copy
from streams.core.sums import Sums
from streams.core.votes import Vote

WINDOWS: Final = {"5m": 5, "30m": 30, "8h": 480, "24h": 1440}
"""Names and lengths in minutes of the published windows."""

KEPT_MINUTES: Final = 49 * 60
"""Buckets are kept this long: a day of revisions, each looking back over two days less an hour."""

TOP_TEXTS: Final = 5

COPIES_IN_ROW: Final = 2_000
"""of a closed minute; more stand in rows of their own, so that none comes near 256 kB"""

COPIES_WITH_SUMS: Final = 100
"""More copies than this stand in rows of their own, which go when no text is compared with them."""

_TEXT_DIGITS: Final = 16
_AUTHOR_DIGITS: Final = 8
_COPY_DIGITS: Final = _TEXT_DIGITS + _AUTHOR_DIGITS


@dataclass(frozen=True, slots=True)
class Contribution:
    """A text among the strongest of its minute."""

    weight: int
    score: int
    text_id: str
    fingerprint: str
    """of its story's leader"""
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

    @property
    def story(self) -> int:
        """Leader of its story."""
        return int(self.fingerprint, 16)

    @classmethod
    def of(cls, vote: Vote, weight: int, story: int) -> Self:
        """Return a vote's contribution with its effective weight."""
        return cls(
            weight,
            vote.score,
            vote.text_id,
            f"{story:016x}",
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


class Told(NamedTuple):
    """A text as a copy of its story."""

    leader: int
    text: int
    """the first 64 bits of its id"""
    copy: Copy


@dataclass(slots=True)
class Bucket:
    """A closed minute of a subject."""

    sums: Sums = field(default_factory=Sums)
    top: list[Contribution] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    """every text; none any more once nothing can be a copy of them"""
    authors: Sample = field(default_factory=Sample)
    channels: Sample = field(default_factory=Sample)
    revision: int = 0
    best: tuple[int, str] = (-1, "")
    """strength of the strongest text"""
    rows: int = 0
    """how many rows it stands in"""

    def count(self, vote: Vote, told: Told, rank: int, turn: int) -> int:
        """Add a text that is copy number `rank` of its story, its author's number `turn`."""
        weight = self.sums.count(vote, rank, turn)
        self.told.append(told)
        self.authors.add(told.copy.author)
        self.channels.add(member(told.copy.channel))
        strength = (weight * abs(vote.score), vote.text_id)
        if len(self.top) == TOP_TEXTS and strength <= self.top[-1].strength:
            return weight
        self.top.append(Contribution.of(vote, weight, told.leader))
        self.top.sort(key=lambda c: c.strength, reverse=True)
        del self.top[TOP_TEXTS:]
        self.best = self.top[0].strength
        return weight

    def to_rows(self) -> list[list[Any]]:
        """Return what survives a restart: one row, and more where there are many texts."""
        few = len(self.told) <= COPIES_WITH_SUMS
        starts = range(0, 0 if few else len(self.told), COPIES_IN_ROW)
        rows: list[list[Any]] = [
            [
                self.sums.to_row(),
                [c.to_row() for c in self.top],
                _grouped(self.told if few else ()),
                self.revision,
                self.authors.to_row(),
                self.channels.to_row(),
            ],
            *(_grouped(self.told[start : start + COPIES_IN_ROW]) for start in starts),
        ]
        self.rows = len(rows)
        return rows

    @classmethod
    def from_rows(cls, minute: int, rows: Sequence[list[Any]]) -> Self:
        """Read them back, in the same order, also as schema 3 wrote them."""
        sums, tops, first, revision, *samples = rows[0]
        top = [Contribution.from_row(c) for c in tops]
        best = top[0].strength if top else (-1, "")
        if samples:
            told = [each for part in (first, *rows[1:]) for each in _each(minute, part)]
            authors, channels = (Sample.from_row(sample) for sample in samples)
        else:
            told = [
                Told(int(leader, 16), int(text, 16), Copy(minute, 0, "", 0))
                for part in (first, *rows[1:])
                for leader, text in part
            ]
            authors, channels = Sample(), Sample()
        summed = Sums.from_row(sums)
        return cls(summed, top, told, authors, channels, revision, best, len(rows))


def _grouped(told: Iterable[Told]) -> list[list[Any]]:
    """Return copies as rows hold them: what copies of a story have in common stands once."""
    return [
        [f"{leader:016x}", channel, marks, "".join(f"{t.text:016x}{t.copy.author:08x}" for t in of)]
        for (leader, channel, marks), of in groupby(
            told, key=lambda t: (t.leader, t.copy.channel, t.copy.marks)
        )
    ]


def _each(minute: int, groups: Iterable[list[Any]]) -> Iterator[Told]:
    for leader, channel, marks, digits in groups:
        story, name = int(leader, 16), sys.intern(channel)
        for at in range(0, len(digits), _COPY_DIGITS):
            middle, end = at + _TEXT_DIGITS, at + _COPY_DIGITS
            copy = Copy(minute, int(digits[middle:end], 16), name, marks)
            yield Told(story, int(digits[at:middle], 16), copy)


class Running:
    """What a window holds, and the window before it."""

    __slots__ = ("authors", "before", "channels", "now")

    def __init__(self, now: Iterable[Bucket] = (), before: Iterable[Bucket] = ()) -> None:
        self.now, self.before = Sums(), Sums()
        self.authors, self.channels = Distinct(), Distinct()
        for bucket in now:
            self.enter(bucket)
        for bucket in before:
            self.before.add(bucket.sums)

    def enter(self, bucket: Bucket) -> None:
        """Let a minute into the window."""
        self.now.add(bucket.sums)
        self.authors.add(bucket.authors)
        self.channels.add(bucket.channels)

    def leave(self, bucket: Bucket) -> None:
        """Take a minute out of the window."""
        self.now.add(bucket.sums, -1)
        self.authors.remove(bucket.authors)
        self.channels.remove(bucket.channels)


class Buckets:
    """The closed minutes of a subject in time order, with running windows."""

    def __init__(self) -> None:
        self._minutes: list[int] = []
        self._by_minute: dict[int, Bucket] = {}
        self._running = {name: Running() for name in WINDOWS}
        self._at: int | None = None
        self._decayed, self._decayed_day = 0, 0
        """the decayed sum of the last 24 hours, as of that day"""

    def __getitem__(self, minute: int) -> Bucket:
        return self._by_minute[minute]

    def __contains__(self, minute: int) -> bool:
        return minute in self._by_minute

    def items(self) -> Iterator[tuple[int, Bucket]]:
        """Yield the buckets by minute."""
        return ((m, self._by_minute[m]) for m in self._minutes)

    def put(self, minute: int, bucket: Bucket) -> None:
        """Add a closed minute, or put one back that was reopened."""
        if minute not in self._by_minute:
            insort(self._minutes, minute)
        self._by_minute[minute] = bucket
        self._change(minute, bucket, 1)

    def reopen(self, minute: int) -> Bucket:
        """Return a bucket that late votes will change, and leave it out until it is put back."""
        bucket = self._by_minute[minute]
        self._change(minute, bucket, -1)
        return bucket

    def _change(self, minute: int, bucket: Bucket, sign: int) -> None:
        if self._at is None or minute > self._at:
            return
        for name, length in WINDOWS.items():
            running = self._running[name]
            if minute <= self._at - length:
                if minute > self._at - 2 * length:
                    running.before.add(bucket.sums, sign)
            elif sign > 0:
                running.enter(bucket)
            else:
                running.leave(bucket)
        if minute > self._at - decay.SPAN:
            self._decayed += sign * self._grown(minute, self._decayed_day)

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

    def at(self, minute: int) -> dict[str, Running]:
        """Return each window that ends with the minute. The caller keeps no copy.

        Moving forward costs the buckets that enter and leave; looking back costs the windows.
        """
        if self._at is not None and minute < self._at:
            return {name: self._whole(minute, length) for name, length in WINDOWS.items()}
        if self._at is None or minute - self._at > KEPT_MINUTES:
            self._running = {name: self._whole(minute, length) for name, length in WINDOWS.items()}
            self._at = None
        else:
            for name, length in WINDOWS.items():
                running = self._running[name]
                for bucket in self.between(self._at + 1, minute):
                    running.enter(bucket)
                for bucket in self.between(self._at - length + 1, minute - length):
                    running.leave(bucket)
                    running.before.add(bucket.sums)
                for bucket in self.between(self._at - 2 * length + 1, minute - 2 * length):
                    running.before.add(bucket.sums, -1)
        self._move_decayed(minute)
        self._at = minute
        return self._running

    def decayed(self, minute: int) -> tuple[float, float]:
        """Return S(t) at the end of the minute and `decay.DELTA` minutes before.

        Raises:
            KeyError: `at` was not called for this minute, nor for a later one.
        """
        if self._at is None or minute > self._at:
            raise KeyError(minute)
        if minute == self._at:
            day, now = self._decayed_day, self._decayed
        else:
            day = minute // decay.DAY
            now = self._grown_between(minute - decay.SPAN + 1, minute, day)
        before = minute - decay.DELTA
        earlier = (
            now
            - self._grown_between(before + 1, minute, day)
            + self._grown_between(before - decay.SPAN + 1, minute - decay.SPAN, day)
        )
        return decay.level(now, minute, day), decay.level(earlier, before, day)

    def _move_decayed(self, minute: int) -> None:
        day, at = minute // decay.DAY, self._at
        if at is None or day != self._decayed_day:
            self._decayed = self._grown_between(minute - decay.SPAN + 1, minute, day)
        else:
            self._decayed += self._grown_between(at + 1, minute, day)
            self._decayed -= self._grown_between(at - decay.SPAN + 1, minute - decay.SPAN, day)
        self._decayed_day = day

    def _grown_between(self, first: int, last: int, day: int) -> int:
        return sum(self._grown(minute, day) for minute in self.span(first, last))

    def _grown(self, minute: int, day: int) -> int:
        return decay.grown(self._by_minute[minute].sums.tone.ws, minute, day)

    def _whole(self, minute: int, length: int) -> Running:
        return Running(
            self.between(minute - length + 1, minute),
            self.between(minute - 2 * length + 1, minute - length),
        )

    def span(self, first: int, last: int) -> list[int]:
        """Return the minutes first … last that have a bucket."""
        return self._minutes[bisect_left(self._minutes, first) : bisect_right(self._minutes, last)]

    def expire(self, minute: int) -> list[tuple[int, Bucket]]:
        """Forget, and return, the buckets that no window and no revision at the minute can need."""
        gone = self.span(0, minute - KEPT_MINUTES)
        del self._minutes[: len(gone)]
        return [(m, self._by_minute.pop(m)) for m in gone]
