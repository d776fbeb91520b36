"""What the windows must be: the same fold over votes.v1, without agents, batches or crashes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.adapters.kafka_scan import scan
from streams.core.errors import ConfigurationError
from streams.core.fold import Fold
from streams.core.records import KIND_HEADER, Alert, Window
from streams.core.rules import Rule
from streams.core.topics import VOTES, WINDOWS, Names

Closed = dict[tuple[str, int], dict[str, Any]]
"""(subject, closed minute) → the newest revision of its window record, wall clock left out"""


@dataclass(slots=True)
class Offline:
    """What an undisturbed run over the votes that lie on the topic would have written."""

    windows: Closed = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    counted: int = 0
    late: int = 0


async def fold_votes(
    bootstrap: str, names: Names, rules: Sequence[Rule], lateness_ms: int
) -> Offline:
    """Fold votes.v1 from its beginning, one partition after the other, in memory.

    Raises:
        ConfigurationError: the broker or the topic is not there, or retention has cut the topic.
    """
    result = Offline()
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
            result.alerts += emitted.alerts
            for window in emitted.windows:
                _keep(result.windows, window)
    result.counted = sum(fold.counts.counted for fold in folds.values())
    result.late = sum(fold.counts.late for fold in folds.values())
    return result


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
