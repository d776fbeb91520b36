"""What small changes do to a score: some should not matter, a negation should.

Edits work on the text as the model sees it and leave role tokens alone. They depend on the text
only, so they are the same in every evaluation.
"""

import hashlib
import random
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.data.table import TableRow
from models.evaluation.judged import Judged
from models.predict import Predictor
from streams.core.labels import SENTIMENTS
from streams.core.text import TARGET

WRITTEN: Final = Path(__file__).with_name("texts.toml")
ROWS: Final = 1000
"""Most rows per edit."""
TYPO_EVERY: Final = 6
"""One word in so many gets a typo, and at least one."""

Floats = NDArray[np.float64]

_WORD: Final = re.compile(r"(?<![\w$@#\[])[A-Za-z]{4,}(?![\w\]])")
_ROLE: Final = re.compile(r"(\[[TO]\])")
_CASHTAG: Final = re.compile(r"(?<![\w$])\$[A-Za-z]{1,5}\b")
_OTHER_CASHTAGS: Final = ("$KO", "$MMM", "$ORCL", "$UPS", "$GE", "$CVX")
_AUXILIARY: Final = re.compile(
    r"\b(will|would|can|could|is|are|was|were|has|have|had|may|should|must|did|does)\b(?! not\b)",
    re.IGNORECASE,
)
_NEGATED: Final = re.compile(r"\b(not|no|never|cannot|without|fails? to|failed to)\b|n't\b", re.I)


def typos(text: str) -> str:
    """Return the text with swapped, missing or doubled letters in one word of six."""
    rng = _rng(text)
    words = list(_WORD.finditer(text))
    if not words:
        return text
    for match in sorted(
        rng.sample(words, -(-len(words) // TYPO_EVERY)), key=lambda m: m.start(), reverse=True
    ):
        word, at = match[0], rng.randrange(1, len(match[0]) - 1)
        broken = rng.choice(
            (
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
            )
        )
        text = text[: match.start()] + broken + text[match.end() :]
    return text


def lower(text: str) -> str:
    """Return the text in small letters."""
    return _outside_roles(text, str.lower)


def capitals(text: str) -> str:
    """Return the text in capitals."""
    return _outside_roles(text, str.upper)


def cashtags(text: str) -> str:
    """Return the text with every cashtag replaced by another company's, in turn."""
    rng = _rng(text)
    start = rng.randrange(len(_OTHER_CASHTAGS))
    seen: dict[str, str] = {}

    def another(match: re.Match[str]) -> str:
        tag = match[0].upper()
        free = [t for t in _OTHER_CASHTAGS if t != tag]
        return seen.setdefault(tag, free[(start + len(seen)) % len(free)])

    return _CASHTAG.sub(another, text)


def negated(text: str) -> str:
    """Return the text with "not" behind its first auxiliary; itself where there is none."""
    return text if _NEGATED.search(text) else _AUXILIARY.sub(r"\1 not", text, count=1)


EDITS: Final[dict[str, Callable[[str], str]]] = {
    "typos": typos,
    "small letters": lower,
    "capitals": capitals,
    "other cashtags": cashtags,
}
"""Edits that should change nothing."""


def robustness(predictor: Predictor, judged: Judged, contrast: dict[str, Any]) -> dict[str, Any]:
    """Return what the edits and negations change.

    Args:
        predictor: The model.
        judged: Held-out rows with a sentiment.
        contrast: Figures of the contrast pairs whose templates training has not seen, to be
            shown beside; empty where the table has none.
    """
    order = sorted(range(len(judged.rows)), key=lambda at: judged.rows[at].id)
    rows = [judged.rows[at] for at in order]
    edits = {name: _edited(predictor, rows, edit) for name, edit in EDITS.items()}
    return {
        "edits": {name: found for name, found in edits.items() if found},
        "negation": {
            "written": negation(predictor, written_pairs()),
            "by_rule": negation(predictor, rule_pairs(rows)),
        },
        "contrast": contrast,
    }


def written_pairs() -> list[tuple[str, str, str]]:
    """Return (plain, negated, label of the plain one) of the sentences written for this."""
    book = tomllib.loads(WRITTEN.read_text(encoding="utf-8"))["negation"]
    return [
        (
            plain.format(subject=TARGET, phrase=phrase),
            negation.format(subject=TARGET, phrase=phrase),
            label,
        )
        for label in ("positive", "negative")
        for phrase in book[label]
        for plain, negation in book["frames"]
    ]


def rule_pairs(rows: Sequence[TableRow]) -> list[tuple[str, str, str]]:
    """Return (text, negated text, label) of the rows with a tone that the rule can negate."""
    pairs = [(text := r.model_text(), negated(text), r.label) for r in rows if r.label != "neutral"]
    return [pair for pair in pairs if pair[0] != pair[1]][:ROWS]


def negation(predictor: Predictor, pairs: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """Return how the model takes negations, on the pairs whose plain text it reads as labelled.

    `weaker`: share in which s moves away from the label; `given_up`: share in which the label is
    given up; `change`: mean Δs, positive where it moves away.
    """
    labels = np.array([SENTIMENTS.index(label) for _, _, label in pairs], np.int64)
    plain, _ = predictor([pair[0] for pair in pairs])
    turned, _ = predictor([pair[1] for pair in pairs])
    right = plain.argmax(axis=1) == labels
    away = (_score(plain) - _score(turned)) * np.where(labels == 0, -1, 1)
    kept = turned.argmax(axis=1) == labels
    count = int(right.sum())
    return {
        "pairs": len(pairs),
        "read_as_labelled": count,
        "weaker": float((away[right] > 0).mean()) if count else None,
        "given_up": float((~kept[right]).mean()) if count else None,
        "change": float(away[right].mean()) if count else None,
    }


def _edited(
    predictor: Predictor, rows: Sequence[TableRow], edit: Callable[[str], str]
) -> dict[str, Any] | None:
    pairs = [(text := row.model_text(), edit(text), row.label) for row in rows]
    pairs = [pair for pair in pairs if pair[0] != pair[1]][:ROWS]
    if not pairs:
        return None
    truth = np.array([SENTIMENTS.index(label) for _, _, label in pairs], np.int64)
    before, _ = predictor([pair[0] for pair in pairs])
    after, _ = predictor([pair[1] for pair in pairs])
    return {
        "rows": len(pairs),
        "accuracy_before": float((before.argmax(axis=1) == truth).mean()),
        "accuracy_after": float((after.argmax(axis=1) == truth).mean()),
        "flips": float((before.argmax(axis=1) != after.argmax(axis=1)).mean()),
        "difference": float(np.abs(_score(before) - _score(after)).mean()),
    }


def _score(probabilities: NDArray[np.float32]) -> Floats:
    wide = probabilities.astype(np.float64)
    score: Floats = wide[:, 2] - wide[:, 0]
    return score


def _outside_roles(text: str, change: Callable[[str], str]) -> str:
    parts = _ROLE.split(text)
    return "".join(part if _ROLE.fullmatch(part) else change(part) for part in parts)


def _rng(text: str) -> random.Random:
    return random.Random(hashlib.blake2b(text.encode(), digest_size=8).digest())
