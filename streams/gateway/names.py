"""What people call the subjects, for lists and for the search."""

import csv
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from streams.core.entities import SHIPPED
from streams.core.labels import MARKET, TOPIC_SLUGS, TOPICS

_TOPIC_NAMES = dict(zip(TOPIC_SLUGS, TOPICS, strict=True))


def kind_of(subject: str) -> Literal["ticker", "topic", "market"]:
    """Return what a subject is."""
    return "market" if subject == MARKET else "topic" if subject.startswith("topic:") else "ticker"


class SubjectNames:
    """Names of companies out of the dictionaries, of topics out of the labels."""

    def __init__(self, dictionaries: Iterable[Path] = ()) -> None:
        """Read the shipped dictionaries and others; the last one's name of a symbol counts."""
        self._companies: dict[str, str] = {}
        for path in reversed((*SHIPPED, *dictionaries)):
            with path.open(encoding="utf-8", newline="") as lines:
                for row in csv.DictReader(lines):
                    self._companies.setdefault(row["symbol"], row["name"])

    def near(self, subject: str, known: Iterable[str], most: int = 3) -> list[str]:
        """Return the known subjects whose symbol or name resembles what was asked for.

        Args:
            subject: What somebody typed.
            known: Subjects to choose from.
            most: How many.
        """
        wanted = subject.rpartition(":")[2].casefold()
        by_word: dict[str, str] = {}
        for each in known:
            by_word.setdefault(self.name(each).casefold(), each)
            by_word[each.rpartition(":")[2].casefold()] = each
        words = get_close_matches(wanted, by_word, n=2 * most)
        return list(dict.fromkeys(by_word[word] for word in words))[:most]

    def name(self, subject: str) -> str:
        """Return the name of a subject; the symbol itself where none is known."""
        kind, _, rest = subject.partition(":")
        if subject == MARKET:
            return "Whole market"
        if kind == "topic":
            return _TOPIC_NAMES.get(rest, rest)
        return self._companies.get(rest, rest or subject)
