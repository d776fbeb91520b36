"""Linking against the entities that annotators marked (FinEntity, SEntFiN)."""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from streams.core.text import normalise, occurrences
from tests.bench.entities.judgements import Case, Judgements
from tests.bench.entities.register import KINDS, Company, Kind, Register

SETS: Final = {"FinEntity": "en_entity_finentity", "SEntFiN": "en_entity_sentfin"}

Span = tuple[int, int]


@dataclass
class Found:
    """How the links of one kind compare with what the texts mean."""

    right: int = 0
    """annotated as this company"""
    wrong: int = 0
    """annotated as another company"""
    listed: int = 0
    """not annotated; the list of American companies has this very name for this company alone"""
    read_right: int = 0
    """not decided by annotations or lists; a reader says that the text means this company"""
    read_wrong: int = 0
    """the same, and it does not"""
    open: int = 0
    """the same, and nobody has read it"""

    def read(self, verdict: bool | None) -> None:
        """Count a link that annotations do not decide."""
        self.read_right += verdict is True
        self.read_wrong += verdict is False
        self.open += verdict is None


@dataclass
class Result:
    """What one set shows."""

    texts: int = 0
    entities: int = 0
    """distinct (text, entity) pairs"""
    no_company: int = 0
    """of these: in no list of companies"""
    unknown: int = 0
    """a listed company that the shipped dictionaries lack"""
    unknown_linked: int = 0
    """of the unknown: linked as some company"""
    wanted: Counter[Kind] = field(default_factory=Counter)
    """companies that the dictionaries have, by how the annotators' name is known"""
    reached: Counter[Kind] = field(default_factory=Counter)
    found: dict[Kind, Found] = field(default_factory=lambda: {kind: Found() for kind in KINDS})
    confusions: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    unread: list[Case] = field(default_factory=list)


def is_held_out(text: str) -> bool:
    """Return whether a text belongs to the half on which figures are reported."""
    return bool(blake2b(text.encode(), digest_size=1).digest()[0] & 1)


def measure(
    data: Path, name: str, register: Register, judgements: Judgements, *, held_out: bool
) -> Result:
    """Return what linking does on one half of a set."""
    result = Result()
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_lines(data / f"{SETS[name]}.jsonl.gz"):
        rows[row["text"]].append(row)
    for raw, marked in rows.items():
        text = normalise(raw)
        if is_held_out(text) == held_out:
            result.texts += 1
            _compare(text, marked, name, register, judgements, result)
    return result


def _compare(
    text: str,
    marked: Sequence[dict[str, Any]],
    name: str,
    register: Register,
    judgements: Judgements,
    result: Result,
) -> None:
    mentions = register.index.mentions(text)
    linked = {mention.symbol for mention in mentions}
    truth: list[tuple[Span, str, Company | None]] = []
    for entity in sorted({row["entity"] for row in marked}):
        spans = occurrences(text, normalise(entity))
        if not spans:
            continue
        result.entities += 1
        company = register.company(entity, indian=name == "SEntFiN")
        truth += [(span, entity, company) for span in spans]
        if company is None:
            result.no_company += 1
        elif not company.known:
            result.unknown += 1
            inside = [m for m in mentions if any(s < m.end and m.start < e for s, e in spans)]
            result.unknown_linked += any(mention.symbol != company.symbol for mention in inside)
        else:
            kind: Kind = "ambiguous name" if register.is_ambiguous(entity) else "name"
            result.wanted[kind] += 1
            if company.symbol in linked:
                result.reached[kind] += 1
            else:
                result.missed[f"{entity} ({company.symbol})"] += 1
    for mention in mentions:
        written = text[mention.start : mention.end]
        kind = register.kind(written, mention.symbol)
        found = result.found[kind]
        touching = [
            (entity, company)
            for (start, end), entity, company in truth
            # A code behind a name, "Boeing <BA.N>", is about the annotated name.
            if start < mention.end and mention.start < end + (3 if kind == "exchange code" else 0)
        ]
        companies = {company.symbol for _, company in touching if company}
        if mention.symbol in companies:
            found.right += 1
        elif companies:
            found.wrong += 1
            result.confusions[f"{touching[0][0]} ({min(companies)}) as {mention.symbol}"] += 1
        elif register.names(mention.symbol, written) and not touching:
            found.listed += 1
        else:
            case = Case(name, text, mention.start, written, mention.symbol)
            verdict = judgements.right(case)
            found.read(verdict)
            if verdict is None:
                result.unread.append(case)
            elif not verdict:
                result.confusions[f"{written} as {mention.symbol}"] += 1


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a gzipped file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
