"""Whether a process can do its work now, and if not, why."""

from typing import Final

ASSIGNMENT: Final = "assignment"
CLASSIFIER: Final = "classifier"
DEAD_LETTERS: Final = "dead_letters"
STALLED: Final = "stalled"
BROKER: Final = "broker"
HOLDS: Final = (CLASSIFIER, DEAD_LETTERS)
"""Reasons for which work stands still on purpose."""
REASONS: Final = (ASSIGNMENT, *HOLDS, STALLED, BROKER)


class Readiness:
    """Named reasons why not; ready when there are none."""

    def __init__(self, *reasons: str) -> None:
        self._blocked = dict.fromkeys(reasons, "starting")

    def block(self, reason: str, detail: str) -> None:
        """Say why work stands still; the reason is one of `REASONS`."""
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is not among the documented reasons")
        self._blocked[reason] = detail

    def clear(self, reason: str) -> None:
        """Say that this reason is gone."""
        self._blocked.pop(reason, None)

    @property
    def blocked(self) -> dict[str, str]:
        """Reason → detail."""
        return dict(self._blocked)

    @property
    def ready(self) -> bool:
        """Whether nothing stands in the way."""
        return not self._blocked

    @property
    def may_stand_still(self) -> bool:
        """Whether nothing has begun yet, or a declared hold is on."""
        return any(reason in self._blocked for reason in (ASSIGNMENT, *HOLDS))
