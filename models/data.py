"""Training rows from the labelled sets whose licences allow a freely licensed model.

A row is a normalised text, with role tokens where the label is about one entity, and either a
sentiment or a topic. Sets with a split of their own keep it; the others are split by document.
"""

import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.core.labels import SENTIMENTS, TOPICS
from streams.core.text import normalise, occurrences, with_roles

LICENCES = {
    "en_sentiment_twitter": "MIT",
    "en_topic_twitter": "MIT",
    "en_entity_sentfin": "MIT",
    "en_entity_finentity": "ODC-BY 1.0",
}
"""The sets that train shipped weights, and their licences. No other set may be added here
unless its licence allows commercial use."""

IGNORED = -100


@dataclass(frozen=True)
class Row:
    """One training example. `sentiment` or `topic` is a class index, the other `IGNORED`."""

    text: str
    sentiment: int
    topic: int
    source: str
    split: str


def load(folder: Path) -> list[Row]:
    """Return all rows of the permissively licensed sets, repeats across splits removed.

    Raises:
        FileNotFoundError: a set is missing from the folder.
    """
    rows = [
        *_tweets(folder, "en_sentiment_twitter"),
        *_tweets(folder, "en_topic_twitter"),
        *_entities(folder, "en_entity_sentfin"),
        *_entities(folder, "en_entity_finentity"),
    ]
    held_out = {(r.source, r.text.lower()) for r in rows if r.split == "valid"}
    return [r for r in rows if r.split == "valid" or (r.source, r.text.lower()) not in held_out]


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _unit(key: str) -> float:
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _tweets(folder: Path, name: str) -> Iterator[Row]:
    for record in records(folder / f"{name}.jsonl.gz"):
        text = normalise(record["text"])
        tickers = [t.upper() for t in record.get("tickers", ())]
        spans = {t: occurrences(text, f"${t}") for t in tickers}
        marked = [t for t in tickers if spans[t]]
        # Half of the texts that name companies are shown as serving shows them: with roles.
        chance = _unit(text)
        if marked and chance < 0.5:
            target = marked[int(chance * 2 * len(marked))]
            others = [s for t in marked if t != target for s in spans[t]]
            text = with_roles(text, spans[target], others)
        if name == "en_topic_twitter":
            sentiment, topic = IGNORED, TOPICS.index(record["label"])
        else:
            sentiment, topic = SENTIMENTS.index(record["label"]), IGNORED
        yield Row(text, sentiment, topic, name, record["split"])


def _entities(folder: Path, name: str) -> Iterator[Row]:
    documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records(folder / f"{name}.jsonl.gz"):
        documents[record["doc"]].append(record)
    for doc, pairs in documents.items():
        split = "valid" if _unit(f"{name}/{doc}") < 0.15 else "train"
        text = normalise(pairs[0]["text"])
        names = {normalise(p["entity"]) for p in pairs}
        for pair in pairs:
            entity = normalise(pair["entity"])
            target = occurrences(text, entity)
            if not target:
                continue
            taken = [*target]
            others: list[tuple[int, int]] = []
            for other in sorted(names - {entity}, key=len, reverse=True):
                for start, end in occurrences(text, other):
                    if all(end <= s or start >= e for s, e in taken):
                        others.append((start, end))
                        taken.append((start, end))
            marked = with_roles(text, target, others)
            yield Row(marked, SENTIMENTS.index(pair["label"]), IGNORED, name, split)
