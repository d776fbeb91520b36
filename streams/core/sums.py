"""What texts add up to, in integers, so that order does not matter and sums come apart again.

Weights are integers of 10⁻⁶, their products with scores of 10⁻¹².
"""

import math
from dataclasses import dataclass, field
from typing import Final, Self

from streams.core.records import MILLION
from streams.core.votes import Vote

FULL_TURNS: Final = 3
"""An author's texts about a subject that count fully inside the horizon."""

_NOVELTY: Final = tuple(round(MILLION * 0.75**n) for n in range(48))
# The variance of one text's score where a window has too few texts to tell (four pseudo-texts): the
# least with which intervals covered on half of the replay's subjects (docs/analytics.md).
_PRIOR_VARIANCE: Final = 0.45**2
_PRIOR_TEXTS: Final = 4.0
_Z95: Final = 1.96


def novelty(rank: int) -> int:
    """Return the weight factor in 10⁻⁶ of a story's copy number `rank`, counted from one.

    Source:
        RavenPack event novelty score: 100·0.75^(n-1) inside 24 hours.
    """
    return _NOVELTY[rank - 1] if rank <= len(_NOVELTY) else 0


def share_of_turn(turn: int) -> int:
    """Return the weight factor in 10⁻⁶ of an author's text number `turn` about a subject.

    The first three count fully, each later one half of the one before: 1, 1, 1, ½, ¼ … So no
    author ever counts more than four full texts inside the horizon. Ours; vendors admit accounts
    by hand instead (Social Market Analytics).
    """
    return MILLION if turn <= FULL_TURNS else MILLION >> (turn - FULL_TURNS)


def weight_of(vote: Vote, rank: int, turn: int) -> int:
    """Return relevance · confidence · novelty · share of the author's turn, in 10⁻⁶."""
    return vote.weight * novelty(rank) // MILLION * share_of_turn(turn) // MILLION


@dataclass(slots=True)
class Tone:
    """Weighted scores of some texts."""

    w: int = 0
    ws: int = 0
    wss: int = 0
    """Σ w·s², in 10⁻¹² (one factor of 10⁻⁶ dropped per text, to stay within 64 bits)"""
    ww: int = 0

    def count(self, weight: int, score: int) -> None:
        """Add a text."""
        self.w += weight
        self.ws += weight * score
        self.wss += weight * score * score // MILLION
        self.ww += weight * weight

    def add(self, other: "Tone", sign: int = 1) -> None:
        """Add the other's texts, or take them away with sign -1."""
        self.w += sign * other.w
        self.ws += sign * other.ws
        self.wss += sign * other.wss
        self.ww += sign * other.ww

    @property
    def index(self) -> float | None:
        """Σws/Σw in [-1, 1], None without evidence."""
        return self.ws / self.w / MILLION if self.w else None

    @property
    def effective(self) -> float:
        """Effective sample (Σw)²/Σw² of independent texts.

        Source:
            Kish: Survey Sampling (1965), section 11.7.
        """
        return self.w * self.w / self.ww if self.ww else 0.0

    def standard_error(self, effective: float) -> float | None:
        """Standard error of the index, its variance shrunk towards that of a typical text.

        √(v/n) with v = (n·s² + 4·0.45²)/(n + 4), n the effective sample and s² the weighted
        variance of the scores.
        """
        if not self.w:
            return None
        mean = self.ws / self.w / MILLION
        spread = max(self.wss / self.w / MILLION - mean * mean, 0.0)
        variance = (effective * spread + _PRIOR_TEXTS * _PRIOR_VARIANCE) / (
            effective + _PRIOR_TEXTS
        )
        return math.sqrt(variance / effective)

    def interval(self, effective: float) -> tuple[float, float] | None:
        """95 % interval of the index, inside [-1, 1]."""
        index, error = self.index, self.standard_error(effective)
        if index is None or error is None:
            return None
        return max(index - _Z95 * error, -1.0), min(index + _Z95 * error, 1.0)

    def to_row(self) -> list[int]:
        """Return the numbers in order."""
        return [self.w, self.ws, self.wss, self.ww]


@dataclass(slots=True)
class Sums:
    """What a minute or a window adds up to; addition and subtraction are exact."""

    texts: int = 0
    stories: int = 0
    """first copies"""
    negative: int = 0
    neutral: int = 0
    positive: int = 0
    tone: Tone = field(default_factory=Tone)
    echo_w: int = 0
    """Σ relevance · confidence: every copy and every text of an author the same"""
    echo_ws: int = 0
    news: Tone = field(default_factory=Tone)
    """of the texts from news sources"""

    def count(self, vote: Vote, rank: int, turn: int) -> int:
        """Add a text; return its weight.

        Args:
            vote: What it says.
            rank: Which copy of its story it is, from one.
            turn: Which text of its author about this subject it is, from one.
        """
        weight = weight_of(vote, rank, turn)
        self.texts += 1
        self.stories += rank == 1
        self.negative += vote.label == 0
        self.neutral += vote.label == 1
        self.positive += vote.label == 2
        self.tone.count(weight, vote.score)
        self.echo_w += vote.weight
        self.echo_ws += vote.weight * vote.score
        if vote.from_news:
            self.news.count(weight, vote.score)
        return weight

    def add(self, other: "Sums", sign: int = 1) -> None:
        """Add the other sums, or take them away with sign -1."""
        self.texts += sign * other.texts
        self.stories += sign * other.stories
        self.negative += sign * other.negative
        self.neutral += sign * other.neutral
        self.positive += sign * other.positive
        self.tone.add(other.tone, sign)
        self.echo_w += sign * other.echo_w
        self.echo_ws += sign * other.echo_ws
        if other.news.w:
            self.news.add(other.news, sign)

    def copy(self) -> "Sums":
        """Return sums that go on by themselves."""
        return Sums.from_row(self.to_row())

    @property
    def effective(self) -> float:
        """Effective sample of the window: no more than the stories that it tells.

        Copies of one story say the same, however many there are; what is told again of a story
        from before the window counts as one.
        """
        return self._effective(self.tone)

    def _effective(self, tone: Tone) -> float:
        return min(tone.effective, max(self.stories, 1.0))

    @property
    def standard_error(self) -> float | None:
        """Standard error of the index over the effective sample."""
        return self.tone.standard_error(self.effective)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the index over the effective sample."""
        return self.tone.interval(self.effective)

    @property
    def social(self) -> Tone:
        """The texts that don't come from news sources."""
        rest = Tone(*self.tone.to_row())
        rest.add(self.news, -1)
        return rest

    @property
    def echo_index(self) -> float | None:
        """The index in which every copy of a story weighs the same."""
        return self.echo_ws / self.echo_w / MILLION if self.echo_w else None

    @property
    def echo(self) -> float | None:
        """Share of the texts that are copies of a story told before; None without texts."""
        return 1 - self.stories / self.texts if self.texts else None

    @property
    def disagreement(self) -> float | None:
        """1 - |n⁺ - n⁻|/(n⁺ + n⁻): 0 where all who take a side take the same, 1 where they split.

        Source:
            After GDELT's polarity: charged but balanced is another thing than calm.
        """
        sides = self.positive + self.negative
        return 1 - abs(self.positive - self.negative) / sides if sides else None

    @property
    def divergence(self) -> tuple[float, float] | None:
        """Index of the news less that of social media, and its z; None unless both have texts.

        z = (m_news - m_social) / √(se²_news + se²_social), Welch's statistic.
        """
        if not self.news.w or self.news.w == self.tone.w:
            return None
        social = self.social
        here, there = self.news.index, social.index
        here_error = self.news.standard_error(self._effective(self.news))
        there_error = social.standard_error(self._effective(social))
        if here is None or there is None or here_error is None or there_error is None:
            return None
        return here - there, (here - there) / math.hypot(here_error, there_error)

    def to_row(self) -> list[int]:
        """Return the numbers in order."""
        return [
            self.texts,
            self.stories,
            self.negative,
            self.neutral,
            self.positive,
            *self.tone.to_row(),
            self.echo_w,
            self.echo_ws,
            *self.news.to_row(),
        ]

    @classmethod
    def from_row(cls, row: list[int]) -> Self:
        """Read them back; rows up to schema 3 did not tell news from social media."""
        return cls(
            texts=row[0],
            stories=row[1],
            negative=row[2],
            neutral=row[3],
            positive=row[4],
            tone=Tone(*row[5:9]),
            echo_w=row[9],
            echo_ws=row[10],
            news=Tone(*row[11:15]),
        )
