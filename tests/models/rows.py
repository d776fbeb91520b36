"""A made-up row of the table, for tests that need some."""

from dataclasses import replace
from typing import Any

from models.data.table import TableRow, row_id


def made_row(text: str, *, doc: str | None = None, **fields: Any) -> TableRow:
    """Return a neutral training row about no company, but for the fields given."""
    named = doc or text
    usual = TableRow(
        id=row_id(fields.get("source", "s"), named, fields.get("entity")),
        source="s",
        licence="MIT",
        permissive=True,
        channel="news",
        lang="en",
        task="sentiment",
        text=text,
        entity=None,
        target=(),
        others=(),
        label="neutral",
        doc=named,
        group=named,
        split="train",
    )
    return replace(usual, **fields)
