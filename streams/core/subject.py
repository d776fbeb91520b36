"""One subject's votes, minutes, baseline and open alerts. Pure: time comes in the records."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from streams.core import tails
from streams.core.baseline import LEAST_DAYS, Days, Past
from streams.core.distinct import member
from streams.core.feed import Feed
from streams.core.move import contribution, move
from streams.core.records import MILLION, EchoStory, Evidence, Move, State, WindowValues
from streams.core.stories import NEWS, REPOST, Copy, Spread, Stories
from streams.core.sums import Sums
from streams.core.turns import Turns
from streams.core.votes import Vote
from streams.core.week import Week, own
from streams.core.windows import WINDOWS, Bucket, Buckets, Contribution, Running, Told

_TICKER_HORIZON: Final = 1440
_WIDE_HORIZON: Final = 15
_WINDOW_EVIDENCE: Final = 3
_LEAST_EFFECTIVE: Final = 3.0
"""Less is too thin to judge by. Source: InsiderStreet asks for three articles on a stock."""
_ECHOES: Final = 3
_LEAST_COPIES: Final = 3
_TONE_NOISE: Final = 0.05
_SHAPES: Final = (0.5, 1e6)
"""bounds of the negative binomial's shape: as bursty as counts get, and as good as Poisson"""

_Key = tuple[str, int, int, Spread]
"""of shown evidence: text id, event time, weight, how far its story has spread"""


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
        self.stories = Stories(self.horizon)
        self._turns = Turns()
        self._texts: dict[int, int] = {}
        self._pruned = -1
        self._shown: dict[_Key, Evidence] = {}
        """what `values` showed last: the strongest of a day are mostly those of a minute ago"""
        self._week: tuple[Week, Past, Week] | None = None
        """the subject's usual week, and what it was made of"""

    def knows(self, vote: Vote) -> bool:
        """Return whether the vote's text was counted within the horizon before its minute."""
        counted = self._texts.get(_text_key(vote))
        return counted is not None and counted > vote.minute - self.horizon

    def receive(self, vote: Vote) -> None:
        """Take a vote whose minute is open, or may still be revised."""
        self._texts[_text_key(vote)] = vote.minute
        self.open.setdefault(vote.minute, OpenMinute()).votes.append(vote)

    def close(self, minute: int) -> tuple[Sums, list[EchoStory]]:
        """Count the votes of a minute; return what they added and which stories they told again.

        Texts join stories, and copies and the turns of authors are counted, in the order (event
        time, text id); those that come late stand behind all that were counted before.
        """
        pending = self.open.pop(minute, None)
        if pending is None or not pending.votes:
            return Sums(), []
        bucket = self.buckets.reopen(minute) if minute in self.buckets else Bucket()
        before = bucket.sums.copy()
        copies: dict[int, int] = {}
        turns: dict[int, int] = {}
        first: dict[int, Vote] = {}
        after = minute - self.horizon
        for vote in sorted(pending.votes, key=lambda v: (v.event_time, v.text_id)):
            marks = (REPOST if vote.repost else 0) | (NEWS if vote.from_news else 0)
            copy = Copy(minute, member(vote.author), sys.intern(vote.channel), marks)
            leader = self.stories.join(int(vote.fingerprint, 16), minute)
            rank = 1 + (
                copies[leader] if leader in copies else self.stories.copies_since(leader, after)
            )
            turn = 1 + (
                turns[copy.author]
                if copy.author in turns
                else self._turns.since(copy.author, after)
            )
            copies[leader], turns[copy.author] = rank, turn
            first.setdefault(leader, vote)
            self._remember(told := Told(leader, _text_key(vote), copy))
            bucket.count(vote, told, rank, turn if copy.author else 1)
        bucket.revision += 1
        self.buckets.put(minute, bucket)
        added = bucket.sums.copy()
        added.add(before, -1)
        self.days.add(minute, added)
        return added, self._echoes(copies, first)

    def _remember(self, told: Told) -> None:
        self.stories.add(told.leader, told.copy)
        if told.copy.author:
            self._turns.add(told.copy.author, told.copy.minute)

    def _echoes(self, copies: Mapping[int, int], first: Mapping[int, Vote]) -> list[EchoStory]:
        """Return the largest stories that were told again."""
        again = sorted((leader for leader, n in copies.items() if n >= _LEAST_COPIES))
        told = [(leader, self.stories.of(leader)) for leader in again]
        told.sort(key=lambda each: -each[1].copies)
        return [
            EchoStory(
                story=f"{leader:016x}",
                copies=story.copies,
                authors=len(story.authors),
                channels=len(story.channels),
                reposts=story.reposts,
                verdict=story.verdict(self.stories.said),
                text_id=first[leader].text_id,
                snippet=first[leader].snippet,
            )
            for leader, story in told[:_ECHOES]
        ]

    def restore(self, minute: int, bucket: Bucket) -> None:
        """Put back a bucket read from its rows."""
        self.buckets.put(minute, bucket)
        for told in bucket.told:
            self._remember(told)
            self._texts[told.text] = max(minute, self._texts.get(told.text, minute))

    def advance(self, minute: int) -> tuple[list[tuple[int, Bucket]], list[tuple[int, Bucket]]]:
        """Make the minute the newest evaluated one.

        Returns:
            The minutes with which no text is compared any more, and those that are forgotten.
        """
        first = self._pruned + 1
        self.closed = minute
        # A vote may revise back to `closed - horizon` and is compared with what came one horizon
        # before that.
        self._pruned = minute - 2 * self.horizon
        past = [(old, self.buckets[old]) for old in self.buckets.span(first, self._pruned)]
        for old, bucket in past:
            self._forget(old, bucket)
        return past, self.buckets.expire(minute)

    def _forget(self, minute: int, bucket: Bucket) -> None:
        for told in bucket.told:
            self.stories.forget(told.leader, told.copy)
            if told.copy.author:
                self._turns.forget(told.copy.author, minute)
            if self._texts.get(told.text) == minute:
                del self._texts[told.text]
        bucket.told = []

    def values(self, minute: int, feed: Feed) -> dict[str, WindowValues]:
        """Return the numbers of all windows that end with the minute.

        Args:
            minute: A closed minute.
            feed: What the whole partition knows of the days before it.
        """
        baseline = self.days.tone(feed.up_days, feed.prior) if feed.up_days else None
        running = self.buckets.at(minute)
        top = self.buckets.strongest(minute, _WINDOW_EVIDENCE)
        before, self._shown = self._shown, {}
        return {
            name: self._values(
                name,
                minute,
                running[name],
                top[name],
                before,
                feed,
                baseline,
            )
            for name in WINDOWS
        }

    def scores(self, minute: int, feed: Feed) -> tuple[float, float | None, float | None]:
        """Return S(t), S-Score and S-Delta as of a minute that `values` was asked for.

        Source:
            Social Market Analytics: S-Score = (S - S-Mean)/S-Volatility; S-Delta is its change over
            15 minutes, here with mean and volatility of the later time for both.
        """
        now, earlier = self.buckets.decayed(minute)
        scale = self.days.s_scale(feed.up_days)
        if scale is None:
            return round(now, 6), None, None
        mean, volatility = scale
        return (
            round(now, 6),
            round((now - mean) / volatility, 6),
            round((now - earlier) / volatility, 6),
        )

    def _show(self, c: Contribution, before: Mapping[_Key, Evidence]) -> Evidence:
        # A text may count again behind the horizon: its id alone would bring back the old place.
        key = c.text_id, c.event_time, c.weight, self.stories.spread(c.story)
        if key not in self._shown:
            self._shown[key] = before.get(key) or self.evidence(c)
        return self._shown[key]

    def _values(
        self,
        name: str,
        minute: int,
        running: Running,
        shown: Sequence[Contribution],
        before: Mapping[_Key, Evidence],
        feed: Feed,
        baseline: float | None,
    ) -> WindowValues:
        sums, authors = running.now, running.authors.number
        index, error, interval = sums.tone.index, sums.standard_error, sums.interval
        low, high = interval or (None, None)
        divergence, z_divergence = sums.divergence or (None, None)
        z_tone = None
        if index is not None and error is not None and baseline is not None:
            z_tone = (index - baseline) / (error * error + _TONE_NOISE**2) ** 0.5
        expected = buzz = rarity = None
        week = self._usual_week(feed)
        if week is not None:
            expected = week.expected(minute, WINDOWS[name])
            buzz = (sums.stories + 0.5) / (expected + 0.5)
            rarity = tails.rarity(sums.stories, expected, self._shape(feed))
        return WindowValues(
            state=self._state(name, sums, feed),
            texts=sums.texts,
            stories=sums.stories,
            echo=_rounded(sums.echo),
            authors=authors,
            channels=running.channels.number,
            dispersion=_rounded(min(authors / sums.texts, 1.0)) if authors else None,
            negative=sums.negative,
            neutral=sums.neutral,
            positive=sums.positive,
            disagreement=_rounded(sums.disagreement),
            index=_rounded(index),
            echo_index=_rounded(sums.echo_index),
            low=_rounded(low),
            high=_rounded(high),
            effective=round(sums.effective, 3),
            divergence=_rounded(divergence),
            z_divergence=_rounded(z_divergence),
            baseline=_rounded(baseline),
            z_tone=_rounded(z_tone),
            z_volume=_rounded(self.days.volume_z(name, sums.stories, feed.up_days)),
            expected=_rounded(expected),
            buzz=_rounded(buzz),
            rarity=_rounded(rarity),
            move=move(sums, running.before, baseline, shown),
            evidence=[self._show(c, before) for c in shown],
        )

    @staticmethod
    def _state(name: str, sums: Sums, feed: Feed) -> State:
        if feed.holes.get(name):
            return "feed_hole"
        if len(feed.up_days) < LEAST_DAYS:
            return "blind"
        return "ok" if sums.effective >= _LEAST_EFFECTIVE else "thin"

    def _usual_week(self, feed: Feed) -> Week | None:
        if feed.week is None:
            return None
        past = self.days.over(feed.up_days)
        known = self._week
        if known is None or known[0] is not feed.week or known[1] is not past:
            known = self._week = feed.week, past, own(self.days, feed.up_days, feed.week)
        return known[2]

    def _shape(self, feed: Feed) -> float:
        """Return the shape of the negative binomial, from mean and variance of daily stories.

        Method of moments: variance = mean + mean²/shape.
        """
        past = self.days.over(feed.up_days)
        mean, variance = past.mean, past.variance
        least, most = _SHAPES
        return min(max(mean * mean / max(variance - mean, 1e-9), least), most)

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
        """Return a contribution as it is published, with what is known of its story so far."""
        return Evidence(
            text_id=c.text_id,
            event_time=c.event_time,
            channel=c.channel,
            origin=c.origin,
            score=c.score / MILLION,
            weight=c.weight / MILLION,
            story=c.fingerprint,
            snippet=c.snippet,
            **self.stories.spread(c.story)._asdict(),
        )

    def moved_by(
        self, window: str, minute: int, baseline: float | None, most: int
    ) -> tuple[Move | None, list[Evidence]]:
        """Return the move of a window and the texts that contribute most to it, either way.

        They are chosen among the strongest texts of each minute; the remainder holds the others.
        """
        running = self.buckets.at(minute)[window]
        moved = move(running.now, running.before, baseline)
        if moved is None:
            return None, []
        shown = sorted(
            self._top(window, minute),
            key=lambda c: (-abs(contribution(c, running.now, moved.before)), c.text_id),
        )[:most]
        return move(running.now, running.before, baseline, shown), [*map(self.evidence, shown)]

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
        """Read them back. Buckets, open votes and older days have rows of their own."""
        self.closed, self._pruned = row[0], row[1]
        self.days.restore(row[2])
        self.episodes = {rule: Episode(*values) for rule, values in row[3].items()}
        for minute in self.buckets.span(0, self._pruned):
            self._forget(minute, self.buckets[minute])


def _text_key(vote: Vote) -> int:
    return int(vote.text_id[:16], 16)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
