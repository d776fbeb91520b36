"""The columns of the files, derived from the records: a number that joins a record joins the file.

A row is flat: one per (subject, minute, window), or per text of its evidence. Lists have no place
in a row; their names are kept, so that a test can say which are left out.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from streams.core.records import Evidence, Window, WindowValues
from streams.core.windows import WINDOWS

MINUTE_MS: Final = 60_000


class Kind(StrEnum):
    """What the cells of a column hold; any may be empty."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    TIME = "time"
    """milliseconds since the epoch, UTC"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and where its value lies in the record."""

    name: str
    kind: Kind
    path: tuple[str | int, ...]

    def read(self, values: Any) -> Any:
        """Return the cell: None where the record has no such field, as older ones may not.

        Raises:
            ValueError: the field holds something else.
        """
        value = values
        for step in self.path:
            if value is None:
                return None
            if isinstance(step, str):
                if not isinstance(value, Mapping):
                    raise ValueError(f"{self.name}: no object")
                value = value.get(step)
            else:
                value = value[step] if isinstance(value, list) and step < len(value) else None
        if value is None:
            return None
        if self.kind is Kind.NUMBER and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is not _HELD[self.kind]:
            raise ValueError(f"{self.name}: not {self.kind.value}")
        return value


def _cells(columns: Iterable[Column], values: Any) -> list[Any]:
    """Return the cells of a row; the usual case, a field of the record itself, at once."""
    if not isinstance(values, Mapping):
        raise ValueError("no object")
    found: list[Any] = []
    for column in columns:
        value = values.get(column.path[0])
        usual = value is None or (type(value) is _HELD[column.kind] and len(column.path) == 1)
        found.append(value if usual else column.read(values))
    return found


_HELD: Final = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.NUMBER: float,
    Kind.FLAG: bool,
    Kind.TIME: int,
}
_TIMES: Final = {"event_time", "watermark", "closed_at"}


def columns_of(
    model: type[BaseModel], without: Collection[str] = ()
) -> tuple[list[Column], list[str]]:
    """Return the columns of a record, and the names of its lists, in order.

    Args:
        model: The record.
        without: Fields that get no column.

    Raises:
        TypeError: a field is of a type that has no place in a row.
    """
    found: list[Column] = []
    lists: list[str] = []
    for name, field in model.model_fields.items():
        if name not in without:
            _add(name, (name,), field.annotation, found, lists)
    return found, lists


def _add(
    name: str, path: tuple[str | int, ...], annotation: Any, found: list[Column], lists: list[str]
) -> None:
    if get_origin(annotation) in (Union, UnionType):
        kinds = [each for each in get_args(annotation) if each is not NoneType]
        annotation = kinds[0] if len(kinds) == 1 else annotation
    if get_origin(annotation) is Literal:
        annotation = str
    if get_origin(annotation) in (list, tuple):
        lists.append(name)
    elif _is_record(annotation):
        for part, field in annotation.model_fields.items():
            _add(f"{name}_{part}", (*path, part), field.annotation, found, lists)
    elif isinstance(annotation, type) and hasattr(annotation, "_fields"):
        for at, (part, inner) in enumerate(get_type_hints(annotation).items()):
            _add(f"{name}_{part}", (*path, at), inner, found, lists)
    else:
        found.append(Column(name, _kind(name, annotation), path))


def _is_record(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _kind(name: str, annotation: Any) -> Kind:
    if isinstance(annotation, type):
        if annotation is int and name in _TIMES:
            return Kind.TIME
        for kind, held in _HELD.items():
            if annotation is held or (held is str and issubclass(annotation, str)):
                return kind
    raise TypeError(f"{name}: {annotation} has no place in a row")


_HEAD: Final = (
    Column("subject", Kind.TEXT, ("subject",)),
    Column("minute", Kind.INTEGER, ("minute",)),
    Column("end", Kind.TIME, ()),
    Column("window", Kind.TEXT, ()),
    Column("revision", Kind.INTEGER, ("revision",)),
)
_VALUES, _LISTS = columns_of(WindowValues)
_TAIL, _MORE_LISTS = columns_of(Window, {"windows", *(column.name for column in _HEAD)})
_EVIDENCE, _ = columns_of(Evidence)

LEFT_OUT: Final = (*_LISTS, *_MORE_LISTS)
"""Fields that have no place in a row of the windows' file: lists."""

ROW: Final = (*_HEAD, *_VALUES, *_TAIL)
"""Columns of the windows' file."""

EVIDENCE_ROW: Final = (
    *_HEAD,
    Column("rank", Kind.INTEGER, ()),
    Column("contribution", Kind.INTEGER, ()),
    *_EVIDENCE,
)
"""Columns of the evidence's file; rank 1 is the strongest text, and `contribution` what it adds to
the move of the index, in 10⁻⁶."""


def rows(record: Mapping[str, Any], windows: Iterable[str] = WINDOWS) -> Iterator[list[Any]]:
    """Yield a row for each of these windows that the record has, the shortest first.

    Args:
        record: A record of windows.v1.
        windows: Their names.

    Raises:
        ValueError: the record is not what windows.v1 promises.
    """
    tail = _cells(_TAIL, record)
    for head, values in _parts(record, windows):
        yield [*head, *_cells(_VALUES, values), *tail]


def evidence_rows(
    record: Mapping[str, Any], windows: Iterable[str] = WINDOWS
) -> Iterator[list[Any]]:
    """Yield a row for each text of the evidence of these windows, the strongest first.

    Raises:
        ValueError: the record is not what windows.v1 promises.
    """
    for head, values in _parts(record, windows):
        texts = values.get("evidence") or ()
        moves = (values.get("move") or {}).get("contributions") or ()
        for rank, (text, added) in enumerate(zip_longest(texts, moves[: len(texts)]), 1):
            if added is not None and type(added) is not int:
                raise ValueError("contributions: not integer")
            yield [*head, rank, added, *_cells(_EVIDENCE, text)]


def _parts(
    record: Mapping[str, Any], windows: Iterable[str]
) -> Iterator[tuple[list[Any], Mapping[str, Any]]]:
    wanted = set(windows)
    subject, minute, revision = (_HEAD[at].read(record) for at in (0, 1, 4))
    published = record.get("windows")
    if None in (subject, minute, revision) or not isinstance(published, Mapping):
        raise ValueError("no subject, minute, revision or windows")
    for name in WINDOWS:
        if name in wanted and name in published:
            yield [subject, minute, (minute + 1) * MINUTE_MS, name, revision], published[name]
