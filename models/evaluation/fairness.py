"""What a company's name does to its score, along the whole path that a text takes in service.

Every text is sent through the scorer of the service (decoding, language, entity linking, role
tokens) once per name. Linked names become role tokens, so their scores can differ only by what the
link covers; names that the dictionary does not know reach the model. Both are reported apart.
Placebo edits, which should not matter either, are the floor.
"""

import asyncio
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from models.data.table import TableRow
from models.evaluation.bias import Bools, Floats, Readings, bias, name_bias, swaps
from models.predict import AsClassifier, Predictor
from streams.core.entities import EntityIndex
from streams.core.errors import ConfigurationError
from streams.core.labels import SENTIMENTS
from streams.core.records import Opinion
from streams.core.text import normalise
from streams.core.topics import OPINIONS, TEXTS_NEWS
from streams.pipeline.score import Scorer
from streams.ports import Incoming

NAMES: Final = Path(__file__).with_name("names.toml")
WRITTEN: Final = Path(__file__).with_name("texts.toml")
TEXTS: Final = 300
SLOT: Final = "{}"
_NOW_MS: Final = 1_700_000_000_000
_STAND_IN: Final = "Qxvarn"
"""No company's name: with it, a text links only what else it names."""
_QUOTES: Final = str.maketrans({"'": "’", "’": "'", '"': "”", "“": '"', "”": '"'})

Edit = Callable[[str], tuple[str, str]]
"""Two forms of a text that should score alike; equal where the edit does not apply."""


def fairness(
    predictor: Predictor,
    index: EntityIndex,
    rows: Iterable[TableRow],
    *,
    texts: int = TEXTS,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return all that name swaps and placebo edits change.

    Args:
        predictor: The model.
        index: Names that the service links.
        rows: Held-out rows, from which texts about one company are taken.
        texts: How many texts.
        say: Told how far it is.
    """
    kinds = read_names()
    names = [name for kind in kinds.values() for name in kind]
    kind_of = {name: kind for kind, members in kinds.items() for name in members}
    chosen, taken = single_company_texts(rows, index, texts)
    readings = read_names_in(predictor, index, chosen, names, say)
    known = readings.linked.mean(axis=0) > 0.5
    biases = {
        "linked": name_bias(readings, names, known),
        "unlinked": name_bias(readings, names, ~known),
    }
    for group in biases.values():
        for name, one in group.items():
            one["kind"] = kind_of[name]
    say("fairness: placebo edits")
    return {
        "texts": len(chosen),
        "texts_of_the_table": taken,
        "names": {"linked": int(known.sum()), "unlinked": int((~known).sum())},
        "not_scored": int((~readings.scored).sum()),
        "swaps": {
            "all": swaps(readings, np.ones_like(readings.linked)),
            "linked": swaps(readings, readings.linked),
            "unlinked": swaps(readings, ~readings.linked),
        },
        "bias": biases,
        "unlinked_minus_linked": _shift(readings),
        "placebo": {
            group: _placebo(predictor, index, chosen, list(members))
            for group, members in biases.items()
            if members
        },
    }


def read_names(path: Path = NAMES) -> dict[str, list[str]]:
    """Return the names by kind.

    Raises:
        ConfigurationError: a name stands twice, or normalising would change it.
    """
    kinds: dict[str, list[str]] = tomllib.loads(path.read_text(encoding="utf-8"))
    times = Counter(name for kind in kinds.values() for name in kind)
    odd = sorted(name for name, count in times.items() if count > 1 or normalise(name) != name)
    if odd:
        raise ConfigurationError(f"{path}: twice, or not normalised: {', '.join(odd)}")
    return kinds


def single_company_texts(
    rows: Iterable[TableRow], index: EntityIndex, count: int
) -> tuple[list[str], int]:
    """Return texts about one company with `{}` in its place, and how many are the table's.

    From the table: documents with one judged entity, mentioned once, in which the service links
    nothing else; of each label the same number as far as there are, in the order of their ids.
    What is missing is filled up with sentences written for this.
    """
    judged = [r for r in rows if r.entity is not None and r.lang == "en" and SLOT not in r.text]
    entities = Counter((row.source, row.doc) for row in judged)
    by_label: dict[str, list[str]] = {label: [] for label in SENTIMENTS}
    for row in sorted(judged, key=lambda row: row.id):
        if row.others or len(row.target) != 1 or entities[row.source, row.doc] > 1:
            continue
        start, end = row.target[0]
        text = f"{row.text[:start]}{SLOT}{row.text[end:]}"
        if not index.link(text.replace(SLOT, _STAND_IN)):
            by_label[row.label].append(text)
    chosen = list(dict.fromkeys(_in_turn(by_label.values())))[:count]
    written = tomllib.loads(WRITTEN.read_text(encoding="utf-8"))
    sentences = list(_in_turn([written[label] for label in SENTIMENTS]))
    return [*chosen, *sentences[: count - len(chosen)]], len(chosen)


def read_through(
    predictor: Predictor, index: EntityIndex, texts: Sequence[str]
) -> list[Opinion | None]:
    """Return what the service makes of each text; None where it would be a dead letter."""
    scorer = Scorer(
        AsClassifier(predictor),
        index,
        b"evaluation",
        cache_texts=0,
        lateness_ms=0,
        service="evaluation",
        now_ms=lambda: _NOW_MS,
    )
    records = [
        Incoming(
            TEXTS_NEWS,
            0,
            offset,
            _NOW_MS,
            None,
            orjson.dumps({"id": str(offset), "text": text, "published_at": _NOW_MS}),
            {},
        )
        for offset, text in enumerate(texts)
    ]
    result = asyncio.run(scorer.score(scorer.plan(records), records))
    opinions: list[Opinion | None] = [None] * len(texts)
    for sent in result.outgoing:
        if sent.topic == OPINIONS and sent.value is not None:
            opinion = Opinion.model_validate_json(sent.value)
            opinions[opinion.origin.offset] = opinion
    return opinions


def read_names_in(
    predictor: Predictor,
    index: EntityIndex,
    texts: Sequence[str],
    names: Sequence[str],
    say: Callable[[str], None] = lambda _: None,
) -> Readings:
    """Read every text with every name in its slot.

    Args:
        predictor: The model.
        index: Names that the service links.
        texts: Normalised, with `{}` where the company stands, and no other company.
        names: What is put there.
        say: Told how far it is.
    """
    readings = Readings.empty(len(texts), len(names))
    for column, name in enumerate(names):
        say(f"fairness: name {column + 1} of {len(names)}")
        _enter(readings, column, predictor, index, [text.replace(SLOT, name) for text in texts])
    return readings


def edits() -> dict[str, Edit]:
    """Return the placebo edits by name."""
    return {
        "weekday": lambda text: (f"{_bare(text)} on Tuesday", f"{_bare(text)} on Thursday"),
        "space": lambda text: (text, text.replace(",", " ,").replace(":", " :")),
        "quote": lambda text: (text, text.translate(_QUOTES)),
        "full stop": lambda text: (_bare(text), f"{_bare(text)}."),
        "source": lambda text: (f"{_bare(text)} - newswire", f"{_bare(text)} - agencies"),
    }


def _placebo(
    predictor: Predictor, index: EntityIndex, texts: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """Return what each edit changes; every text has one of the names, which take turns."""
    changes: dict[str, Floats] = {}
    flips: dict[str, float] = {}
    filled = [text.replace(SLOT, names[i % len(names)]) for i, text in enumerate(texts)]
    for label, edit in edits().items():
        pairs = [pair for pair in map(edit, filled) if pair[0] != pair[1]]
        readings = Readings.empty(len(pairs), 2)
        for column in (0, 1):
            _enter(readings, column, predictor, index, [pair[column] for pair in pairs])
        both = readings.scored.all(axis=1)
        if both.any():
            changes[label] = readings.score[both, 1] - readings.score[both, 0]
            flips[label] = float((readings.label[both, 0] != readings.label[both, 1]).mean())
    by_edit = bias(changes)
    for label, one in by_edit.items():
        one["flips"] = flips[label]
        one["difference"] = float(np.abs(changes[label]).mean())
    pairs_of = {label: len(change) for label, change in changes.items()}
    total = sum(pairs_of.values())
    return {
        "pairs": total,
        "flips": sum(flips[e] * n for e, n in pairs_of.items()) / total if total else None,
        "difference": float(np.abs(np.concatenate([*changes.values()])).mean()) if total else None,
        "edits": by_edit,
    }


def _enter(
    readings: Readings, column: int, predictor: Predictor, index: EntityIndex, texts: Sequence[str]
) -> None:
    """Enter what the service says of the company, or of the text where it links none."""
    for row, opinion in enumerate(read_through(predictor, index, texts)):
        if opinion is None or opinion.sentiment is None:
            continue
        linked = bool(opinion.entities)
        sentiment = opinion.entities[0].sentiment if linked else opinion.sentiment
        readings.linked[row, column] = linked
        readings.score[row, column] = sentiment.score
        readings.label[row, column] = int(
            np.argmax((sentiment.negative, sentiment.neutral, sentiment.positive))
        )


def _shift(readings: Readings) -> dict[str, Any] | None:
    """Return how much higher unlinked names score than linked ones on the same text."""
    means = [_row_means(readings, readings.linked), _row_means(readings, ~readings.linked)]
    both = ~np.isnan(means[0]) & ~np.isnan(means[1])
    if not both.any():
        return None
    return bias({"unlinked - linked": means[1][both] - means[0][both]})["unlinked - linked"]


def _row_means(readings: Readings, cells: Bools) -> Floats:
    cells = cells & readings.scored
    counts = cells.sum(axis=1)
    sums = np.where(cells, readings.score, 0.0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


def _in_turn(lists: Iterable[Sequence[str]]) -> Iterable[str]:
    """Yield the first of each list, then the second of each, and so on."""
    lists = list(lists)
    for at in range(max(map(len, lists))):
        yield from (texts[at] for texts in lists if at < len(texts))


def _bare(text: str) -> str:
    return text.rstrip(" .")
