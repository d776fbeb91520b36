"""How often each author has spoken about a subject, by minute."""

from streams.core.counting import count_in


class Turns:
    """The minutes of each author's texts. Most authors speak once."""

    def __init__(self) -> None:
        self._minutes: dict[int, int | dict[int, int]] = {}

    def add(self, author: int, minute: int) -> None:
        """Count a text."""
        known = self._minutes.get(author)
        if known is None:
            self._minutes[author] = minute
            return
        if isinstance(known, int):
            known = self._minutes[author] = {known: 1}
        count_in(known, minute, 1)

    def forget(self, author: int, minute: int) -> None:
        """Take a text away again."""
        known = self._minutes.get(author)
        if isinstance(known, dict):
            count_in(known, minute, -1)
        if known == minute or known == {}:
            del self._minutes[author]

    def since(self, author: int, minute: int) -> int:
        """Return how many texts an author has after a minute."""
        known = self._minutes.get(author)
        if known is None:
            return 0
        if isinstance(known, int):
            return int(known > minute)
        return sum(n for at, n in known.items() if at > minute)
