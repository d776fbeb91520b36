"""Dictionaries of companies: CSV files `symbol,name,aliases`, read row by row.

A dictionary says what a company is called. What makes an ambiguous name count stands in
`entity_context`.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from streams.core.entity_codes import SYMBOL, canonical
from streams.core.errors import ConfigurationError

BLOCKED: Final = "-"
"""Symbol of the dictionary rows whose names look like a company's and are not ("Amazon River")."""

_COLUMNS = ["symbol", "name", "aliases"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a row says: a name, or another symbol, of a company."""

    symbol: str
    alias: str
    """a name, or a symbol with `$` before it"""
    doubtful: bool
    """whether the name counts only where its surroundings confirm it"""
    exact: bool
    """whether the name counts only as it is written here"""
    place: str
    """file and line, for messages"""


def read_dictionary(source: Path | str | TextIO) -> Iterator[Entry]:
    """Yield what a dictionary says; the first entry of a row is the symbol itself.

    A row is `symbol,name,aliases`, aliases separated by `|`. The name is an alias too, unless the
    aliases begin with `!` (for names such as "Apple" that are also plain words). `?Target` is a
    name that counts only where its surroundings confirm it, `=Best Buy` one that counts only as it
    is written, as the former do. `$FB` stands for another symbol of
    the company. The symbol `-` blocks its names.

    Raises:
        ConfigurationError: an unreadable file or a faulty row, with the line.
    """
    if not isinstance(source, Path | str):
        yield from _rows(source)
        return
    try:
        with Path(source).open(encoding="utf-8", newline="") as opened:
            yield from _rows(opened)
    except OSError as error:
        raise ConfigurationError(f"no dictionary: {error}") from error


def _rows(source: TextIO) -> Iterator[Entry]:
    name = str(getattr(source, "name", "dictionary"))
    rows = csv.reader(source)
    try:
        if next(rows, None) != _COLUMNS:
            raise ConfigurationError(f"{name}, line 1: the header must be {','.join(_COLUMNS)}")
        for row in rows:
            yield from _entries(f"{name}, line {rows.line_num}", row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}: {error}") from error


def _entries(place: str, row: list[str]) -> Iterable[Entry]:
    if not row:
        return
    if len(row) != len(_COLUMNS):
        raise ConfigurationError(f"{place}: {len(row)} columns instead of {len(_COLUMNS)}")
    symbol, name, listed = (cell.strip() for cell in row)
    if symbol != BLOCKED:
        if not is_symbol(symbol):
            raise ConfigurationError(f"{place}: {symbol!r} is no symbol (such as AAPL or BRK.B)")
        yield Entry(symbol, f"${symbol}", False, True, place)
    if not name:
        raise ConfigurationError(f"{place}: the name is missing")
    without_name = listed.startswith("!")
    listed = listed.removeprefix("!")
    aliases = [alias.strip() for alias in listed.split("|")] if listed else []
    if not without_name:
        aliases.insert(0, name)
    for written in aliases:
        doubtful = written.startswith("?")
        exact = doubtful or written.startswith("=")
        alias = written[1:].strip() if exact else written
        if alias.startswith("$"):
            usable = is_symbol(canonical(alias[1:])) and not exact
        else:
            usable = any(map(str.isalnum, alias)) and not (doubtful and symbol == BLOCKED)
        if not usable or not alias.isprintable():
            raise ConfigurationError(f"{place}: {written!r} can't be an alias")
        yield Entry(symbol, alias, doubtful, exact, place)


def is_symbol(text: str) -> bool:
    """Return whether a text is a symbol as we write it."""
    return bool(SYMBOL.fullmatch(text)) and canonical(text) == text
