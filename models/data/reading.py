"""From the files of the sets to drafts of table rows: normalised, with spans, not yet split."""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from models.data.sets import SetInfo
from models.data.table import Channel, Span, Split
from streams.core.entities import EntityIndex
from streams.core.errors import ConfigurationError
from streams.core.labels import SENTIMENTS, TOPICS
from streams.core.text import normalise, occurrences

SHOWN_WITH_ROLES = 0.5
"""Share of the tweets with a cashtag that are shown as serving shows them: with role tokens."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A table row without group; `split` is None where the split is still to be chosen."""

    info: SetInfo
    channel: Channel
    doc: str
    text: str
    entity: str | None
    target: tuple[Span, ...]
    others: tuple[Span, ...]
    label: str
    split: Split | None
    family: str | None = None
    """documents of a set with the same family are kept together"""
    agreement: str | None = None
    """how far the annotators agreed, where the set says"""


def read_set(path: Path, info: SetInfo) -> tuple[list[Draft], dict[str, int]]:
    """Return the drafts of a set and how many records were left out, by reason.

    Left out are records whose label is about an entity that their text does not name
    ("entity not in text"), repeats of a record ("repeat") and all records that say different
    things about the same entity of the same text ("contradiction").

    Raises:
        ConfigurationError: no such file, or a record that is not of the set's form.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path} is missing; models/README.md says what it must hold")
    drafts: dict[tuple[str, str | None], Draft] = {}
    contradicted: set[tuple[str, str | None]] = set()
    dropped = {"entity not in text": 0, "repeat": 0, "contradiction": 0}
    try:
        for records in _documents(path, info):
            for draft in _drafts(records, info):
                key = (draft.doc, draft.entity)
                if info.entities == "required" and draft.entity is None:
                    dropped["entity not in text"] += 1
                elif key not in drafts:
                    drafts[key] = draft
                elif drafts[key].label == draft.label:
                    dropped["repeat"] += 1
                else:
                    dropped["contradiction"] += 1
                    contradicted.add(key)
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise ConfigurationError(f"{path}: not as models/README.md says: {error!r}") from error
    for key in contradicted:
        del drafts[key]
    dropped["contradiction"] += len(contradicted)
    return list(drafts.values()), {reason: count for reason, count in dropped.items() if count}


def unit(key: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the key."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def spans_of(text: str, names: Iterable[str], lang: str = "en") -> dict[str, tuple[Span, ...]]:
    """Return the places of each name in a text; where names overlap, the longest has it.

    Names without a place are left out. Chinese does not separate words, so a name is found
    anywhere in a Chinese text.
    """
    found: dict[str, tuple[Span, ...]] = {}
    taken: list[Span] = []
    for name in sorted(set(names), key=lambda name: (-len(name), name)):
        places = _anywhere(text, name) if lang == "zh" else occurrences(text, name)
        free = _apart(places, taken)
        if free:
            found[name] = free
            taken += free
    return found


def _anywhere(text: str, name: str) -> Iterator[Span]:
    at = text.find(name) if name else -1
    while at >= 0:
        yield at, at + len(name)
        at = text.find(name, at + len(name))


def _documents(path: Path, info: SetInfo) -> Iterable[list[dict[str, Any]]]:
    """Return the records of each document, with `text` normalised and `doc` filled in.

    Where a set names no documents, each text is one.
    """
    documents: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            text = record["text"] = normalise(record["text"])
            if not text:
                raise ValueError("a record without text")
            record.setdefault("doc", hashlib.blake2b(text.encode(), digest_size=8).hexdigest())
            records = documents.setdefault(record["doc"], [])
            records.append(record)
            if text != records[0]["text"]:
                raise ValueError(f"document {record['doc']} has two texts")
    return documents.values()


def _drafts(records: Sequence[dict[str, Any]], info: SetInfo) -> Iterator[Draft]:
    text, doc = records[0]["text"], records[0]["doc"]
    named = info.entities in ("required", "optional")
    names = [normalise(record["entity"]) for record in records] if named else []
    spans = spans_of(text, names, info.lang)
    labels = SENTIMENTS if info.task == "sentiment" else TOPICS
    for at, record in enumerate(records):
        entity: str | None = None
        target: tuple[Span, ...] = ()
        others: tuple[Span, ...] = ()
        if named and names[at] in spans:
            entity, target = names[at], spans[names[at]]
            others = _apart((span for name in spans for span in spans[name]), target)
        elif info.entities == "cashtags":
            entity, target, others = _cashtag(text, record["tickers"])
        if record["label"] not in labels:
            raise ValueError(f"unknown {info.task} {record['label']!r}")
        split = record["split"] if info.own_split else None
        if split not in (None, "train", "valid"):
            raise ValueError(f"unknown split {split!r}")
        yield Draft(
            info=info,
            channel=info.channels.get(record.get("source", ""), info.channel),
            doc=doc,
            text=text,
            entity=entity,
            target=target,
            others=others,
            label=record["label"],
            split=split,
            agreement=record.get("agreement"),
        )


def _cashtag(
    text: str, tickers: Sequence[str]
) -> tuple[str | None, tuple[Span, ...], tuple[Span, ...]]:
    """Return entity, target and others of a tweet: nothing for about half of them."""
    chance = unit(text)
    marked = [t for t in map(str.upper, tickers) if occurrences(text, f"${t}")]
    if not marked or chance >= SHOWN_WITH_ROLES:
        return None, (), ()
    ticker = marked[int(chance / SHOWN_WITH_ROLES * len(marked))]
    # The spans are those that serving would replace, so names of the dictionary count too.
    target = tuple(occurrences(text, f"${ticker}"))
    others: list[Span] = []
    for company in _companies().link(text):
        if any(span in target for span in company.spans):
            target = company.spans
        else:
            others += company.spans
    return ticker, target, _apart(others, target)


def _apart(spans: Iterable[Span], taken: Sequence[Span]) -> tuple[Span, ...]:
    """Return the spans that touch none of those taken, in order."""
    return tuple(
        (start, end)
        for start, end in sorted(spans)
        if all(end <= left or start >= right for left, right in taken)
    )


@cache
def _companies() -> EntityIndex:
    return EntityIndex.load()
