"""Linking on tweets whose cashtags have lost their `$`: what was a cashtag is the truth."""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from streams.core.entity_codes import codes
from streams.core.fingerprint import fingerprint
from streams.core.text import normalise
from tests.bench.entities.labelled import is_held_out
from tests.bench.entities.register import KINDS, Kind, Register

REPLAY: Final = "replay_tweets_2014_2015.jsonl.gz"
LETTERS: Final = ("C", "D", "T", "V")
"""Symbols of one letter: their cashtags collect chatter, so only recall is reported."""


@dataclass
class Judged:
    """Linked mentions of one kind."""

    right: int = 0
    """the very place was a cashtag of the company, or the tweet has one elsewhere"""
    untagged: int = 0
    """the tweet has no cashtag of the company and its sender's list does not name it"""


@dataclass
class Tweets:
    """What the tweets show, of 86 companies only."""

    texts: int = 0
    pairs: Counter[str] = field(default_factory=Counter)
    """(tweet, company) by cashtag: `bare`, or the letter"""
    bare: Counter[str] = field(default_factory=Counter)
    """of these: linked where the cashtag lost its `$`, or by name"""
    tagged: Counter[str] = field(default_factory=Counter)
    """of these: linked in the tweet as it was"""
    found: dict[Kind, Judged] = field(default_factory=lambda: {kind: Judged() for kind in KINDS})
    confusions: Counter[tuple[Kind, str, str]] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    texts_of: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))


def measure(data: Path, register: Register, *, held_out: bool) -> Tweets:
    """Return what linking does on one half of the distinct English tweets."""
    events = list(_read(data / REPLAY))
    index = register.index
    universe = {
        linked.symbol for event in events for linked in index.link("", event.get("tickers") or ())
    }
    result = Tweets()
    stories: set[str] = set()
    for event in events:
        text = normalise(event["text"])
        story = fingerprint(text)
        if event.get("lang") != "en" or story in stories or is_held_out(text) != held_out:
            continue
        stories.add(story)
        given = {linked.symbol for linked in index.link("", event.get("tickers") or ())}
        _compare(text, given, universe, register, result)
    return result


def _compare(
    text: str, given: set[str], universe: set[str], register: Register, result: Tweets
) -> None:
    tagged: set[str] = set()
    parts: list[str] = []
    at = 0
    for code in codes(text, register.symbols):
        if code.form == "cashtag":
            tagged.add(register.symbols.get(code.symbol, code.symbol))
            parts.append(text[at : code.start])
            at = code.start + 1
    stripped = "".join([*parts, text[at:]])
    truth = tagged & universe
    mentions = [m for m in register.index.mentions(stripped) if m.symbol in universe]
    linked = {mention.symbol for mention in mentions}
    as_it_was = {mention.symbol for mention in register.index.mentions(text)}
    result.texts += 1
    for symbol in truth:
        group = symbol if symbol in LETTERS else "bare"
        result.pairs[group] += 1
        result.bare[group] += symbol in linked
        result.tagged[group] += symbol in as_it_was
        if symbol not in linked:
            result.missed[symbol] += 1
    for mention in mentions:
        if mention.symbol in LETTERS:
            continue
        written = stripped[mention.start : mention.end]
        kind = register.kind(written, mention.symbol)
        if mention.symbol in tagged | given:
            result.found[kind].right += 1
        else:
            result.found[kind].untagged += 1
            result.confusions[kind, written, mention.symbol] += 1
            result.texts_of[written, mention.symbol].append(stripped)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
