"""Following files: what is written to them becomes texts, once, across rotation and restarts."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from streams.connectors.config import FileSpec
from streams.connectors.lines import parse
from streams.connectors.port import Batch
from streams.connectors.tail_files import Files, Lines, Place
from streams.connectors.texts import Item, record, topic_of
from streams.core.errors import ConfigurationError, SourceUnavailable
from streams.core.ids import make_id
from streams.ports import Outgoing

log = structlog.get_logger()

MOST_FILES: Final = 2_000
"""More would make the position larger than a record may be."""


class FilePosition(BaseModel):
    """Where a file connector goes on: a place per file, by device and inode."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["file"] = "file"
    files: dict[str, Place] = {}


class FileConnector:
    """One file, or the files of a folder."""

    def __init__(self, spec: FileSpec, now_ms: Callable[[], int]) -> None:
        self._spec = spec
        self._label = spec.label(spec.source or "social")
        self._now_ms = now_ms

    async def batches(self, position: bytes | None) -> AsyncGenerator[Batch]:
        """Yield what was written, some 256 kB at a time; see `Connector`.

        New files stand in a position before their first text is read: what makes the ids of plain
        lines is known before they are sent.
        """
        files = Files(self._spec.path, self._spec.pattern)
        places = self._read(position)
        to_end = position is None and self._spec.start == "end"
        looks = _Looks(self._spec, files, self._now_ms, to_end=to_end)
        try:
            while True:
                news = await asyncio.to_thread(looks.look, places)
                if news:
                    yield Batch((), _bytes(places))
                quiet = True
                for key in list(places):
                    async for batch in self._read_file(key, places, files, looks):
                        quiet = False
                        yield batch
                if looks.drop_finished(places):
                    yield Batch((), _bytes(places))
                if quiet:
                    await asyncio.sleep(self._spec.every_s)
        finally:
            files.close()

    async def _read_file(
        self, key: str, places: dict[str, Place], files: Files, looks: "_Looks"
    ) -> AsyncGenerator[Batch]:
        at_end, final = looks.unchanged(key), False
        while not at_end:
            final = looks.is_over(key)
            try:
                read: Lines = await asyncio.to_thread(files.read, key, places[key], final=final)
            except FileNotFoundError:
                if final:
                    looks.finish(key)
                return  # it went since the look; the next one finds where to
            except OSError as error:
                path = places[key].path
                if not self._spec.path.is_dir():
                    raise SourceUnavailable(f"can't read {path}: {error.strerror}") from None
                if looks.unreadable(key):  # the others of the folder go on
                    log.warning("file_unreadable", file=path, why=error.strerror)
                return
            at_end = read.at_end
            if read.too_long:
                log.warning("line_too_long", file=places[key].path, lines=read.too_long)
            moved = read.place != places[key]
            places[key] = read.place
            if moved:
                if not final:
                    looks.grew(key)
                live = key in looks.live
                texts = tuple(
                    self._text(offset, line, read.place, live) for offset, line in read.lines
                )
                yield Batch(texts, _bytes(places), read.too_long)
        looks.was_read(key)
        if final:
            looks.finish(key)

    def _text(self, offset: int, line: bytes, place: Place, live: bool) -> Outgoing:
        now = self._now_ms()
        if self._spec.format == "jsonl":
            return self._from_json(line, now, live)
        text = line.decode(self._spec.encoding, "replace")
        own_id = make_id("line", str(place.born), str(offset), text)
        made = record(Item(own_id, text), self._label, now, live=True)
        # A line of control characters only is no text, but it is for score to say so.
        return made or Outgoing(topic_of(self._label.source), own_id.encode(), line)

    def _from_json(self, line: bytes, now: int, live: bool) -> Outgoing:
        """Return the line with what it lacks filled in; what is no text record goes as it is, and
        score says what is wrong with it.
        """
        known = parse(line, 0, now)
        source = self._spec.source or known.source
        value = line
        if known.event_time is not None:
            fields: dict[str, Any] = orjson.loads(line)
            fields.setdefault("channel", self._label.channel)
            if self._spec.source:
                fields["source"] = source
            if live:
                fields.setdefault("observed_at", now)
            if self._spec.lang:
                fields.setdefault("lang", self._spec.lang)
            value = orjson.dumps(fields)
        return Outgoing(topic_of(source), known.key, value)

    def _read(self, position: bytes | None) -> dict[str, Place]:
        if position is None:
            return {}
        try:
            return dict(FilePosition.model_validate_json(position).files)
        except ValidationError:
            raise ConfigurationError(
                f"the position of {self._spec.name} is not of kind file: "
                "give the connector another name"
            ) from None


class _Looks:
    """What repeated looks at the folder tell about the files."""

    def __init__(
        self, spec: FileSpec, files: Files, now_ms: Callable[[], int], *, to_end: bool
    ) -> None:
        self._spec = spec
        self._files = files
        self._now_ms = now_ms
        self._to_end = to_end
        self._begun = False
        self._seen: dict[str, tuple[int, int]] = {}
        self._read: dict[str, tuple[int, int]] = {}
        self._gone: dict[str, float] = {}
        self._unreadable: set[str] = set()
        self._finished: set[str] = set()
        self.live: set[str] = set()
        """files whose next lines are written while we watch"""

    def look(self, places: dict[str, Place]) -> bool:
        """Bring the places up to what lies there; return whether any changed."""
        found = self._files.found()
        if len(found) > MOST_FILES:
            raise SourceUnavailable(
                f"{self._spec.path} holds {len(found)} files that match {self._spec.pattern}; "
                f"at most {MOST_FILES} can be followed, so give a narrower pattern"
            )
        before = dict(places)
        for key, (path, status) in found.items():
            self._gone.pop(key, None)
            stamp = (status.st_size, status.st_mtime_ns)
            known = places.get(key)
            if known is None:
                places[key] = self._enter(key, path)
            elif self._seen.get(key) != stamp:
                places[key] = self._follow(key, path, status.st_size, known)
            self._seen[key] = stamp
        for key in places.keys() - found.keys():
            self._missing(key, places)
        self._begun, self._to_end = True, False
        return places != before

    def unchanged(self, key: str) -> bool:
        """Return whether a file is as it was when its end was reached."""
        return key not in self._gone and self._read.get(key) == self._seen.get(key, (0, 0))

    def is_over(self, key: str) -> bool:
        """Return whether nobody is expected to write to a file any more."""
        return key in self._gone and time.monotonic() >= self._gone[key]

    def grew(self, key: str) -> None:
        """Note that a file was written to: one that is gone is waited for anew."""
        if key in self._gone:
            self._gone[key] = time.monotonic() + self._spec.linger_s

    def finish(self, key: str) -> None:
        """Note that the last that a file held was read: from now on it can be forgotten."""
        self._finished.add(key)

    def unreadable(self, key: str) -> bool:
        """Note that a file can't be read; return whether that is news."""
        if key in self._unreadable:
            return False
        self._unreadable.add(key)
        return True

    def was_read(self, key: str) -> None:
        """Note that the end of a file was reached."""
        self._unreadable.discard(key)
        self.live.add(key)
        self._read[key] = self._seen.get(key, (0, 0))

    def drop_finished(self, places: dict[str, Place]) -> bool:
        """Forget the files that were finished; return whether there were any."""
        over, self._finished = self._finished, set()
        for key in over:
            self._gone.pop(key, None)
            places.pop(key, None)
            self._seen.pop(key, None)
            self._read.pop(key, None)
            self.live.discard(key)
            self._unreadable.discard(key)
        self._files.forget(over)
        return bool(over)

    def _enter(self, key: str, path: Path) -> Place:
        if self._begun:
            self.live.add(key)
        if self._to_end:
            try:
                return self._files.end_of(path, self._now_ms())
            except OSError as error:
                raise SourceUnavailable(f"can't read {path}: {error.strerror}") from None
        return Place(path=str(path), born=self._now_ms())

    def _follow(self, key: str, path: Path, size: int, known: Place) -> Place:
        try:
            anew = size < known.offset or not self._files.same(path, known)
        except OSError:
            anew = False  # reading it will say why
        if anew:
            log.warning("file_begins_anew", file=str(path), read=known.offset, size=size)
            self._files.forget([key])
            self._read.pop(key, None)
            return Place(path=str(path), born=self._now_ms())
        return known.model_copy(update={"path": str(path)})

    def _missing(self, key: str, places: dict[str, Place]) -> None:
        """A file is no longer where it was: renamed, deleted, or both since the last run."""
        if key in self._gone:
            return
        place = places[key]
        if not self._files.holds(key):
            now_at = self._files.elsewhere(key, place)
            if now_at is None:
                log.warning("file_is_gone", file=place.path, read=place.offset)
                del places[key]
                return
            places[key] = place.model_copy(update={"path": str(now_at)})
        self._gone[key] = time.monotonic() + self._spec.linger_s


def _bytes(places: dict[str, Place]) -> bytes:
    return FilePosition(files=places).model_dump_json(exclude_defaults=True).encode()
