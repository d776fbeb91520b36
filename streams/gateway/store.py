"""The read model: what the API answers from, folded from the topics, bounded in memory.

Pure and idempotent: a record may come twice or late, and the larger revision wins. Windows are
kept as bytes without evidence and moves (the newest record and alerts carry theirs), about 1.7 kB
each.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from streams.core.labels import MARKET, TOPIC_SLUGS, TOPICS
from streams.core.records import Alert, Opinion, Window

_ONLY_NEWEST: Final[dict[str, Any]] = {
    "subject": True,
    "echoes": True,
    "windows": {"__all__": {"evidence", "move"}},
}
_SLUGS: Final = dict(zip(TOPICS, TOPIC_SLUGS, strict=True))


@dataclass(frozen=True)
class Limits:
    """How much is kept; what is over is the oldest and goes first."""

    subjects: int = 5_000
    windows: int = 120_000
    windows_per_subject: int = 10_000
    texts: int = 20_000
    texts_per_subject: int = 200
    alerts: int = 1_000
    revisions: int = 50


@dataclass
class SubjectView:
    """What is known of one subject."""

    minutes: list[int] = field(default_factory=list)
    """ascending; the keys of `windows`"""
    windows: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """minute → (revision, what the API answers)"""
    newest: Window | None = None
    texts: list[tuple[int, str]] = field(default_factory=list)
    """(event time, text id), ascending"""
    alerts: int = 0
    """alerts that are not resolved"""


@dataclass
class AlertView:
    """All revisions of an alert that are kept, ascending."""

    revisions: list[Alert]
    offset: int
    """of the newest revision in alerts.v1"""

    @property
    def newest(self) -> Alert:
        """The revision that counts."""
        return self.revisions[-1]


class Store:
    """Folds opinions, windows and alerts; not thread-safe (one event loop owns it)."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._subjects: OrderedDict[str, SubjectView] = OrderedDict()  # least recently fed first
        self._texts: OrderedDict[str, Opinion] = OrderedDict()
        self._alerts: OrderedDict[str, AlertView] = OrderedDict()  # least recently revised first
        self._windows = 0

    def apply_window(self, window: Window) -> bool:
        """Keep a window unless its revision is not larger than the one known; say whether."""
        view = self._feed(window.subject)
        known = view.windows.get(window.minute)
        if known is not None and window.revision <= known[0]:
            return False
        if known is None:
            if len(view.minutes) >= self._limits.windows_per_subject:
                if window.minute < view.minutes[0]:
                    return False  # older than everything kept
                self._drop_windows(view, 1)
            insort(view.minutes, window.minute)
            self._windows += 1
        view.windows[window.minute] = (window.revision, _compact(window))
        if view.newest is None or window.minute >= view.newest.minute:
            view.newest = window
        if self._windows > self._limits.windows:
            largest = max(self._subjects.values(), key=lambda each: len(each.minutes))
            self._drop_windows(largest, max(1, len(largest.minutes) // 10))
        return True

    def apply_opinion(self, opinion: Opinion) -> bool:
        """Keep a scored text unless it is known; say whether."""
        if opinion.outcome != "scored" or opinion.id in self._texts:
            return False
        self._texts[opinion.id] = opinion
        entry = (opinion.event_time, opinion.id)
        for subject in subjects_of(opinion):
            view = self._feed(subject)
            insort(view.texts, entry)
            del view.texts[: -self._limits.texts_per_subject]
        if len(self._texts) > self._limits.texts:
            self._drop_text()
        return True

    def apply_alert(self, alert: Alert, offset: int) -> bool:
        """Keep an alert's revision unless it is not larger than the newest; say whether."""
        known = self._alerts.get(alert.id)
        if known is None:
            self._alerts[alert.id] = AlertView([alert], offset)
            self._count_open(alert, +1)
        elif alert.revision > known.newest.revision:
            self._count_open(known.newest, -1)
            self._count_open(alert, +1)
            known.revisions.append(alert)
            known.offset = offset
            del known.revisions[1 : -(self._limits.revisions - 1)]  # the first one stays
            self._alerts.move_to_end(alert.id)
        else:
            return False
        if len(self._alerts) > self._limits.alerts:
            _, gone = self._alerts.popitem(last=False)
            self._count_open(gone.newest, -1)
        return True

    def subject_ids(self) -> list[str]:
        """Return the known subjects: the market, topics, then tickers, each by name."""
        return sorted(self._subjects, key=subject_order)

    def subject(self, subject: str) -> SubjectView | None:
        """Return what is known of a subject."""
        return self._subjects.get(subject)

    def windows(
        self, subject: str, start: int | None, end: int | None, limit: int, every: int
    ) -> list[bytes]:
        """Return the newest `limit` windows with start <= minute < end, ascending, as JSON.

        Args:
            every: minutes; of each stretch of so many only the last closed one is returned.
        """
        view = self._subjects.get(subject)
        if view is None:
            return []
        first = 0 if start is None else bisect_left(view.minutes, start)
        last = len(view.minutes) if end is None else bisect_left(view.minutes, end)
        chosen: list[int] = []
        for minute in reversed(view.minutes[first:last]):
            if chosen and minute // every == chosen[-1] // every:
                continue
            chosen.append(minute)
            if len(chosen) == limit:
                break
        return [view.windows[minute][1] for minute in reversed(chosen)]

    def texts(self, subject: str, limit: int) -> list[Opinion]:
        """Return the latest scored texts about a subject, newest first."""
        view = self._subjects.get(subject)
        known = (self._texts.get(text) for _, text in reversed(view.texts)) if view else ()
        return [opinion for opinion in known if opinion is not None][:limit]

    def alert(self, alert: str) -> AlertView | None:
        """Return an alert with its revisions."""
        return self._alerts.get(alert)

    def alerts(self) -> Iterator[AlertView]:
        """Yield the alerts, latest revised first."""
        return reversed(self._alerts.values())

    def counts(self) -> dict[str, int]:
        """Return how much is kept, for the metrics."""
        return {
            "subjects": len(self._subjects),
            "windows": self._windows,
            "texts": len(self._texts),
            "alerts": len(self._alerts),
        }

    def _feed(self, subject: str) -> SubjectView:
        view = self._subjects.get(subject)
        if view is None:
            if len(self._subjects) >= self._limits.subjects:
                _, gone = self._subjects.popitem(last=False)
                self._windows -= len(gone.minutes)
            view = self._subjects[subject] = SubjectView()
            open_ones = (a.newest for a in self._alerts.values() if a.newest.subject == subject)
            view.alerts = sum(alert.state != "resolved" for alert in open_ones)
        self._subjects.move_to_end(subject)
        return view

    def _count_open(self, alert: Alert, by: int) -> None:
        view = self._subjects.get(alert.subject)
        if view is not None and alert.state != "resolved":
            view.alerts += by

    def _drop_windows(self, view: SubjectView, count: int) -> None:
        for minute in view.minutes[:count]:
            del view.windows[minute]
        del view.minutes[:count]
        self._windows -= count

    def _drop_text(self) -> None:
        _, gone = self._texts.popitem(last=False)
        entry = (gone.event_time, gone.id)
        for subject in subjects_of(gone):
            view = self._subjects.get(subject)
            if view is not None and entry in view.texts:
                view.texts.remove(entry)


def subjects_of(opinion: Opinion) -> list[str]:
    """Return the subjects a scored text speaks about: companies, topic, market."""
    subjects = [entity.subject for entity in opinion.entities]
    if opinion.topic:
        slug = _SLUGS.get(opinion.topic, opinion.topic.removeprefix("topic:"))
        subjects.append(f"topic:{slug}")
    return [*dict.fromkeys(subjects), MARKET]


def subject_order(subject: str) -> tuple[int, str]:
    """Return the sort key of a subject: the market first, then topics, then companies."""
    rank = 0 if subject == MARKET else 1 if subject.startswith("topic:") else 2
    return rank, subject


def _compact(window: Window) -> bytes:
    # Made once here, so that a chart of 2,000 windows costs no parsing later.
    fields = window.model_dump(exclude=_ONLY_NEWEST)
    made = orjson.dumps({**fields, "end": (window.minute + 1) * 60_000})
    # orjson shrinks a large buffer in place and so leaves a hole of 7 KiB behind each; copy it.
    return bytes(memoryview(made))
