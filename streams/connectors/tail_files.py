"""Files that grow, and what logrotate and others do to them. Blocking: call it in a thread.

A file is known by device and inode, so a renamed file stays the same one, and by a hash of its
beginning, so a truncated file and a reused inode do not. Files are held open while they are read:
one that is renamed or deleted is still read to its end.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

MAX_LINE_BYTES: Final = 900_000
"""A longer line is skipped: with what is added to it no record of Kafka would hold it."""

CHUNK_BYTES: Final = 256 << 10
HEAD_BYTES: Final = 1024
MOST_OPEN: Final = 64
PACKED: Final = (".gz", ".bz2", ".xz", ".zst")
"""Files of a folder with these endings are left alone; `tickertone replay` reads gzip."""


class Place(BaseModel):
    """How far a file has been read."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    path: str
    """where it was last seen"""
    offset: int = 0
    """first byte not read yet; behind a line feed, but for a line being skipped"""
    head: str = ""
    """hash of the first bytes before the offset, at most `HEAD_BYTES`"""
    skipping: bool = False
    """inside a line that is too long, or that was cut by `start: end`"""
    born: int = 0
    """when this file, or what stands in it since it was truncated, was first seen: milliseconds"""


class Lines(NamedTuple):
    """What a read brought."""

    lines: list[tuple[int, bytes]]
    """(offset, line without its end)"""
    place: Place
    """behind them"""
    too_long: int
    """lines that were skipped"""
    at_end: bool
    """nothing whole is left"""


@dataclass(slots=True)
class _Open:
    file: FileIO
    used: int


class Files:
    """The files of one connector. Not thread-safe."""

    def __init__(self, path: Path, pattern: str) -> None:
        self._path = path
        self._pattern = pattern
        self._open: dict[str, _Open] = {}
        self._uses = 0

    def found(self) -> dict[str, tuple[Path, os.stat_result]]:
        """Return the files that match by key, oldest change first."""
        inside = self._path.is_dir()
        paths = sorted(self._path.glob(self._pattern)) if inside else [self._path]
        if inside:  # a hidden file is one that is still being put there
            paths = [p for p in paths if p.suffix not in PACKED and not p.name.startswith(".")]
        there = [(path, status) for path in paths if (status := _status(path)) is not None]
        there.sort(key=lambda each: each[1].st_mtime_ns)
        return {_key(status): (path, status) for path, status in there}

    def elsewhere(self, key: str, place: Place) -> Path | None:
        """Return where a file that no longer matches lies now, if it was renamed in its folder."""
        folder = Path(place.path).parent
        try:
            siblings = sorted(folder.iterdir())
        except OSError:
            return None
        for path in siblings:
            status = _status(path)
            with contextlib.suppress(OSError):
                if status is not None and _key(status) == key and self.same(path, place):
                    return path
        return None

    def same(self, path: Path, place: Place) -> bool:
        """Return whether a file still begins with what was read of it.

        Raises:
            OSError: it can't be read.
        """
        length = min(place.offset, HEAD_BYTES)
        with path.open("rb") as file:
            head = file.read(length)
        return len(head) == length and _hash(head) == place.head

    def holds(self, key: str) -> bool:
        """Return whether a file is open, so that it can be read wherever it went."""
        return key in self._open

    def read(self, key: str, place: Place, *, final: bool = False) -> Lines:
        """Return the next whole lines of a file.

        Args:
            key: The file's.
            place: Where to go on.
            final: Nobody writes to it any more: a last line without an end is whole.

        Raises:
            OSError: it can't be read, or another file lies at its path now.
        """
        file = self._file(key, place.path)
        file.seek(place.offset)
        data = file.read(CHUNK_BYTES)
        at_end = len(data) < CHUNK_BYTES
        if b"\n" not in data and not at_end and not place.skipping:
            data += file.read(MAX_LINE_BYTES + 1 - len(data))
            at_end = len(data) <= MAX_LINE_BYTES
        if final and at_end and data and not data.endswith(b"\n"):
            data += b"\n"
        lines, used, skipping, too_long = _split(data, place)
        offset = min(place.offset + used, os.fstat(file.fileno()).st_size)
        head = place.head
        if min(place.offset, HEAD_BYTES) != min(offset, HEAD_BYTES):
            file.seek(0)
            head = _hash(file.read(min(offset, HEAD_BYTES)))
        after = place.model_copy(update={"offset": offset, "head": head, "skipping": skipping})
        return Lines(lines, after, too_long, at_end)

    def end_of(self, path: Path, born: int) -> Place:
        """Return the place behind everything that a file holds now.

        Raises:
            OSError: it can't be read.
        """
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            inside = file.read(1) not in (b"\n", b"")
            file.seek(0)
            head = _hash(file.read(min(size, HEAD_BYTES)))
        return Place(path=str(path), offset=size, head=head, skipping=inside, born=born)

    def forget(self, keys: Iterable[str]) -> None:
        """Close files."""
        for key in list(keys):
            held = self._open.pop(key, None)
            if held is not None:
                held.file.close()

    def close(self) -> None:
        """Close all."""
        self.forget(list(self._open))

    def _file(self, key: str, path: str) -> FileIO:
        self._uses += 1
        held = self._open.get(key)
        if held is None:
            file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - held until it is forgotten
            if _key(os.fstat(file.fileno())) != key:
                file.close()
                raise FileNotFoundError(f"another file lies at {path} now")
            held = self._open[key] = _Open(file, self._uses)
            while len(self._open) > MOST_OPEN:
                self.forget([min(self._open, key=lambda each: self._open[each].used)])
        held.used = self._uses
        return held.file


def _split(data: bytes, place: Place) -> tuple[list[tuple[int, bytes]], int, bool, int]:
    """Return (offset, line) of the whole lines, bytes used, whether a line is being skipped, and
    how many were too long.
    """
    lines: list[tuple[int, bytes]] = []
    at, skipping, too_long = 0, place.skipping, 0
    for end in _line_ends(data):
        line = data[at:end]
        if len(line) > MAX_LINE_BYTES:
            too_long += 1
        elif not skipping and line.strip():
            lines.append((place.offset + at, line.removesuffix(b"\r")))
        skipping = False
        at = end + 1
    if skipping or len(data) - at > MAX_LINE_BYTES:
        too_long += not skipping
        return lines, len(data), True, too_long
    return lines, at, False, too_long


def _line_ends(data: bytes) -> Iterator[int]:
    end = data.find(b"\n")
    while end >= 0:
        yield end
        end = data.find(b"\n", end + 1)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat() if path.is_file() else None
    except OSError:
        return None


def _key(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest() if data else ""
