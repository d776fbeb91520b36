"""A replay's votes through the subjects of the fold, one vote at a time."""

import gzip
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import median

from streams.core.baseline import Days
from streams.core.subject import Subject
from streams.core.votes import Vote


@dataclass
class Desk:
    """The subjects of a replay as they stand at a minute."""

    subjects: dict[str, Subject] = field(default_factory=dict)
    days: Days = field(default_factory=Days)
    """of all subjects together"""
    largest: dict[str, int] = field(default_factory=dict)
    """subject → leader of the story with most copies"""

    def take(self, vote: Vote) -> tuple[Subject, int, int]:
        """Count a vote; return its subject, its weight, and whether it tells a new story.

        Votes come in time order, so closing the minute behind each one ranks them as closing it
        once would.
        """
        subject = self.subjects.get(vote.subject)
        if subject is None:
            subject = self.subjects[vote.subject] = Subject(vote.subject)
        if subject.closed is None or vote.minute > subject.closed:
            subject.advance(vote.minute)
            subject.days.expire(vote.minute // 1440)
        subject.receive(vote)
        added, _ = subject.close(vote.minute)
        self.days.add(vote.minute, added)
        return subject, added.tone.w, added.stories


def votes(path: Path) -> Iterator[Vote]:
    """Yield the votes of a file about companies and the market, in time order."""
    read: list[Vote] = []
    with gzip.open(path, "rb") as file:
        for line in file:
            vote = Vote.from_json(line)
            if not vote.subject.startswith("topic:"):
                read.append(vote)
    yield from sorted(read, key=lambda v: (v.event_time, v.text_id))


def abnormal_moves(path: Path, least: float) -> dict[tuple[int, str], float]:
    """Return the market-adjusted returns of at least this size, by day since the epoch and symbol.

    Adjusted by the median return of all symbols of the day.
    """
    closes: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        next(file)
        for line in file:
            day, symbol, _, _, _, _, close, _ = line.split(",")
            closes[symbol].append((date.fromisoformat(day).toordinal() - 719_163, float(close)))
    returns: dict[int, dict[str, float]] = defaultdict(dict)
    for symbol, series in closes.items():
        for (_, before), (day, close) in pairwise(series):
            returns[day][symbol] = close / before - 1
    found = {}
    for day, of in returns.items():
        middle = median(of.values())
        for symbol, change in of.items():
            if abs(change - middle) >= least:
                found[day, symbol] = change - middle
    return found
