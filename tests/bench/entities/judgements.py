"""Links that no annotation decides, read by a person: `judgements.csv`.

A row is the text's hash, what was linked there and whether the text means that company; texts of
third parties are never committed.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

JUDGEMENTS: Final = Path(__file__).parent / "judgements.csv"
COLUMNS: Final = ["source", "text", "start", "written", "symbol", "verdict"]


@dataclass(frozen=True, slots=True)
class Case:
    """A link to judge."""

    source: str
    text: str
    start: int
    written: str
    symbol: str

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """Return what identifies the case without its text."""
        return self.source, digest(self.text), str(self.start), self.written, self.symbol


def digest(text: str) -> str:
    """Return the hash by which a text is known."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


class Judgements:
    """What was read."""

    def __init__(self, path: Path = JUDGEMENTS) -> None:
        """Read the file; none is as good as an empty one."""
        self._right: dict[tuple[str, ...], bool] = {}
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as lines:
                for row in csv.DictReader(lines):
                    key = tuple(row[column] for column in COLUMNS[:-1])
                    self._right[key] = {"right": True, "wrong": False}[row["verdict"]]

    def right(self, case: Case) -> bool | None:
        """Return whether a link is right; None where nobody has read it."""
        return self._right.get(case.key)


def write_sheet(path: Path, cases: Iterable[Case]) -> int:
    """Write cases with their texts for reading; return how many."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*COLUMNS, "reading"])
        for case in cases:
            writer.writerow([*case.key, "", case.text])
            count += 1
    return count
