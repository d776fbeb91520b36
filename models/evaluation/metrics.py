"""Accuracy and F1 with intervals, for any choice of rows.

Point estimates are scikit-learn's. Intervals come from the percentile bootstrap over documents
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): rows of one document
share a text, so they are drawn together.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RESAMPLES: Final = 1000
LEVEL: Final = 0.95
MEASURES: Final = ("accuracy", "macro_f1", "weighted_f1")
_AT_ONCE: Final = 100


def scores(truth: Ints, guess: Ints) -> dict[str, float]:
    """Return accuracy, macro F1 and weighted F1; F1 over the classes that occur in either."""
    return {
        "accuracy": float(accuracy_score(truth, guess)),
        "macro_f1": float(f1_score(truth, guess, average="macro", zero_division=0.0)),
        "weighted_f1": float(f1_score(truth, guess, average="weighted", zero_division=0.0)),
    }


def block(
    truth: Ints, guess: Ints, docs: Sequence[Hashable], *, seed: int, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Return rows, documents, the scores, and the interval [low, high] of each score.

    Args:
        truth: Class index of each row.
        guess: The model's class of each row.
        docs: Document of each row.
        seed: Of the bootstrap.
        resamples: How often documents are drawn.

    Raises:
        ValueError: there are no rows.
    """
    if not len(truth):
        raise ValueError("no rows to score")
    drawn = resampled(truth, [guess], docs, seed=seed, resamples=resamples)[0]
    return {
        "rows": len(truth),
        "documents": len(set(docs)),
        **scores(truth, guess),
        "interval": {name: _percentiles(drawn[:, i]) for i, name in enumerate(MEASURES)},
    }


def difference(
    truth: Ints,
    guess: Ints,
    other: Ints,
    docs: Sequence[Hashable],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Return how much better `guess` is than `other` on the same rows, with paired intervals."""
    first, second = resampled(truth, [guess, other], docs, seed=seed, resamples=resamples)
    ours, theirs = scores(truth, guess), scores(truth, other)
    return {
        name: {
            "difference": ours[name] - theirs[name],
            "interval": _percentiles(first[:, i] - second[:, i]),
        }
        for i, name in enumerate(MEASURES)
    }


def resampled(
    truth: Ints,
    guesses: Sequence[Ints],
    docs: Sequence[Hashable],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> list[Floats]:
    """Return per guess the `MEASURES`, float64 [resamples, 3], on the same draws of documents.

    A draw's confusion matrix is the sum of its documents', so a draw costs one product.
    """
    classes = int(max(truth.max(), *(guess.max() for guess in guesses))) + 1
    number = {doc: i for i, doc in enumerate(dict.fromkeys(docs))}
    place = np.array([number[doc] for doc in docs])
    tables = []
    for guess in guesses:
        table = np.zeros((len(number), classes * classes))
        np.add.at(table, (place, truth * classes + guess), 1.0)
        tables.append(table)
    rng = np.random.default_rng(seed)
    even = np.full(len(number), 1 / len(number))
    results: list[list[Floats]] = [[] for _ in guesses]
    for at in range(0, resamples, _AT_ONCE):
        drawn = rng.multinomial(len(number), even, size=min(_AT_ONCE, resamples - at))
        for table, found in zip(tables, results, strict=True):
            found.append(from_confusion((drawn @ table).reshape(-1, classes, classes)))
    return [np.concatenate(found) for found in results]


def from_confusion(matrices: Floats) -> Floats:
    """Return accuracy, macro and weighted F1, float64 [n, 3], of confusion matrices [n, k, k].

    Rows are the truth. Classes without truth and without guess do not count, as in scikit-learn.
    """
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    true, guessed = matrices.sum(axis=2), matrices.sum(axis=1)
    either = true + guessed
    f1 = np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)
    rows = true.sum(axis=1)
    return np.stack(
        [
            hits.sum(axis=1) / rows,
            f1.sum(axis=1) / (either > 0).sum(axis=1),
            (f1 * true).sum(axis=1) / rows,
        ],
        axis=1,
    )


def per_class(truth: Ints, guess: Ints, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and rows of each class that occurs in either."""
    labels = sorted({*truth.tolist(), *guess.tolist()})
    columns = precision_recall_fscore_support(truth, guess, labels=labels, zero_division=0.0)
    return {
        names[label]: {"precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)}
        for label, p, r, f, n in zip(labels, *columns, strict=True)
    }


def confusion(truth: Ints, guess: Ints, classes: int) -> list[list[int]]:
    """Return the confusion matrix; rows are the truth."""
    table: list[list[int]] = confusion_matrix(truth, guess, labels=range(classes)).tolist()
    return table


def _percentiles(values: Floats) -> list[float]:
    tail = 50 * (1 - LEVEL)
    return [float(v) for v in np.percentile(values, [tail, 100 - tail])]
