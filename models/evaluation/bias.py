"""What to say about scores of texts × names: flips, spread, and the bias of each name.

Flips are counted over pairs of names, as a swap has two ends. Bias of a name: mean over texts of
its score minus the mean of the other names, with a two-sided t test; p-values corrected after Holm
(A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6,
1979), intervals at the Bonferroni level, so that all of them hold at once with 95 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVEL: Final = 0.95
_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Readings:
    """What the service says about texts × names; cells of texts that are not scored are NaN."""

    score: Floats
    """s = p(positive) - p(negative) of the company, or of the text where it is not linked"""
    label: NDArray[np.int64]
    linked: Bools

    @classmethod
    def empty(cls, texts: int, names: int) -> "Readings":
        """Return readings to be filled in."""
        shape = (texts, names)
        return cls(np.full(shape, np.nan), np.full(shape, -1), np.zeros(shape, np.bool_))

    @property
    def scored(self) -> Bools:
        """Where the service gave a score."""
        return ~np.isnan(self.score)


def swaps(readings: Readings, chosen: Bools) -> dict[str, Any]:
    """Return what swapping names changes, over the chosen cells of texts × names.

    `flips` is the share of pairs of names with another label, `any_flip` the share of texts with
    at least one such pair, `spread` the mean over texts of the standard deviation of s,
    `difference` the mean |Δs| of two names.
    """
    flips, apart, pairs = 0.0, 0.0, 0
    texts, any_flip, spreads = 0, 0, []
    for row in range(len(readings.score)):
        cells = chosen[row] & readings.scored[row]
        count = int(cells.sum())
        if count < 2:
            continue
        score, label = np.sort(readings.score[row, cells]), readings.label[row, cells]
        of_text = count * (count - 1) / 2
        same = sum(n * (n - 1) / 2 for n in np.bincount(label))
        # Σ over pairs of |a - b| = Σ of sorted values, each times how many lie below less above.
        apart += float(score @ (2 * np.arange(count) - count + 1))
        flips += of_text - same
        pairs += int(of_text)
        texts += 1
        any_flip += same < of_text
        spreads.append(float(score.std()))
    return {
        "texts": texts,
        "pairs": pairs,
        "flips": flips / pairs if pairs else None,
        "any_flip": any_flip / texts if texts else None,
        "spread": float(np.mean(spreads)) if spreads else None,
        "difference": apart / pairs if pairs else None,
    }


def bias(differences: Mapping[str, Floats]) -> dict[str, dict[str, Any]]:
    """Return mean, interval and corrected p-value per name, given its differences per text.

    Args:
        differences: float64 [texts] per name; a mean of zero would be no bias.
    """
    tests = len(differences)
    found: dict[str, dict[str, Any]] = {}
    for name, exact in differences.items():
        # Scores are of 10⁻⁶: what is much smaller is rounding, and would pass for a sure effect.
        values = np.round(exact, _DIGITS)
        count, mean = len(values), float(values.mean())
        error = float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0
        tail = (1 - LEVEL) / (2 * tests)
        reach = float(stats.t.ppf(1 - tail, count - 1)) * error if count > 1 else 0.0
        # Without any variance there is nothing to test: equal everywhere, or shifted everywhere.
        p = float(2 * stats.t.sf(abs(mean) / error, count - 1)) if error else float(mean == 0)
        found[name] = {
            "texts": count,
            "bias": mean,
            "interval": [mean - reach, mean + reach],
            "p": p,
        }
    for one, corrected in zip(found.values(), holm([f["p"] for f in found.values()]), strict=True):
        one["p_holm"] = corrected
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: the k-th smallest times (m - k + 1), never decreasing."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, at in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = largest
    return adjusted


def name_bias(readings: Readings, names: Sequence[str], group: Bools) -> dict[str, dict[str, Any]]:
    """Return the bias of each name against the other names of its group.

    Args:
        readings: Of texts × names.
        names: The columns.
        group: bool [names], which columns are compared with one another.
    """
    columns = np.flatnonzero(group)
    score = readings.score[:, columns]
    differences = {}
    for place, column in enumerate(columns):
        others = np.delete(score, place, axis=1)
        counts = (~np.isnan(others)).sum(axis=1)
        usable = (counts > 0) & ~np.isnan(score[:, place])
        if usable.any():
            mean = np.nansum(others[usable], axis=1) / counts[usable]
            differences[names[column]] = score[usable, place] - mean
    return bias(differences)
