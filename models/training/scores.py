"""Accuracy and F1 by set, to choose the best epoch; the report is `tickertone evaluate`'s work."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from models.data.sets import WRITTEN
from models.training.examples import IGNORED


def scores(
    logits: tuple[NDArray[Any], NDArray[Any]],
    labels: tuple[NDArray[Any], NDArray[Any]],
    sources: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Return `{set: {rows, accuracy, macro_f1, weighted_f1}}`.

    Args:
        logits: Sentiment [examples, 3] and topic [examples, 20].
        labels: Class index of each example for each head; `IGNORED` where it has none.
        sources: Name of each example's set.
    """
    names = np.array(sources)
    result: dict[str, dict[str, float]] = {}
    for guesses, truth in zip(logits, labels, strict=True):
        told = truth != IGNORED
        for name in sorted(set(names[told].tolist())):
            own = told & (names == name)
            right, guess = truth[own], guesses[own].argmax(-1)
            result[name] = {
                "rows": int(own.sum()),
                "accuracy": float(accuracy_score(right, guess)),
                "macro_f1": float(f1_score(right, guess, average="macro")),
                "weighted_f1": float(f1_score(right, guess, average="weighted")),
            }
    return result


def mean_f1(figures: Mapping[str, Mapping[str, float]]) -> float:
    """Return the mean of the sets' macro F1, which chooses the epoch.

    Sentences made from templates choose nothing, unless there are no others.
    """
    real = {name: part for name, part in figures.items() if name not in WRITTEN} or figures
    return sum(part["macro_f1"] for part in real.values()) / len(real)
