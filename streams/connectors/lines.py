"""Reading JSON Lines, gzipped or not, from files or standard input, without ever holding a file.

A line is parsed only for what routing and pacing need; its bytes go on as they are.
"""

import asyncio
import contextlib
import gzip
import os
import stat
import sys
import zlib
from collections import deque
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import Final, NamedTuple, cast

import orjson

from streams.core.errors import ConfigurationError
from streams.core.ids import make_id
from streams.core.records import parse_time

MAX_LINE_BYTES: Final = 8 << 20
"""A line longer than this is no text; reading stops there instead of filling the memory."""

EARLIEST_MS: Final = 631_152_000_000  # 1990-01-01
FUTURE_MS: Final = 300_000

_CHUNK_BYTES = 256 << 10
_GZIP_MAGIC = b"\x1f\x8b"


class Line(NamedTuple):
    """A line on its way to Kafka."""

    value: bytes
    """as it stands in the file, without the line feed"""
    source: str
    """news or social; social for lines that don't say"""
    key: bytes
    """the sender's id, else a hash of the line, so that the partitioner spreads both"""
    event_time: int | None
    """milliseconds since the epoch; None where the line is no text record or its time absurd"""
    number: int
    """in its file, from 1"""


def parse(value: bytes, number: int, now_ms: int) -> Line:
    """Return what routing and pacing need to know about a line. Total: any bytes will do."""
    source, own_id, event_time = "social", None, None
    try:
        record = orjson.loads(value)
        if isinstance(record, dict):
            if record.get("source") == "news":
                source = "news"
            own_id = record.get("id")
            observed = record.get("observed_at")
            event_time = parse_time(record.get("published_at") if observed is None else observed)
            if not isinstance(record.get("text"), str):
                event_time = None
    except (ValueError, OverflowError):
        event_time = None
    if event_time is not None and not EARLIEST_MS <= event_time <= now_ms + FUTURE_MS:
        event_time = None
    if isinstance(own_id, str) and 0 < len(own_id) <= 512:
        key = own_id.encode()  # what orjson has read has no lone surrogates
    else:
        key = make_id("line", value.decode("utf-8", "replace")).encode()
    return Line(value, source, key, event_time, number)


class LineReader:
    """The lines of one file, a chunk at a time. Not thread-safe."""

    def __init__(self, name: str) -> None:
        """Open the file; `-` is standard input.

        Raises:
            ConfigurationError: there is no such file, or it can't be read.
        """
        self.name = "standard input" if name == "-" else name
        self._closing = contextlib.ExitStack()
        try:
            if name == "-":
                raw = cast(BufferedReader, sys.stdin.buffer)
            else:
                raw = Path(name).open("rb")  # noqa: SIM115 - closed by close()
                self._closing.callback(raw.close)
            status = os.fstat(raw.fileno())
            self.live = not stat.S_ISREG(status.st_mode)
            self.total_bytes = None if self.live else status.st_size
            self._raw = raw
            self._file: BufferedReader | gzip.GzipFile = raw
            if raw.peek(2)[:2] == _GZIP_MAGIC:
                self._file = self._closing.enter_context(gzip.GzipFile(fileobj=raw))
        except OSError as error:
            self.close()
            raise ConfigurationError(f"can't read {self.name}: {error.strerror}") from error
        self.lines: deque[Line] = deque()
        self.blank = 0
        self.time = 0
        """event time of the next line, or of the last that had one; orders several files"""
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._number = 0

    @property
    def read_bytes(self) -> int:
        """How far into the file reading is, in bytes of the file itself; 0 for pipes."""
        return 0 if self.live else self._raw.tell()

    async def fill(self, now_ms: int) -> bool:
        """Read until there is a line; return False at the end of the file.

        Raises:
            ConfigurationError: the file is damaged or has an endless line.
        """
        while not self.lines:
            try:
                chunk = await asyncio.to_thread(self._file.read1, _CHUNK_BYTES)
            except (OSError, EOFError, zlib.error) as error:
                raise ConfigurationError(
                    f"{self.name} is damaged after line {self._number}: {error}"
                ) from error
            pieces = chunk.split(b"\n") if chunk else [b"", b""]
            if len(pieces) > 1:
                pieces[0] = b"".join([*self._rest, pieces[0]])
                self._rest, self._rest_bytes = [], 0
                self._take(pieces[:-1], now_ms, at_end=not chunk)
            if not chunk:
                return bool(self.lines)
            self._rest.append(pieces[-1])
            self._rest_bytes += len(pieces[-1])
            if self._rest_bytes > MAX_LINE_BYTES:
                raise ConfigurationError(
                    f"{self.name}, line {self._number + 1}: longer than {MAX_LINE_BYTES} bytes"
                )
        return True

    def peek_time(self) -> int:
        """Return the event time that orders the next line; there must be one."""
        found = self.lines[0].event_time
        if found is not None:
            self.time = found
        return self.time

    def close(self) -> None:
        """Close the file."""
        self._closing.close()

    def _take(self, pieces: Sequence[bytes], now_ms: int, *, at_end: bool) -> None:
        for piece in pieces:
            if not (at_end and not piece):
                self._number += 1
            if piece.strip():
                self.lines.append(parse(piece, self._number, now_ms))
            elif piece or not at_end:
                self.blank += 1
