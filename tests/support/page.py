"""Measured tables in pages of the documentation, between marks, so that nobody types a figure."""

from collections.abc import Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def write_between(page: Path, begin: str, end: str, body: str) -> None:
    """Put the body between the page's marks.

    Raises:
        ValueError: the page has lost its marks.
    """
    text = page.read_text(encoding="utf-8")
    head, first, rest = text.partition(begin)
    _, last, tail = rest.partition(end)
    if not first or not last:
        raise ValueError(f"{page} needs the lines {begin} and {end}")
    page.write_text(f"{head}{begin}\n{body.rstrip()}\n{end}{tail}", encoding="utf-8")
