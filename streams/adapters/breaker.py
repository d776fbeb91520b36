"""A circuit breaker and a brake for calls to a server that may be down or overloaded.

Our own because the libraries at hand do less: purgatory counts failures in a row only and lets
the next caller's payload be the probe, aiobreaker has had no release since 2021. Neither of
these classes knows Triton; time is given by the caller's clock. Not thread-safe.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from enum import StrEnum


class State(StrEnum):
    """Closed lets calls pass, open refuses them, half-open waits for a probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens when half of the recent calls failed; a successful probe closes it."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        open_s: float = 2.0,
        window: int = 20,
        least: int = 5,
    ) -> None:
        """Start closed.

        Args:
            clock: Monotonic seconds.
            open_s: How long calls are refused before a probe may go out.
            window: How many recent calls count.
            least: Fewer calls than this decide nothing.
        """
        self._clock = clock
        self._open_s = open_s
        self._least = least
        self._failed: deque[bool] = deque(maxlen=window)
        self._probe_at: float | None = None

    @property
    def state(self) -> State:
        """What holds at this moment."""
        if self._probe_at is None:
            return State.CLOSED
        return State.OPEN if self._clock() < self._probe_at else State.HALF_OPEN

    def succeeded(self) -> None:
        """A call or a probe came back."""
        if self._probe_at is None:
            self._failed.append(False)

    def failed(self) -> None:
        """A call failed in a way that says something about the server."""
        if self._probe_at is not None:
            return  # calls that were under way when it opened add nothing
        self._failed.append(True)
        if len(self._failed) >= self._least and 2 * sum(self._failed) >= len(self._failed):
            self.open()

    def open(self) -> None:
        """Refuse calls from now on, until a probe closes it."""
        self._failed.clear()
        self._probe_at = self._clock() + self._open_s

    def close(self) -> None:
        """The probe succeeded."""
        self._failed.clear()
        self._probe_at = None


class Throttle:
    """Bounds the calls under way: halved when the server is overloaded, raised one by one."""

    def __init__(self, most: int) -> None:
        """Allow `most` calls at once, to begin with and at most."""
        self._most = most
        self._limit = float(most)
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many calls may be under way now."""
        return int(self._limit)

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a free place and hold it."""
        while self._busy >= self.limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()  # the turn may have come in the same moment
                raise
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._wake()

    def slower(self) -> None:
        """The server said that it is overloaded."""
        self._limit = max(1.0, self._limit / 2)

    def faster(self) -> None:
        """A call came back."""
        self._limit = min(float(self._most), self._limit + 1.0 / self._limit)
        self._wake()

    def _wake(self) -> None:
        """Let the first who still waits look again; looking in vain costs nothing."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
