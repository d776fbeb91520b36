"""Synthetic votes of the sizes that score writes, and the baselines of subjects before them.

Activity of companies follows Zipf's law; every text also votes for the market and one topic. Ids
are random and snippets are words drawn at random, so nothing compresses better than real traffic.
"""

import gzip
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from aiokafka.partitioner import murmur2

from streams.core.baseline import MINUTES_PER_DAY, Days
from streams.core.fold import DAYS_ROW, Fold
from streams.core.labels import MARKET, TOPIC_SLUGS
from streams.core.records import MILLION, Origin
from streams.core.sources import source_name
from streams.core.subject import Subject
from streams.core.topics import INPUTS, STATE, VOTES
from streams.core.votes import Marker, Vote
from streams.samples import STREAM
from streams.worker import load_rules

PARTITIONS: Final = 4
LATENESS_MS: Final = 60_000
BASELINE_DAYS: Final = 20

TOPIC_IDS: Final = {t: f"{n:022d}" for n, t in enumerate((*INPUTS, VOTES, STATE), 1)}
"""as long as those of Kafka"""

_DAY_MS: Final = MINUTES_PER_DAY * 60_000
_PLACES: Final = [(topic, p) for topic in INPUTS for p in range(PARTITIONS)]
_SOURCES: Final = {place: source_name(place[0], TOPIC_IDS[place[0]], place[1]) for place in _PLACES}
_NEWS_SHARE: Final = 0.3
_ENTITIES: Final = (0.10, 0.55, 0.20, 0.10, 0.05)
"""shares of texts that name 0, 1, 2, 3, 4 companies"""
_COPIES: Final = 0.15
"""share of texts that are copies of a recent story"""
_ZIPF: Final = 1.05
_DELAY_S: Final = 2.0

VOTES_PER_TEXT: Final = 2 + sum(n * share for n, share in enumerate(_ENTITIES))


@dataclass(frozen=True, slots=True)
class Tick:
    """What score writes to votes.v1 in a moment."""

    end_ms: int
    votes: dict[int, list[tuple[str, bytes]]]
    """partition → (subject, record)"""
    marker: bytes


class Load:
    """Texts about so many subjects, as votes.

    Args:
        subjects: Companies, topics and the market together.
        seed: The same seed gives the same votes.
    """

    def __init__(self, subjects: int, seed: int = 1) -> None:
        topics = [f"topic:{slug}" for slug in TOPIC_SLUGS]
        self._topics = topics
        self._tickers = [f"ticker:{_symbol(n)}" for n in range(subjects - len(topics) - 1)]
        self.subjects = [MARKET, *topics, *self._tickers]
        self.partition_of = {
            name: (murmur2(name.encode()) & 0x7FFFFFFF) % PARTITIONS for name in self.subjects
        }
        self.market = self.partition_of[MARKET]
        self._random = random.Random(seed)
        self._rng = np.random.default_rng(seed)
        weights = (np.arange(len(self._tickers)) + 2.7) ** -_ZIPF
        self._shares = weights / weights.sum()
        self._draws = self._drawn()
        self._words = _words()
        self._offsets = dict.fromkeys(_SOURCES, 0)
        self._reached: dict[str, int] = {}
        self._stories: list[tuple[str, str]] = []

    def _drawn(self) -> Iterator[str]:
        cumulative = np.cumsum(self._shares)
        while True:
            for at in np.searchsorted(cumulative, self._rng.random(100_000)):
                yield self._tickers[min(int(at), len(self._tickers) - 1)]

    def ticks(self, start_ms: int, seconds: float, rate: float, step_ms: int) -> Iterator[Tick]:
        """Yield votes at `rate` a second, in event time, cut every `step_ms`."""
        owed = 0.0
        for end in range(start_ms + step_ms, start_ms + round(seconds * 1000) + 1, step_ms):
            owed += rate * step_ms / 1000 / VOTES_PER_TEXT
            votes: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
            marks: dict[str, tuple[int | None, int | None]] = {}
            for at in sorted(self._random.randrange(step_ms) for _ in range(int(owed))):
                self._text(end - step_ms + at, votes, marks)
            owed -= int(owed)
            yield Tick(end, votes, Marker(1, marks, tuple(_SOURCES.values())).to_json())

    def _text(
        self,
        now_ms: int,
        votes: dict[int, list[tuple[str, bytes]]],
        marks: dict[str, tuple[int | None, int | None]],
    ) -> None:
        draw = self._random
        topic = INPUTS[0] if draw.random() < _NEWS_SHARE else INPUTS[1]
        place = (topic, draw.randrange(PARTITIONS))
        offset = self._offsets[place] = self._offsets[place] + 1
        origin = Origin(*place, offset)
        event_time = now_ms - min(round(draw.expovariate(1 / _DELAY_S) * 1000), 30_000)
        source = _SOURCES[place]
        self._reached[source] = max(event_time, self._reached.get(source, 0))
        marks[source] = (self._reached[source], None)
        named = draw.choices(range(len(_ENTITIES)), _ENTITIES)[0]
        about = dict.fromkeys(itertools.islice(self._draws, named))
        fingerprint, snippet = self._story()
        text_id = draw.randbytes(16).hex()
        news = topic == INPUTS[0]
        for index, subject in enumerate([*about, MARKET, draw.choice(self._topics)]):
            vote = Vote(
                id=draw.randbytes(16).hex(),
                text_id=text_id,
                subject=subject,
                event_time=event_time,
                channel="newswire" if news else "chirp",
                score=draw.randrange(-MILLION, MILLION + 1),
                label=draw.randrange(3),
                relevance=draw.randrange(100_000, MILLION),
                confidence=draw.randrange(400_000, MILLION),
                fingerprint=fingerprint,
                author="" if news else draw.randbytes(8).hex(),
                origin=origin,
                index=index,
                model="opinion/1",
                ingested_at=now_ms,
                scored_at=now_ms + 300,
                snippet=snippet,
                source=source,
            )
            votes[self.partition_of[subject]].append((subject, vote.to_json()))

    def _story(self) -> tuple[str, str]:
        draw = self._random
        if self._stories and draw.random() < _COPIES:
            return draw.choice(self._stories)
        text = " ".join(draw.choices(self._words, k=draw.randrange(6, 25)))
        story = (draw.randbytes(8).hex(), text[:200])
        self._stories = [*self._stories[-499:], story]
        return story

    def baseline(self, partition: int, first_ms: int, votes_a_day: float) -> dict[str, bytes]:
        """Return a partition's rows as they stand after twenty days, all minutes of them gone.

        Args:
            partition: Its number.
            first_ms: When the days are over.
            votes_a_day: Of all partitions together; companies share what is theirs by Zipf's law.
        """
        fold = Fold(partition, PARTITIONS, LATENESS_MS)
        fold.adopt(load_rules(None))
        _, changes = fold.take()
        rows = {key: value for key, value in changes.items() if value is not None}
        last_day = first_ms // _DAY_MS - 1
        texts = votes_a_day / VOTES_PER_TEXT
        shares = {
            MARKET: texts,
            **dict.fromkeys(self._topics, texts / len(self._topics)),
            **dict(zip(self._tickers, self._shares * texts * (VOTES_PER_TEXT - 2), strict=True)),
        }
        whole = Days()
        for name in self.subjects:
            if self.partition_of[name] != partition:
                continue
            stories = self._rng.poisson(shares[name], BASELINE_DAYS).tolist()
            stories[-1] = max(stories[-1], 1)
            subject = Subject(name)
            for day, count in enumerate(stories, last_day - BASELINE_DAYS + 1):
                if count:
                    w = count * self._random.randrange(200_000, 600_000)
                    ws = w * self._random.randrange(-300_000, 300_000)
                    subject.days.by_day[day] = [count, w, ws]
                    total = whole.by_day.setdefault(day, [0, 0, 0])
                    whole.by_day[day] = [total[0] + count, total[1] + w, total[2] + ws]
            subject.advance((last_day + 1) * MINUTES_PER_DAY - 1)
            rows[name] = orjson.dumps(subject.to_row())
        rows[DAYS_ROW] = orjson.dumps(whole.to_row())
        return rows


def _symbol(number: int) -> str:
    letters = ""
    for _ in range(4):
        number, at = divmod(number, 26)
        letters = chr(65 + at) + letters
    return letters


def _words() -> list[str]:
    with gzip.open(STREAM) as lines:
        texts = [orjson.loads(line)["text"] for line in lines]
    return sorted({word for text in texts for word in text.split()})
