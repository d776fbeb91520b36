"""The watermark of a votes partition: how far event time has surely come."""

from typing import Any, Self

from streams.core.votes import Marker

GENERATION_MEMORY_MS = 600_000
"""Markers of an older generation don't list sources for this long after a newer one spoke."""


class Watermark:
    """Minimum of the sources' event times less the allowed lateness; it never goes back.

    A source that is idle leaves the minimum. If all are idle, time goes on with the clock of
    the least idle one. A listed source that has not spoken yet holds the watermark.
    """

    def __init__(self, lateness_ms: int) -> None:
        self.value: int | None = None
        """milliseconds since the epoch, None before the first one"""
        self._lateness_ms = lateness_ms
        self._event_times: dict[str, int] = {}
        self._idle: dict[str, int] = {}
        self._listed: tuple[str, ...] = ()
        self._generation = -1
        self._generation_at = 0

    def apply(self, marker: Marker, timestamp_ms: int) -> None:
        """Take in a marker.

        Args:
            marker: The marker.
            timestamp_ms: Time of the record that carried it.
        """
        current = (
            marker.generation >= self._generation
            or timestamp_ms >= self._generation_at + GENERATION_MEMORY_MS
        )
        if current:
            self._generation = marker.generation
            self._generation_at = timestamp_ms
            self._listed = marker.sources
        for source, (event_time, idle) in marker.marks.items():
            if event_time is not None:
                self._event_times[source] = max(event_time, self._event_times.get(source, 0))
            if current:
                if idle is None:
                    self._idle.pop(source, None)
                else:
                    self._idle[source] = idle
        reached = self._reached()
        if reached is not None and (self.value is None or reached > self.value):
            self.value = reached

    def _reached(self) -> int | None:
        active = [s for s in self._listed if s not in self._idle]
        if active:
            if any(s not in self._event_times for s in active):
                return None
            return min(self._event_times[s] for s in active) - self._lateness_ms
        known = [self._event_times[s] for s in self._listed if s in self._event_times]
        if not known:
            return None
        return max(known) + min(self._idle[s] for s in self._listed) - self._lateness_ms

    def to_row(self) -> dict[str, Any]:
        """Return what survives a restart."""
        return {
            "value": self.value,
            "event_times": self._event_times,
            "idle": self._idle,
            "listed": self._listed,
            "generation": self._generation,
            "generation_at": self._generation_at,
        }

    @classmethod
    def from_row(cls, row: dict[str, Any], lateness_ms: int) -> Self:
        """Read it back."""
        mark = cls(lateness_ms)
        mark.value = row["value"]
        mark._event_times = dict(row["event_times"])
        mark._idle = dict(row["idle"])
        mark._listed = tuple(row["listed"])
        mark._generation = row["generation"]
        mark._generation_at = row["generation_at"]
        return mark
