"""Whether a probability means what it says, and what leaving doubtful texts out would gain.

Temperature: Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks, ICML 2017.
Expected calibration error with bins of equal mass: Nguyen and O'Connor, Posterior calibration and
exploratory analysis for natural language processing models, EMNLP 2015; confidence is the largest
probability, as in Guo et al. Risk and coverage: Geifman and El-Yaniv, Selective classification for
deep neural networks, NeurIPS 2017.
"""

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BINS: Final = 15
FOLDS: Final = 5
COVERAGES: Final = tuple(c / 20 for c in range(1, 21))
_BOUNDS: Final = (0.05, 20.0)
_LEAST: Final = 1e-12


def fit_temperature(probabilities: Floats, truth: Ints) -> float:
    """Return the temperature with the least mean negative log-likelihood, within 0.05 … 20.

    Args:
        probabilities: float [rows, classes]; their logarithms serve as logits.
        truth: Class index of each row.
    """
    logits = np.log(np.clip(probabilities.astype(np.float64), _LEAST, 1))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        chosen = scaled[np.arange(len(truth)), truth]
        return float((np.log(np.exp(scaled).sum(axis=1)) - chosen).mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(_BOUNDS)), method="bounded")
    return float(np.exp(found.x))


def at_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Return the probabilities of the logits divided by the temperature, float64."""
    logits = np.log(np.clip(probabilities.astype(np.float64), _LEAST, 1)) / temperature
    powers: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: Floats = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def cross_fitted(probabilities: Floats, truth: Ints, docs: Sequence[Hashable]) -> Floats:
    """Return calibrated probabilities, each row's temperature fitted on other documents.

    So a figure on these very rows is honest. Documents fall into `FOLDS` parts by their hash.
    """
    parts = np.array([_fold(doc) for doc in docs])
    result = probabilities.astype(np.float64)
    for part in range(FOLDS):
        inside = parts == part
        if inside.any() and not inside.all():
            temperature = fit_temperature(probabilities[~inside], truth[~inside])
            result[inside] = at_temperature(probabilities[inside], temperature)
    return result


def reliability(probabilities: Floats, truth: Ints, bins: int = BINS) -> list[dict[str, float]]:
    """Return rows, mean confidence and accuracy of bins of equal mass, least confident first."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    order = np.argsort(confidence, kind="stable")
    return [
        {
            "rows": len(rows),
            "confidence": float(confidence[rows].mean()),
            "accuracy": float(right[rows].mean()),
        }
        for rows in np.array_split(order, bins)
        if len(rows)
    ]


def ece(probabilities: Floats, truth: Ints, bins: int = BINS) -> float:
    """Return the expected calibration error of the likeliest class, over bins of equal mass."""
    found = reliability(probabilities, truth, bins)
    gaps = sum(b["rows"] * abs(b["confidence"] - b["accuracy"]) for b in found)
    return float(gaps / len(truth))


def summary(probabilities: Floats, truth: Ints) -> dict[str, Any]:
    """Return ECE, mean negative log-likelihood, Brier score, mean confidence and the bins."""
    p = probabilities.astype(np.float64)
    rows = np.arange(len(truth))
    wanted = np.zeros_like(p)
    wanted[rows, truth] = 1.0
    return {
        "rows": len(truth),
        "ece": ece(p, truth),
        "nll": float(-np.log(np.clip(p[rows, truth], _LEAST, 1)).mean()),
        "brier": float(((p - wanted) ** 2).sum(axis=1).mean()),
        "confidence": float(p.max(axis=1).mean()),
        "accuracy": float((p.argmax(axis=1) == truth).mean()),
        "bins": reliability(p, truth),
    }


def abstention(probabilities: Floats, truth: Ints) -> dict[str, Any]:
    """Return the risk (share of errors) when only the most confident texts are answered.

    `curve` has [coverage, risk] pairs, `area` is the mean risk over all coverages.
    """
    confidence = probabilities.max(axis=1)
    wrong = probabilities.argmax(axis=1) != truth
    order = np.argsort(-confidence, kind="stable")
    risk = np.cumsum(wrong[order]) / np.arange(1, len(truth) + 1)
    kept = [max(1, round(coverage * len(truth))) for coverage in COVERAGES]
    return {
        "rows": len(truth),
        "area": float(risk.mean()),
        "curve": [[c, float(risk[k - 1])] for c, k in zip(COVERAGES, kept, strict=True)],
    }


def _fold(doc: Hashable) -> int:
    return hashlib.blake2b(str(doc).encode(), digest_size=8).digest()[0] % FOLDS
