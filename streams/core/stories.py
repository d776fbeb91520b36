"""The stories of a subject: near copies of one text, over the horizon in which they are compared.

A text joins the story whose leader's fingerprint agrees with its own in most places, at least six
of eight; a text that joins none leads a story of its own. Leaders are found by the three groups of
places of a fingerprint (`fingerprint.bands`), never by going through all. The leader is written
down with every copy, so stories that were read back from rows are those that were formed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from streams.core.counting import count_in
from streams.core.fingerprint import AGREE, PLACES, agreement, bands
from streams.core.records import Verdict

REPOST: Final = 1
NEWS: Final = 2
"""Marks of a copy, which may be added up."""

_LEAST_COPIES: Final = 20
"""Fewer copies of a story are never called coordinated: a joke reaches that many by itself."""
_LEAST_ACCOUNTS: Final = 10
_REPEATS: Final = 4


class Copy(NamedTuple):
    """A text of a story."""

    minute: int
    author: int
    """32-bit key of the author, 0 if unknown"""
    channel: str
    """empty if unknown"""
    marks: int


@dataclass(slots=True)
class Story:
    """Two and more copies, as counts that copies can leave again."""

    minutes: dict[int, int] = field(default_factory=dict)
    authors: dict[int, int] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    copies: int = 0
    reposts: int = 0
    news: int = 0

    def count(self, copy: Copy, step: int) -> None:
        """Add a copy, or take it away with step -1."""
        self.copies += step
        self.reposts += step * (copy.marks & REPOST)
        self.news += step * ((copy.marks & NEWS) // NEWS)
        count_in(self.minutes, copy.minute, step)
        if copy.channel:
            count_in(self.channels, copy.channel, step)
        if copy.author:
            count_in(self.authors, copy.author, step)

    def verdict(self, said: int) -> Verdict:
        """Return whether a story spreads by itself, is spread, or nobody can tell.

        *organic*: a news source carries it, or more than one channel does.

        *coordinated*: one channel only and 20 copies or more, and either
        (a) they are at least three quarters of all that is said about the subject, so hardly
        anybody tells in other words what everybody repeats; or
        (b) on average each account repeats it four times or more; or
        (c) ten accounts or more say the same words as their own, without saying whom they repeat.

        *unconfirmed*: everything else, such as the ordinary retweets of one platform.

        Sources:
            (c) is co-tweeting: Keller et al., Political Astroturfing on Twitter. Political
            Communication 37 (2020); Pacheco et al., Uncovering Coordinated Networks on Social
            Media. ICWSM 2021. (a) and (b) are ours, as are the thresholds (docs/analytics.md).

        Args:
            said: Texts about the subject over the same time.
        """
        if self.news or len(self.channels) > 1:
            return "organic"
        if self.copies < _LEAST_COPIES:
            return "unconfirmed"
        crowding = 4 * self.copies >= 3 * said
        repeating = 0 < len(self.authors) * _REPEATS <= self.copies
        posing = len(self.authors) >= _LEAST_ACCOUNTS and 2 * self.reposts < self.copies
        return "coordinated" if crowding or repeating or posing else "unconfirmed"


class Spread(NamedTuple):
    """How far a story has spread."""

    copies: int
    authors: int
    """different known ones"""
    channels: int
    verdict: Verdict


class Stories:
    """The stories of a subject, with the copies that are remembered."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        """minutes over which copies are compared"""
        self.said = 0
        """copies that are remembered, of all stories"""
        # Most stories have one copy only: it stands for itself.
        self._stories: dict[int, Copy | Story] = {}
        self._leaders: dict[int, list[int]] = {}

    def join(self, fingerprint: int, minute: int) -> int:
        """Return the leader of the story to which a text of a minute belongs, maybe itself.

        Of equally near leaders the least fingerprint leads.
        """
        after = minute - self.horizon
        if fingerprint in self._stories and self._newest(fingerprint) > after:
            return fingerprint
        nearest, least = PLACES - AGREE + 1, fingerprint
        for leader in self._near(fingerprint):
            away = PLACES - agreement(fingerprint, leader)
            if (away, leader) < (nearest, least) and self._newest(leader) > after:
                nearest, least = away, leader
        return least

    def _near(self, fingerprint: int) -> Iterator[int]:
        for band in bands(fingerprint):
            yield from self._leaders.get(band, ())

    def add(self, leader: int, copy: Copy) -> None:
        """Take a copy into a story."""
        self.said += 1
        known = self._stories.get(leader)
        if known is None:
            self._stories[leader] = copy
            for band in bands(leader):
                self._leaders.setdefault(band, []).append(leader)
            return
        if not isinstance(known, Story):
            first, known = known, Story()
            known.count(first, 1)
            self._stories[leader] = known
        known.count(copy, 1)

    def forget(self, leader: int, copy: Copy) -> None:
        """Take a copy away again; a story without copies is gone."""
        known = self._stories.get(leader)
        if known is None:
            return
        self.said -= 1
        if isinstance(known, Story):
            known.count(copy, -1)
            if known.copies:
                return
        del self._stories[leader]
        for band in bands(leader):
            leaders = self._leaders[band]
            leaders.remove(leader)
            if not leaders:
                del self._leaders[band]

    def copies_since(self, leader: int, minute: int) -> int:
        """Return how many copies a story has after a minute."""
        known = self._stories.get(leader)
        if known is None:
            return 0
        if isinstance(known, Story):
            return sum(n for at, n in known.minutes.items() if at > minute)
        return int(known.minute > minute)

    def of(self, leader: int) -> Story:
        """Return what is remembered of a story."""
        known = self._stories.get(leader)
        if isinstance(known, Story):
            return known
        story = Story()
        if known is not None:
            story.count(known, 1)
        return story

    def spread(self, leader: int) -> Spread:
        """Return how far a story has spread; one that nobody remembers has had one copy."""
        known = self._stories.get(leader)
        if isinstance(known, Story):
            verdict = known.verdict(self.said)
            return Spread(known.copies, len(known.authors), max(len(known.channels), 1), verdict)
        news = known is not None and known.marks & NEWS
        authors = int(known is not None and known.author != 0)
        return Spread(1, authors, 1, "organic" if news else "unconfirmed")

    def _newest(self, leader: int) -> int:
        known = self._stories[leader]
        return max(known.minutes) if isinstance(known, Story) else known.minute
