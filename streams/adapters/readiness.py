"""Whether a process can do its work now, and if not, why."""


class Readiness:
    """Named reasons why not; ready when there are none."""

    def __init__(self, *reasons: str) -> None:
        self._blocked = dict.fromkeys(reasons, "starting")

    def block(self, reason: str, detail: str) -> None:
        """Say why work stands still."""
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
