"""One subject's votes, minutes, baseline and open alerts. Pure: time comes in the records."""

from bisect import bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from streams.core.baseline import MINUTES_PER_DAY, Days
from streams.core.records import MILLION, Evidence, WindowValues
from streams.core.votes import Vote
from streams.core.windows import WINDOWS, Bucket, Buckets, Contribution, Sums

_TICKER_HORIZON: Final = 1440
_WIDE_HORIZON: Final = 15
_WINDOW_EVIDENCE: Final = 3
_Z95: Final = 1.96
_TONE_NOISE: Final = 0.05

_Key = tuple[str, int, int, int]
"""of shown evidence: text id, event time, weight, copies"""


@dataclass(slots=True)
class OpenMinute:
    """Votes of a minute that is not closed yet, or is closed and will be revised."""

    votes: list[Vote] = field(default_factory=list)
    saved: int = 0
    """how many of the votes are in rows"""
    rows: list[str] = field(default_factory=list)
    """keys of those rows"""


@dataclass(slots=True)
class Episode:
    """An alert that is open."""

    alert_id: str
    first_minute: int
    window: str
    revision: int
    severity: str
    quiet_since: int | None = None

    def to_row(self) -> list[Any]:
        """Return what survives a restart."""
        return [getattr(self, name) for name in self.__slots__]


class Subject:
    """State of one subject in its votes partition."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.horizon = _TICKER_HORIZON if name.startswith("ticker:") else _WIDE_HORIZON
        """minutes over which stories are compared and closed minutes are revised"""
        self.open: dict[int, OpenMinute] = {}
        self.buckets = Buckets()
        self.days = Days()
        self.episodes: dict[str, Episode] = {}
        self.closed: int | None = None
        """the newest minute that was evaluated"""
        self._copies: dict[str, list[int]] = {}
        self._texts: dict[str, int] = {}
        self._pruned = -1
        self._shown: dict[_Key, Evidence] = {}
        """what `values` showed last: the strongest of a day are mostly those of a minute ago"""

    def knows(self, vote: Vote) -> bool:
        """Return whether the vote's text was counted within the horizon before its minute."""
        counted = self._texts.get(vote.text_id[:16])
        return counted is not None and counted > vote.minute - self.horizon

    def receive(self, vote: Vote) -> None:
        """Take a vote whose minute is open, or may still be revised."""
        self._texts[vote.text_id[:16]] = vote.minute
        self.open.setdefault(vote.minute, OpenMinute()).votes.append(vote)

    def close(self, minute: int) -> Sums:
        """Count the votes of a minute and return what they added.

        Copies of a story are ranked in the order (event time, text id); those that come late
        rank behind all that were counted before.
        """
        pending = self.open.pop(minute, None)
        added = Sums()
        if pending is None or not pending.votes:
            return added
        new = minute not in self.buckets
        bucket = Bucket() if new else self.buckets[minute]
        before = Sums(*bucket.sums.to_row())
        for vote in sorted(pending.votes, key=lambda v: (v.event_time, v.text_id)):
            copies = self._copies.setdefault(vote.fingerprint, [])
            rank = 1 + len(copies) - bisect_right(copies, minute - self.horizon)
            insort(copies, minute)
            bucket.count(vote, rank)
        bucket.revision += 1
        added.add(bucket.sums)
        added.add(before, -1)
        if new:
            self.buckets.put(minute, bucket)
        else:
            self.buckets.revise(minute, added)
        self.days.add(minute // MINUTES_PER_DAY, added)
        return added

    def restore(self, minute: int, bucket: Bucket) -> None:
        """Put back a bucket read from its row."""
        self.buckets.put(minute, bucket)
        for fingerprint, text in bucket.copies:
            insort(self._copies.setdefault(fingerprint, []), minute)
            self._texts[text] = max(minute, self._texts.get(text, minute))

    def advance(self, minute: int) -> list[tuple[int, Bucket]]:
        """Make the minute the newest evaluated one; return the minutes that are forgotten."""
        first = self._pruned + 1
        self.closed = minute
        # A vote may revise back to `closed - horizon` and is compared with what came one horizon
        # before that.
        self._pruned = minute - 2 * self.horizon
        for old in self.buckets.span(first, self._pruned):
            self._forget_stories(old, self.buckets[old])
        return self.buckets.expire(minute)

    def _forget_stories(self, minute: int, bucket: Bucket) -> None:
        for fingerprint, text in bucket.copies:
            copies = self._copies.get(fingerprint, [])
            if minute in copies:
                copies.remove(minute)
            if not copies:
                self._copies.pop(fingerprint, None)
            if self._texts.get(text) == minute:
                del self._texts[text]

    def values(
        self, minute: int, up_days: tuple[int, ...], prior: float
    ) -> dict[str, WindowValues]:
        """Return the numbers of all windows that end with the minute.

        Args:
            minute: A closed minute.
            up_days: The feed-up days before it.
            prior: Mean tone of the whole partition over those days.
        """
        baseline = self.days.tone(up_days, prior) if up_days else None
        sums = self.buckets.at(minute)
        top = self.buckets.strongest(minute, _WINDOW_EVIDENCE)
        before, self._shown = self._shown, {}
        return {
            name: self._values(
                name, sums[name], [self._show(c, before) for c in top[name]], up_days, baseline
            )
            for name in WINDOWS
        }

    def _show(self, c: Contribution, before: Mapping[_Key, Evidence]) -> Evidence:
        # A text may count again behind the horizon: its id alone would bring back the old place.
        key = c.text_id, c.event_time, c.weight, self._copies_of(c)
        if key not in self._shown:
            self._shown[key] = before.get(key) or self.evidence(c)
        return self._shown[key]

    def _values(
        self,
        name: str,
        sums: Sums,
        evidence: list[Evidence],
        up_days: tuple[int, ...],
        baseline: float | None,
    ) -> WindowValues:
        index, error = sums.index, sums.standard_error
        low = high = z_tone = None
        if index is not None and error is not None:
            low, high = max(index - _Z95 * error, -1.0), min(index + _Z95 * error, 1.0)
            if baseline is not None:
                z_tone = (index - baseline) / (error * error + _TONE_NOISE**2) ** 0.5
        return WindowValues(
            texts=sums.texts,
            stories=sums.stories,
            negative=sums.negative,
            neutral=sums.neutral,
            positive=sums.positive,
            index=_rounded(index),
            echo_index=_rounded(sums.echo_index),
            low=_rounded(low),
            high=_rounded(high),
            effective=round(sums.effective, 3),
            baseline=_rounded(baseline),
            z_tone=_rounded(z_tone),
            z_volume=_rounded(self.days.volume_z(name, sums.stories, up_days)),
            evidence=evidence,
        )

    def _top(self, window: str, minute: int) -> list[Contribution]:
        first = minute - WINDOWS[window] + 1
        return [c for bucket in self.buckets.between(first, minute) for c in bucket.top]

    def against(self, window: str, minute: int, baseline: float, most: int) -> list[Evidence]:
        """Return the stories that pulled the window's index furthest below the baseline."""
        level = round(baseline * MILLION)
        chosen: dict[str, Contribution] = {}
        for c in sorted(
            self._top(window, minute), key=lambda c: (c.weight * (c.score - level), c.text_id)
        ):
            if c.score < level:
                chosen.setdefault(c.fingerprint, c)
        return [self.evidence(c) for c in list(chosen.values())[:most]]

    def evidence(self, c: Contribution) -> Evidence:
        """Return a contribution as it is published, with the copies of its story so far."""
        return Evidence(
            text_id=c.text_id,
            event_time=c.event_time,
            channel=c.channel,
            origin=c.origin,
            score=c.score / MILLION,
            weight=c.weight / MILLION,
            copies=self._copies_of(c),
            snippet=c.snippet,
        )

    def _copies_of(self, c: Contribution) -> int:
        return max(len(self._copies.get(c.fingerprint, ())), 1)

    def stages(self, window: str, minute: int) -> dict[str, int]:
        """Return the times at which the window's newest strong text was published and scored."""
        strongest = self._top(window, minute)
        if not strongest:
            return {}
        newest = max(strongest, key=lambda c: (c.event_time, c.text_id))
        return {
            "published": newest.event_time,
            "ingested": newest.ingested_at,
            "scored": newest.scored_at,
        }

    def to_row(self) -> list[Any]:
        """Return baseline and episodes, which stand in the subject's own row."""
        episodes = {rule: episode.to_row() for rule, episode in self.episodes.items()}
        return [self.closed, self._pruned, self.days.to_row(), episodes]

    def restore_row(self, row: list[Any]) -> None:
        """Read them back. Buckets and open votes have rows of their own."""
        self.closed, self._pruned = row[0], row[1]
        self.days = Days.from_row(row[2])
        self.episodes = {rule: Episode(*values) for rule, values in row[3].items()}
        for minute in self.buckets.span(0, self._pruned):
            self._forget_stories(minute, self.buckets[minute])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
