"""How long to wait after a failure."""

import random

from streams.connectors.config import Retry


class Pauses:
    """Pauses that double with each failure in a row, with jitter: many must not come at once."""

    def __init__(self, retry: Retry, chance: random.Random) -> None:
        self._retry = retry
        self._chance = chance

    def after(self, failures: int, wanted_s: float = 0.0) -> float:
        """Return the seconds to wait after so many failures in a row (1 or more).

        It is between half and the whole of the doubled pause, never less than the source wanted.
        """
        doubled = self._retry.first_s * 2.0 ** min(failures - 1, 60)
        pause = min(doubled, self._retry.longest_s)
        jitter = self._chance.uniform(0.5, 1.0)
        return max(pause * jitter, wanted_s * self._chance.uniform(1.0, 1.1))
