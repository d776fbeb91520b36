"""Groups of near-duplicates, so that no text of one split is nearly a text of another.

Texts are compared by the Jaccard similarity of their character 5-grams, after folding case,
digits and punctuation: copies that differ by a price, a link or a hashtag are one story.
Candidates come from MinHash signatures in LSH bands (datasketch); each is then checked exactly.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
from datasketch import MinHash, MinHashLSH
from scipy.cluster.hierarchy import DisjointSet
from sklearn.feature_extraction.text import CountVectorizer

THRESHOLD: Final = 0.7
"""Jaccard similarity from which two texts are near-duplicates."""

_SHINGLE = 5
_BANDS, _ROWS = 42, 3
"""A pair at the threshold is missed with probability (1 - 0.7³)⁴² = 2·10⁻⁸.

Source: Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4.2.
"""
_SEED = 1
_BATCH = 512
_LINK = re.compile(r"(?:https?:/?/?|www\.)\S*", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_GAP = re.compile(r"[\W_]+")


def folded(text: str) -> str:
    """Return what of a text counts when texts are compared: small letters, numbers as `0`."""
    text = _NUMBER.sub("0", _LINK.sub(" ", text.lower()))
    return _GAP.sub(" ", text).strip()


def shingles(text: str) -> frozenset[str]:
    """Return the character 5-grams of the folded text; the whole text where it is shorter."""
    text = folded(text)
    return frozenset(text[i : i + _SHINGLE] for i in range(max(1, len(text) - _SHINGLE + 1)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return |one ∩ other| / |one ∪ other|. The sets must not be empty."""
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def near_duplicates(
    texts: Sequence[str], on_progress: Callable[[int], None] = lambda done: None
) -> list[tuple[int, int]]:
    """Return the pairs (i, j), j < i, of texts whose similarity is at least `THRESHOLD`.

    Args:
        texts: Distinct texts; a repeated one pairs with each of its copies.
        on_progress: Called with the number of texts done.
    """
    index = MinHashLSH(params=(_BANDS, _ROWS), num_perm=_BANDS * _ROWS)
    sets = [shingles(text) for text in texts]
    pairs: list[tuple[int, int]] = []
    encoded = ([s.encode() for s in one] for one in sets)
    hashes = MinHash.generator(encoded, num_perm=_BANDS * _ROWS, seed=_SEED)
    for i, signature in enumerate(hashes):
        similar = sorted(
            j for j in index.query(signature) if jaccard(sets[i], sets[j]) >= THRESHOLD
        )
        pairs += [(i, j) for j in similar]
        index.insert(i, signature)
        on_progress(i + 1)
    return pairs


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return for each of `count` items the smallest item it is joined with, directly or not."""
    joined = DisjointSet(range(count))
    for one, other in pairs:
        joined.merge(one, other)
    result = [0] * count
    for group in joined.subsets():
        first = min(group)
        for item in group:
            result[item] = first
    return result


def leaks(
    texts: Sequence[str],
    splits: Sequence[str],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[int, int, float]]:
    """Return all pairs (i, j, similarity) of near-duplicates that stand in different splits.

    Compares every text with every text of another split by exact sparse products: nothing is
    shared with `near_duplicates` but the meaning of similarity, and no candidate can be missed.
    Quadratic time.

    Args:
        texts: The texts.
        splits: The split of each.
        on_progress: Called with the number of texts compared and the number of those to compare.
    """
    if not texts:
        return []
    counted = CountVectorizer(analyzer=shingles, binary=True, dtype=np.int32)
    matrix = counted.fit_transform(texts)
    sizes = np.asarray(matrix.sum(axis=1)).ravel()
    places = {name: np.flatnonzero([split == name for split in splits]) for name in set(splits)}
    # The largest split is only compared with, so that the products are few.
    names = sorted(places, key=lambda name: (len(places[name]), name))
    total = sum(len(places[name]) for name in names[:-1])
    found: list[tuple[int, int, float]] = []
    done = 0
    for at, name in enumerate(names[:-1]):
        against = np.concatenate([places[other] for other in names[at + 1 :]])
        columns = matrix[against].T.tocsr()
        for start in range(0, len(places[name]), _BATCH):
            rows = places[name][start : start + _BATCH]
            common = (matrix[rows] @ columns).tocoo()
            i, j = rows[common.row], against[common.col]
            similarity = common.data / (sizes[i] + sizes[j] - common.data)
            over = similarity >= THRESHOLD
            found += zip(i[over].tolist(), j[over].tolist(), similarity[over].tolist(), strict=True)
            done += len(rows)
            on_progress(done, total)
    return found
