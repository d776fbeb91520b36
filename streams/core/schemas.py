"""Reading state rows of older schemas.

2: `@partition` knows the ids of its topics, under `topics`; its `days` are the row `@days`. All
   other rows are as in 1.
"""

from collections.abc import Mapping
from typing import Any

from streams.core.sources import split_source


def migrated(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `@partition` row of this or an older schema in the form of this one."""
    return _with_topics(row) if row["schema"] == 1 else dict(row)


def _with_topics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Take the ids out of the sources.

    Old code knows none, but while a newer score wrote for it already, it took `topic@id/0` for
    another source than `topic/0` and kept both.
    """
    mark = row["watermark"]
    event_times: dict[str, int] = {}
    for source, at in mark["event_times"].items():
        plain = split_source(source)[2]
        event_times[plain] = max(at, event_times.get(plain, at))
    listed = [split_source(source) for source in mark["listed"]]
    topics = {topic: topic_id for topic, topic_id, _ in listed if topic_id}
    renamed = {plain for _, topic_id, plain in listed if topic_id}
    idle = {
        split_source(source)[2]: ms
        for source, ms in mark["idle"].items()
        if source not in renamed  # said under its old name, before the newest markers
    }
    names = [plain for _, _, plain in listed]
    watermark = {**mark, "event_times": event_times, "idle": idle, "listed": names}
    return {**row, "topics": topics, "watermark": watermark}
