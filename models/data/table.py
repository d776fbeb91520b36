"""The table that training and evaluation read: one row per (text, entity) and label.

A prepared folder holds `table.jsonl.gz` (the rows, in the order of their ids) and `manifest.json`
(where they come from, how many there are, what was dropped, and the table's checksum).
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from streams.core.errors import ConfigurationError
from streams.core.text import with_roles

TABLE: Final = "table.jsonl.gz"
MANIFEST: Final = "manifest.json"
VERSION: Final = 1
"""Version of the table's and the manifest's fields."""

Channel = Literal["news", "social"]
Task = Literal["sentiment", "topic"]
Split = Literal["train", "valid", "test"]
Span = tuple[int, int]
"""[start, end) in characters of the normalised text."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One labelled example.

    `target` is empty exactly where `entity` is None: such a label is about the text as a whole.
    """

    id: str
    """hash of source, document and entity: the same on every machine"""
    source: str
    """name of the set, as in `models.data.sets`"""
    licence: str
    permissive: bool
    """whether the licence allows the row to train weights that are given away"""
    channel: Channel
    lang: str
    task: Task
    text: str
    """normalised by `streams.core.text.normalise`; no role tokens"""
    entity: str | None
    target: tuple[Span, ...]
    """mentions of the entity that the label is about"""
    others: tuple[Span, ...]
    """mentions of other entities, apart from the target's"""
    label: str
    """one of `streams.core.labels.SENTIMENTS` or `TOPICS`, as `task` says"""
    doc: str
    """document within the set: rows of one document share a text"""
    group: str
    """near-duplicates of a task share it, across sets; a group stands in one split"""
    split: Split
    agreement: str | None = None
    """how far the annotators agreed, where the set says"""

    def model_text(self) -> str:
        """Return the text as the model sees it: with role tokens where there is a target."""
        return with_roles(self.text, self.target, self.others)

    def to_json(self) -> str:
        """Return the row as one line of JSON, without the line's end."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> "TableRow":
        """Read what `to_json` wrote."""
        fields = json.loads(line)
        for name in ("target", "others"):
            fields[name] = tuple((start, end) for start, end in fields[name])
        return cls(**fields)


def row_id(source: str, doc: str, entity: str | None) -> str:
    """Return the id of a row: 16 hexadecimal digits of the hash of what makes it unique."""
    key = json.dumps([source, doc, entity], ensure_ascii=False)
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def write_table(folder: Path, rows: Iterable[TableRow]) -> str:
    """Write the table and return its SHA-256. The same rows and zlib give the same bytes."""
    path = folder / TABLE
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        for row in rows:
            packed.write(row.to_json().encode() + b"\n")
    return checksum(path)


def read_table(folder: Path, *, verify: bool = True) -> Iterator[TableRow]:
    """Yield the rows of a prepared folder, in the order of their ids.

    Args:
        folder: What `tickertone data prepare --out` wrote.
        verify: Compare the table's checksum with the manifest's first.

    Raises:
        ConfigurationError: no table there, or one that is not the manifest's.
    """
    manifest = read_manifest(folder)
    path = folder / TABLE
    if not path.is_file():
        raise ConfigurationError(f"no {TABLE} in {folder}: run `tickertone data prepare` again")
    if verify and checksum(path) != manifest["table_sha256"]:
        raise ConfigurationError(
            f"{path} is not the table of its manifest: run `tickertone data prepare` again"
        )
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(TableRow.from_json, lines)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return `manifest.json` of a prepared folder.

    Raises:
        ConfigurationError: there is none, or it is of another version.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"no {MANIFEST} in {folder}: make it with `tickertone data prepare --out {folder}`"
        ) from None
    if manifest["version"] != VERSION:
        raise ConfigurationError(
            f"{folder} is of version {manifest['version']}, this code reads {VERSION}: run "
            "`tickertone data prepare` again"
        )
    return manifest


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
