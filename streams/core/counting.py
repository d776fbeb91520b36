"""Counts from which everything that was added can be taken away again."""

from typing import TypeVar

_Key = TypeVar("_Key")


def count_in(counts: dict[_Key, int], key: _Key, step: int) -> int:
    """Change a count and return what it is now; a count of zero is no entry."""
    left = counts.get(key, 0) + step
    if left:
        counts[key] = left
    else:
        counts.pop(key, None)
    return left
