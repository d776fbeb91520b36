"""What the windows must be: the same fold over votes.v1, without agents, batches or crashes."""

from collections.abc import Mapping, Sequence
from typing import Any

from streams.adapters.kafka_scan import scan
from streams.core.errors import ConfigurationError
from streams.core.fold import Fold
from streams.core.records import KIND_HEADER, Window
from streams.core.rules import Rule
from streams.core.topics import VOTES, WINDOWS, Names

Closed = dict[tuple[str, int], dict[str, Any]]
"""(subject, closed minute) → the newest revision of its window record, wall clock left out"""


async def fold_votes(
    bootstrap: str, names: Names, rules: Sequence[Rule], lateness_ms: int
) -> Closed:
    """Return the window records that an undisturbed run over all of votes.v1 would have written.

    Raises:
        ConfigurationError: the broker or the topic is not there, or retention has cut the topic.
    """
    closed: Closed = {}
    async with scan(bootstrap, names.topic(VOTES)) as opened:
        folds = {
            tp.partition: Fold(tp.partition, len(opened.starts), lateness_ms)
            for tp in opened.starts
        }
        for fold in folds.values():
            fold.adopt(rules)
        if any(opened.starts.values()):
            raise ConfigurationError(
                "retention has removed the first votes, so they can't be folded anew"
            )
        async for tp, records in opened.batches():
            fold = folds[tp.partition]
            for record in records:
                kind = dict(record.headers).get(KIND_HEADER, b"").decode()
                fold.apply(record.offset, record.timestamp, kind, record.value or b"", 0)
            emitted, _ = fold.take()
            for window in emitted.windows:
                _keep(closed, window)
    return closed


async def published_windows(bootstrap: str, names: Names) -> Closed:
    """Return the newest revision of every window record on windows.v1, as a reader keeps them."""
    closed: Closed = {}
    async with scan(bootstrap, names.topic(WINDOWS)) as opened:
        async for _, records in opened.batches():
            for record in records:
                _keep(closed, Window.model_validate_json(record.value))
    return closed


def _keep(closed: Closed, window: Window) -> None:
    place = (window.subject, window.minute)
    if place not in closed or closed[place]["revision"] < window.revision:
        closed[place] = window.model_dump(exclude={"closed_at"})


def differing(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> list[Any]:
    """Return the keys whose values differ or which only one side has, in order."""
    return sorted(k for k in one.keys() | other.keys() if one.get(k) != other.get(k))
