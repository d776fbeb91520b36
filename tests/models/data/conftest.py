"""Small made-up sets, in the form of the real ones."""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

Record = dict[str, Any]
Write = Callable[[Path, str, Iterable[Record]], None]


def write(folder: Path, name: str, records: Iterable[Record]) -> None:
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def words(key: object) -> str:
    """Six words that no other key has."""
    letters = (
        hashlib.sha256(str(key).encode())
        .hexdigest()
        .translate(str.maketrans("0123456789", "ghijklmnop"))
    )
    return " ".join(letters[i : i + 7] for i in range(0, 42, 7))


@pytest.fixture(name="write")
def _write() -> Write:
    return write


@pytest.fixture
def words_of() -> Callable[[object], str]:
    return words


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """All English sets, with forty documents each and nothing alike."""
    folder = tmp_path / "sets"
    folder.mkdir()
    labels = ("negative", "neutral", "positive")
    tweet = {"source": "tweets", "lang": "en"}
    write(
        folder,
        "en_sentiment_twitter",
        (
            tweet
            | {
                "text": f"$NRVN {words(i)} https://t.co/{i}",
                "tickers": ["NRVN"],
                "label": labels[i % 3],
                "split": "valid" if i % 5 == 0 else "train",
            }
            for i in range(40)
        ),
    )
    write(
        folder,
        "en_topic_twitter",
        (
            tweet
            | {
                "text": f"{words(i)} results",
                "tickers": [],
                "label": "Earnings" if i % 2 else "Macro",
                "split": "valid" if i % 5 == 0 else "train",
            }
            for i in range(40)
        ),
    )
    for name in ("en_entity_sentfin", "en_entity_finentity"):
        write(
            folder,
            name,
            (
                {
                    "text": f"Norvane gains {words((name, i))} as Vesper Air falls",
                    "entity": entity,
                    "label": label,
                    "doc": str(i),
                    "split": "train",
                }
                for i in range(40)
                for entity, label in (("Norvane", "positive"), ("Vesper Air", "negative"))
            ),
        )
    write(
        folder,
        "en_sentiment_phrasebank",
        ({"text": words(("bank", i)), "label": "neutral", "split": "train"} for i in range(40)),
    )
    write(
        folder,
        "en_sentiment_semeval",
        (
            {
                "text": f"Quillon {words(('semeval', i))}",
                "entity": "Quillon" if i % 2 else "$QLLN",
                "source": f"semeval2017-task5-{'headline' if i % 2 else 'microblog'}",
                "label": "positive",
                "split": "train",
            }
            for i in range(40)
        ),
    )
    write(
        folder,
        "en_sentiment_stocktweets_noisy",
        ({"text": words(("noisy", i)), "label": "negative", "split": "train"} for i in range(40)),
    )
    return folder
