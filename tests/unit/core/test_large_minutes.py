"""A minute of any size fits its rows, and nothing of it stays behind.

minute 0: 9,000 votes in one batch | closed | one late vote revises it | 31 min later: | 49 h later:
                  rows cut here ^         ^                         ^      sums only       gone
"""

import pytest

from streams.core.fold import Fold, Rows
from streams.core.ids import make_id
from streams.core.records import Kind, Origin, Window
from streams.core.votes import Marker, Vote
from streams.core.windows import COPIES_IN_ROW

BEGIN = 19_700 * 86_400_000
MINUTE_MS = 60_000
SOURCE = "texts.news.v1/0"
MANY = 9_000
LIMIT = 256 << 10


def vote(number: int, at: int) -> bytes:
    name = f"{number:032x}"
    return Vote(
        id=name,
        text_id=name[::-1],
        subject="market",
        event_time=at,
        channel="wire",
        score=number - MANY // 2,
        label=1,
        relevance=800_000,
        confidence=900_000,
        fingerprint=make_id(str(number // 2))[:16],
        author=make_id(str(number % 5_000))[:16],
        origin=Origin("texts.news.v1", 0, number),
        index=0,
        model="m/1",
        ingested_at=at + 5,
        scored_at=at + 9,
        snippet="s" * 200,
    ).to_json()


class Log:
    def __init__(self) -> None:
        self.fold = Fold(0, 1, 0)
        self.rows: dict[str, bytes] = {}

    def votes(self, first: int, end: int, at: int) -> None:
        for number in range(first, end):
            self._apply(Kind.VOTE, vote(number, at), at)

    def mark(self, at: int) -> None:
        self._apply(Kind.MARKER, Marker(1, {SOURCE: (at, None)}, (SOURCE,)).to_json(), at)

    def _apply(self, kind: str, value: bytes, at: int) -> None:
        self.fold.apply(self.fold.applied + 1, at, kind, value, 0)

    def restart(self) -> tuple[list[object], Rows]:
        """Write the rows, forget everything, read them back."""
        emitted, changes = self.fold.take()
        self.rows = {k: v for k, v in {**self.rows, **changes}.items() if v is not None}
        self.fold = Fold.restore(dict(reversed(self.rows.items())), 0, 1, 0)
        return list(emitted.windows), changes


@pytest.fixture
def log() -> Log:
    log = Log()
    log.votes(0, MANY, BEGIN)
    log.restart()
    return log


def minute_rows(log: Log) -> set[str]:
    return {key for key in log.rows if key.startswith("market|") and key != "market|past"}


def test_no_row_is_too_large_and_a_restart_changes_nothing(log: Log) -> None:
    assert max(map(len, log.rows.values())) < LIMIT
    assert len(minute_rows(log)) > MANY // 1_000

    undisturbed = Log()
    undisturbed.votes(0, MANY, BEGIN)
    wanted = []
    for each in (undisturbed, log):
        each.mark(BEGIN + 2 * MINUTE_MS)
        closed, _ = each.restart() if each is log else (each.fold.take()[0].windows, None)
        each.votes(MANY, MANY + 1, BEGIN)
        each.votes(17, 18, BEGIN)  # written again
        each.mark(BEGIN + 3 * MINUTE_MS)
        wanted.append((list(closed), each.fold.take()[0].windows, each.fold.counts))
    assert wanted[0] == wanted[1]
    assert [window.revision for window in wanted[0][1]] == [2]


def test_closing_leaves_as_many_rows_as_it_needs(log: Log) -> None:
    log.mark(BEGIN + 2 * MINUTE_MS)
    log.restart()
    minute = BEGIN // MINUTE_MS
    parts = range(1, 1 + -(-MANY // COPIES_IN_ROW))
    assert minute_rows(log) == {f"market|{minute}", *(f"market|{minute}+{p}" for p in parts)}
    assert max(map(len, log.rows.values())) < LIMIT


def test_what_no_text_is_compared_with_any_more_goes_early(log: Log) -> None:
    log.mark(BEGIN + 2 * MINUTE_MS)
    later = BEGIN + 31 * MINUTE_MS
    log.votes(MANY, MANY + 1, later)
    log.mark(later + 2 * MINUTE_MS)
    windows, _ = log.restart()
    assert minute_rows(log) == {f"market|{BEGIN // MINUTE_MS}", f"market|{later // MINUTE_MS}"}
    assert isinstance(windows[-1], Window)
    assert windows[-1].windows["8h"].texts == MANY + 1
    assert 5_000 * 0.8 < windows[-1].windows["8h"].authors < 5_000 * 1.2


def test_all_of_them_go_when_no_window_needs_the_minute(log: Log) -> None:
    log.mark(BEGIN + 2 * MINUTE_MS)
    log.restart()
    later = BEGIN + 50 * 60 * MINUTE_MS
    log.votes(MANY, MANY + 1, later)
    log.mark(later + 2 * MINUTE_MS)
    log.restart()
    assert minute_rows(log) == {f"market|{later // MINUTE_MS}"}
