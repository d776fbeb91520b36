"""Rows with what a model says about them, and the figures of any choice of rows."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.data.table import TableRow, Task
from models.evaluation.metrics import block, confusion, per_class
from models.predict import Predictor
from streams.core.labels import SENTIMENTS, TOPICS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CLASSES: Final[dict[Task, Sequence[str]]] = {"sentiment": SENTIMENTS, "topic": TOPICS}
LENGTHS: Final = ((1, 10), (11, 20), (21, 40), (41, None))
"""Words of a text, from … to."""
LEAST_ROWS: Final = 30
"""Groups of fewer rows get no figures of their own."""


@dataclass(frozen=True)
class Judged:
    """Rows of one task, and the model's probabilities of the task's classes."""

    task: Task
    rows: Sequence[TableRow]
    probabilities: Floats
    """float64 [rows, classes]"""

    @property
    def truth(self) -> Ints:
        """Class index of each row's label."""
        names = CLASSES[self.task]
        return np.array([names.index(row.label) for row in self.rows], np.int64)

    @property
    def guess(self) -> Ints:
        """The likeliest class of each row."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def docs(self) -> list[tuple[str, str]]:
        """What each row's text is; rows of one text are drawn together."""
        return [(row.source, row.doc) for row in self.rows]

    def where(self, wanted: Callable[[TableRow], bool]) -> "Judged":
        """Return the rows that are wanted."""
        places = [i for i, row in enumerate(self.rows) if wanted(row)]
        return Judged(self.task, [self.rows[i] for i in places], self.probabilities[places])

    def of(self, **fields: object) -> "Judged":
        """Return the rows whose fields have these values."""
        return self.where(lambda row: all(getattr(row, k) == v for k, v in fields.items()))

    def joined(self, other: "Judged") -> "Judged":
        """Return these rows and the other's."""
        together = np.concatenate([self.probabilities, other.probabilities])
        return Judged(self.task, [*self.rows, *other.rows], together)

    def block(self, seed: int) -> dict[str, Any]:
        """Return rows, scores and intervals."""
        return block(self.truth, self.guess, self.docs, seed=seed)


def judge(predictor: Predictor, task: Task, rows: Sequence[TableRow]) -> Judged:
    """Return the rows of a task with the predictor's probabilities."""
    chosen = [row for row in rows if row.task == task]
    sentiment, topic = predictor([row.model_text() for row in chosen])
    return Judged(task, chosen, np.asarray(sentiment if task == "sentiment" else topic, np.float64))


def figures(judged: Judged, seed: int) -> dict[str, Any]:
    """Return the scores of a set: altogether, per class, per length, and its confusion matrix."""
    names = CLASSES[judged.task]
    found: dict[str, Any] = {
        **judged.block(seed),
        "per_class": per_class(judged.truth, judged.guess, names),
        "confusion": confusion(judged.truth, judged.guess, len(names)),
        "by_length": by_length(judged, seed),
    }
    pairs = entity_pairs(judged, seed)
    if pairs:
        found["pairs"] = pairs
    agreements = sorted({r.agreement for r in judged.rows if r.agreement is not None})
    if agreements:
        found["by_agreement"] = {
            level: judged.of(agreement=level).block(seed) for level in agreements
        }
    return found


def by_length(judged: Judged, seed: int) -> dict[str, dict[str, Any]]:
    """Return the scores per length of the text, in words."""
    found = {}
    for low, high in LENGTHS:
        part = judged.where(_has_words(low, high))
        if len(part.rows) >= LEAST_ROWS:
            found[f"{low}-{high}" if high else f"{low} and more"] = part.block(seed)
    return found


def _has_words(low: int, high: int | None) -> Callable[[TableRow], bool]:
    return lambda row: low <= len(row.text.split()) <= (high or sys.maxsize)


def entity_pairs(judged: Judged, seed: int) -> dict[str, dict[str, Any]]:
    """Return the scores on pairs (text, entity) whose text does not judge all entities alike.

    `differ`: all pairs of such texts. `opposite`: the positive and negative pairs of texts that
    hold both. A model that ignores its target can't do well on either.
    """
    labels = labels_per_document(judged.rows)
    both = {"positive", "negative"}
    chosen = {
        "differ": judged.where(lambda r: r.entity is not None and len(labels[r.source, r.doc]) > 1),
        "opposite": judged.where(
            lambda r: r.entity is not None and r.label in both and both <= labels[r.source, r.doc]
        ),
    }
    return {name: part.block(seed) for name, part in chosen.items() if part.rows}


def labels_per_document(rows: Iterable[TableRow]) -> dict[tuple[str, str], set[str]]:
    """Return the labels of the entities of each text."""
    labels: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        if row.entity is not None:
            labels[row.source, row.doc].add(row.label)
    return labels
