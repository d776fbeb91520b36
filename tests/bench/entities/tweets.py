"""Linking on tweets whose cashtags have lost their `$`: what was a cashtag is the truth."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streams.core.entity_codes import codes
from streams.core.fingerprint import fingerprint
from streams.core.text import normalise
from tests.bench.entities.judgements import Case, Judgements
from tests.bench.entities.labelled import Found, is_held_out, read_lines
from tests.bench.entities.register import KINDS, Kind, Register

REPLAY: Final = "replay_tweets_2014_2015.jsonl.gz"
LETTERS: Final = ("C", "D", "T", "V")
"""Symbols of one letter: their cashtags collect chatter, so only recall is reported."""


@dataclass
class Tweets:
    """What the tweets show, of 86 companies only."""

    texts: int = 0
    pairs: Counter[str] = field(default_factory=Counter)
    """(tweet, company) by cashtag: `bare`, or the letter"""
    bare: Counter[str] = field(default_factory=Counter)
    """of these: linked where the cashtag lost its `$`, or by name"""
    given: Counter[str] = field(default_factory=Counter)
    """(tweet, company) by the list of tickers that came with the tweet"""
    tagged: Counter[str] = field(default_factory=Counter)
    """of these: linked in the tweet as it was, without its list"""
    found: dict[Kind, Found] = field(default_factory=lambda: {kind: Found() for kind in KINDS})
    """links outside `LETTERS`; right: the tweet has a cashtag of the company, or its list does"""
    confusions: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    unread: list[Case] = field(default_factory=list)


def measure(data: Path, register: Register, judgements: Judgements, *, held_out: bool) -> Tweets:
    """Return what linking does on one half of the distinct English tweets."""
    events = list(read_lines(data / REPLAY))
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
        _compare(text, given, universe, register, judgements, result)
    return result


def _compare(
    text: str,
    given: set[str],
    universe: set[str],
    register: Register,
    judgements: Judgements,
    result: Tweets,
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
        if symbol not in linked:
            result.missed[symbol] += 1
    for symbol in given:
        group = symbol if symbol in LETTERS else "bare"
        result.given[group] += 1
        result.tagged[group] += symbol in as_it_was
    for mention in mentions:
        if mention.symbol in LETTERS:
            continue
        written = stripped[mention.start : mention.end]
        kind = register.kind(written, mention.symbol)
        found = result.found[kind]
        if mention.symbol in tagged | given:
            found.right += 1
        elif register.names(mention.symbol, written):
            found.listed += 1
        else:
            case = Case("tweets", stripped, mention.start, written, mention.symbol)
            verdict = judgements.right(case)
            found.read(verdict)
            if verdict is None:
                result.unread.append(case)
            elif not verdict:
                result.confusions[f"{written} as {mention.symbol}"] += 1
