"""Linking in headlines that nobody annotated: a sample is read.

Headlines of general and business news are where an ambiguous name means something else most often.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streams.core.text import normalise
from tests.bench.entities.judgements import Case, Judgements, digest
from tests.bench.entities.labelled import Found, is_held_out, read_lines
from tests.bench.entities.register import KINDS, Kind, Register

REPLAY: Final = "replay_news_en_2017_2019.jsonl.gz"
SAMPLE: Final = 60
"""Links of a kind that are read, at most."""


@dataclass
class Headlines:
    """What the headlines show."""

    texts: int = 0
    linked: int = 0
    """of these: linked to at least one company"""
    links: Counter[Kind] = field(default_factory=Counter)
    found: dict[Kind, Found] = field(default_factory=lambda: {kind: Found() for kind in KINDS})
    confusions: Counter[str] = field(default_factory=Counter)
    unread: list[Case] = field(default_factory=list)


def measure(data: Path, register: Register, judgements: Judgements, *, held_out: bool) -> Headlines:
    """Return what linking does on one half of the distinct headlines."""
    result = Headlines()
    cases: dict[Kind, list[Case]] = {kind: [] for kind in KINDS}
    texts = {normalise(event["text"]) for event in read_lines(data / REPLAY)}
    for text in sorted(texts):
        if is_held_out(text) != held_out:
            continue
        result.texts += 1
        mentions = register.index.mentions(text)
        result.linked += bool(mentions)
        for mention in mentions:
            written = text[mention.start : mention.end]
            kind = register.kind(written, mention.symbol)
            result.links[kind] += 1
            cases[kind].append(Case("headlines", text, mention.start, written, mention.symbol))
    for kind, of_kind in cases.items():
        # Drawn by a hash, so that a better linker keeps most of the sample.
        of_kind.sort(key=lambda case: digest("/".join(case.key)))
        for case in of_kind[:SAMPLE]:
            verdict = judgements.right(case)
            result.found[kind].read(verdict)
            if verdict is None:
                result.unread.append(case)
            elif not verdict:
                result.confusions[f"{case.written} as {case.symbol}"] += 1
    return result
