"""The alert log behind the live stream: its tail in memory, and who listens.

A listener is a cursor, not a queue, so it costs nothing to be slow for a moment. One that was up
to date and then stays more than a bounded number of events behind is dropped and comes back with
its last offset; events are never left out.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable
from typing import Final, NamedTuple

FROM_START: Final = -1
"""the "last seen" offset of a listener that has seen nothing"""


class Event(NamedTuple):
    """One alert revision of the log."""

    offset: int
    event_id: str
    data: bytes
    """the payload, JSON"""


class Feed:
    """The tail of the alert log. One event loop owns it and its cursors."""

    def __init__(
        self,
        tail: int = 2_000,
        backlog: int = 500,
        patience_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty.

        Args:
            tail: events in memory; older ones are read from the broker by whoever wants them.
            backlog: a listener that was up to date may fall so many events behind, and
            patience_s: be further behind for so long: a burst makes nobody slow.
            clock: seconds that only grow.
        """
        self._limit = tail
        self.backlog = backlog
        self._patience_s = patience_s
        self._clock = clock
        self._events: list[Event] = []
        self._offsets: dict[str, int] = {}
        self._forgotten = False
        self.cursors: set[Cursor] = set()
        self.dropped = 0
        self.live = False
        """whether all that was on the topic when we started has been read"""
        self.closed = False

    @property
    def last(self) -> int:
        """Offset of the newest event, -1 when there is none."""
        return self._events[-1].offset if self._events else FROM_START

    @property
    def first(self) -> int:
        """The offset from which on memory holds everything."""
        return self._events[0].offset if self._forgotten else 0

    def append(self, event: Event) -> bool:
        """Add what the reader read next; False when it is known already."""
        if event.offset <= self.last:
            if self._offsets.get(event.event_id) == event.offset:
                return False
            self._begin_anew()
        self._events.append(event)
        self._offsets[event.event_id] = event.offset
        if len(self._events) > self._limit + self._limit // 4:  # in gulps: a list is cheap then
            for old in self._events[: -self._limit]:
                self._offsets.pop(old.event_id, None)
            del self._events[: -self._limit]
            self._forgotten = True
        now = self._clock()
        for cursor in list(self.cursors):
            cursor.notice(now)
            if cursor.behind_since is not None and now - cursor.behind_since > self._patience_s:
                self.cursors.discard(cursor)
                self.dropped += 1
                cursor.close()
        return True

    def go_live(self) -> None:
        """Say that the past has been read: listeners without an offset start here."""
        if self.live:
            return
        self.live = True
        for cursor in self.cursors:
            if cursor.after is None:
                cursor.after = self.last
            cursor.wake()

    def offset_of(self, event_id: str) -> int | None:
        """Return where an event lies, if it is in memory."""
        return self._offsets.get(event_id)

    def next_after(self, offset: int) -> Event | None:
        """Return the first event in memory beyond an offset."""
        at = bisect_right(self._events, offset, key=lambda event: event.offset)
        return self._events[at] if at < len(self._events) else None

    def join(self, after: int | None) -> "Cursor":
        """Add a listener that wants what follows an offset (None: what comes from now on)."""
        if after is None and self.live:
            after = self.last
        cursor = Cursor(self, after)
        if self.closed:
            cursor.close()
        self.cursors.add(cursor)
        return cursor

    def leave(self, cursor: "Cursor") -> None:
        """Remove a listener."""
        self.cursors.discard(cursor)

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        self.closed = True
        for cursor in self.cursors:
            cursor.close()

    def _begin_anew(self) -> None:
        # A smaller offset with other content: another broker, or a disk that was lost.
        self._events.clear()
        self._offsets.clear()
        self._forgotten = False
        for cursor in self.cursors:
            cursor.start_over()


class Cursor:
    """Where one listener stands."""

    def __init__(self, feed: Feed, after: int | None) -> None:
        self._feed = feed
        self.after = after
        self.pending = 0
        """events that came since the listener was up to date and that it has not taken"""
        self.behind_since: float | None = None
        """since when more than the allowed number of events is pending"""
        self.closed = False
        self.anew = False
        """whether the listener's offsets mean nothing any more and it must be told"""
        self._up_to_date = False
        self._wake = asyncio.Event()

    def notice(self, now: float) -> None:
        """An event was added."""
        self.pending += self._up_to_date
        if self.pending > self._feed.backlog and self.behind_since is None:
            self.behind_since = now
        self._wake.set()

    def wake(self) -> None:
        """Look again."""
        self._wake.set()

    def close(self) -> None:
        """End the stream."""
        self.closed = True
        self._wake.set()

    def start_over(self) -> None:
        """Go back to the start of the log."""
        self.after = FROM_START
        self.anew = True
        self._wake.set()

    def poll(self) -> Event | None:
        """Return the next event in memory, or None when the listener is up to date."""
        event = None if self.after is None else self._feed.next_after(self.after)
        if event is None:
            self._up_to_date = True
            self.pending = 0
        else:
            self.after = event.offset
            self.pending = max(0, self.pending - 1)
        if self.pending <= self._feed.backlog:
            self.behind_since = None
        return event

    async def wait(self) -> None:
        """Return when something may have changed since the last `poll`."""
        await self._wake.wait()
        self._wake.clear()
