"""Tables as files, written whole or not at all."""

import csv
import importlib
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

from streams.core.errors import ConfigurationError
from streams.export.columns import Column, Kind

CSV: Final = ".csv"
PARQUET: Final = ".parquet"
ROWS_IN_GROUP: Final = 20_000
"""Rows of a Parquet row group, which are in memory at once."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def check_target(path: Path) -> None:
    """Find out before a long read whether a table can be written there.

    Raises:
        ConfigurationError: it can't, and why.
    """
    if path.suffix not in (CSV, PARQUET):
        raise ConfigurationError(f"{path}: end the name in {CSV} or {PARQUET}")
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is no folder {path.parent}, or this is one")
    if path.suffix == PARQUET:
        _pyarrow()


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder in this one; files in it appear under their names at the end.

    What is there under the same name is replaced. Names that begin with a dot stay behind and are
    deleted. After an error nothing appears.

    Raises:
        ConfigurationError: the folder can't be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
            hidden = Path(name)
            yield hidden
            for file in sorted(hidden.iterdir()):
                if not file.name.startswith("."):
                    file.replace(folder / file.name)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"writing in {folder} failed: {error}") from error


def write_table(path: Path, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows as CSV or Parquet, by the suffix; return how many.

    The same rows give the same bytes. CSV: UTF-8 with a header, times in ISO 8601, nothing between
    the commas where there is no value. Parquet: times are timestamps in UTC.
    """
    writer = _write_csv if path.suffix == CSV else _write_parquet
    return writer(path, columns, iter(rows))


def _write_csv(path: Path, columns: Sequence[Column], rows: Iterator[Sequence[Any]]) -> int:
    times = [at for at, column in enumerate(columns) if column.kind is Kind.TIME]
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.name for column in columns])
        for row in rows:
            cells = list(row)
            for at in times:
                cells[at] = None if row[at] is None else _iso(row[at])
            writer.writerow(cells)
            count += 1
    return count


def _iso(milliseconds: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_parquet(path: Path, columns: Sequence[Column], rows: Iterator[Sequence[Any]]) -> int:
    arrow = _pyarrow()
    parquet = importlib.import_module("pyarrow.parquet")
    types = {
        Kind.TEXT: arrow.string(),
        Kind.INTEGER: arrow.int64(),
        Kind.NUMBER: arrow.float64(),
        Kind.FLAG: arrow.bool_(),
        Kind.TIME: arrow.timestamp("ms", "UTC"),
    }
    schema = arrow.schema([(column.name, types[column.kind]) for column in columns])
    count = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROWS_IN_GROUP)):
            cells = zip(*group, strict=True)
            arrays = [arrow.array(c, f.type) for c, f in zip(cells, schema, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(group)
    return count


def _pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ConfigurationError(
            f"Parquet needs pyarrow ({error}): pip install 'tickertone[parquet]', or end the name "
            f"in {CSV}"
        ) from error
