"""Feeds and APIs: asked again and again, and only what is new is sent.

What was sent is remembered by digests of the items' ids, newest last. As many are kept as a feed
that takes items back and shows them again may need.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.connectors.answers import Answer, Ask
from streams.connectors.config import HttpSpec, RssSpec
from streams.connectors.fetch import Fetcher
from streams.connectors.mapping import Cursor, read_json
from streams.connectors.markup import Reading, read_feed
from streams.connectors.port import Batch
from streams.connectors.secret import reveal_all
from streams.connectors.texts import Item, digest, record
from streams.core.errors import ConfigurationError, SourceUnavailable
from streams.core.ids import make_id
from streams.ports import Outgoing

LEAST_REMEMBERED: Final = 2_000
MOST_REMEMBERED: Final = 20_000

_BATCH: Final = 500
_JITTER: Final = 0.05
_GAP_MS: Final = 600_000


class PollPosition(BaseModel):
    """Where a polling connector goes on."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    kind: Literal["rss", "http"]
    url: str = ""
    """digest of what is asked: validators of another address mean nothing"""
    etag: str | None = None
    modified: str | None = None
    cursor: Annotated[Cursor | None, Field(union_mode="left_to_right")] = None
    seen: tuple[str, ...] = ()
    """digests of what was sent, newest last"""
    checked_at: int = 0
    """when the last answer came, milliseconds since the epoch"""
    catching: Literal["", "first", "gap"] = ""
    """what is being read came while nobody watched: before the first start, or in a long gap"""


class PollConnector:
    """One feed or one API."""

    def __init__(
        self,
        spec: RssSpec | HttpSpec,
        fetcher: Fetcher,
        now_ms: Callable[[], int],
        chance: random.Random,
    ) -> None:
        self._spec = spec
        self._label = spec.label("news")
        self._fetcher = fetcher
        self._now_ms = now_ms
        self._chance = chance
        self._address = make_id(spec.url, *map(repr, sorted(spec.params.items())))[:16]

    async def batches(self, position: bytes | None) -> AsyncGenerator[Batch]:
        """Yield what is new, a batch or more per request that brought something; see `Connector`.

        A request that brought nothing yields an empty batch, so that a restart knows of it.
        """
        at = self._read(position)
        pause = not at.catching
        while True:
            if pause and at.checked_at:
                every_ms = self._spec.every_s * 1000 * self._chance.uniform(1, 1 + _JITTER)
                wait_ms = at.checked_at + every_ms - self._now_ms()
                # A clock that was put back must not make it wait for hours.
                await asyncio.sleep(min(max(wait_ms, 0), every_ms) / 1000)
            pause = True
            at = at.model_copy(update={"catching": self._catching(at)})
            for _ in range(self._pages()):
                before = at.cursor
                async for batch, after in self._ask_once(at):
                    at = after
                    yield batch
                if at.cursor == before:
                    break

    def _catching(self, at: PollPosition) -> Literal["", "first", "gap"]:
        if at.catching or at.checked_at == 0:
            return at.catching or "first"
        gap_ms = max(3000 * self._spec.every_s, _GAP_MS)
        return "gap" if self._now_ms() - at.checked_at > gap_ms else ""

    def _pages(self) -> int:
        spec = self._spec
        return spec.cursor.pages if isinstance(spec, HttpSpec) and spec.cursor else 1

    async def _ask_once(self, at: PollPosition) -> AsyncGenerator[tuple[Batch, PollPosition]]:
        """Yield batches with the positions behind them; the last one is behind the whole answer."""
        answer = await self._fetcher.get(self._ask(at))
        now = self._now_ms()
        done: dict[str, object] = {"url": self._address, "checked_at": now}
        if answer.unchanged:
            if at.etag is None and at.modified is None:
                raise SourceUnavailable("the answer is 304, but nothing was asked conditionally")
            after = at.model_copy(update={**done, "catching": ""})
            yield Batch((), _bytes(after)), after
            return
        reading, cursor = await asyncio.to_thread(self._parse, answer, at.cursor)
        # Validators are good for the same question only, and those of half a feed hide the rest.
        asked_again = reading.whole and cursor == at.cursor
        done["cursor"] = cursor
        done["etag"] = answer.etag if asked_again else None
        done["modified"] = answer.modified if asked_again else None
        done["catching"] = at.catching if cursor != at.cursor else ""
        done["seen"] = _remember(at.seen, reading.items)
        after = at.model_copy(update=done)
        new = _unseen(reading.items, at.seen)
        if at.catching == "first" and self._spec.backlog == "skip":
            new = []
        while len(new) > _BATCH:
            run, new = new[:_BATCH], new[_BATCH:]
            # Nothing but what was sent changes: a restart asks for the whole answer again.
            at = at.model_copy(update={"seen": _remember(at.seen, run)})
            texts = self._texts(run, now, live=not at.catching)
            yield Batch(texts, _bytes(at), len(run) - len(texts)), at
        texts = self._texts(new, now, live=not at.catching)
        yield Batch(texts, _bytes(after), reading.skipped + len(new) - len(texts)), after

    def _texts(self, items: Sequence[Item], now: int, *, live: bool) -> tuple[Outgoing, ...]:
        made = (record(item, self._label, now, live=live) for item in items)
        return tuple(each for each in made if each is not None)

    def _ask(self, at: PollPosition) -> Ask:
        spec = self._spec
        try:
            headers = {"Accept": _ACCEPT[spec.kind], **reveal_all(spec.headers)}
            params = reveal_all(spec.params)
        except ConfigurationError as error:  # a file that is being changed is back soon
            raise SourceUnavailable(str(error)) from None
        if at.url == self._address:
            if at.etag:
                headers["If-None-Match"] = at.etag
            if at.modified:
                headers["If-Modified-Since"] = at.modified
        if isinstance(spec, HttpSpec) and spec.cursor:
            cursor = spec.cursor.start if at.cursor is None else at.cursor
            if cursor is not None:
                params[spec.cursor.param] = str(cursor)
        return Ask(
            spec.url,
            headers,
            params,
            timeout_s=spec.timeout_s,
            max_bytes=spec.max_bytes,
            robots=spec.robots,
            allow_private_redirects=spec.allow_private_redirects,
        )

    def _parse(self, answer: Answer, cursor: Cursor | None) -> tuple[Reading, Cursor | None]:
        if isinstance(self._spec, HttpSpec):
            return read_json(answer.body, self._spec, cursor)
        return read_feed(answer.body, answer.content_type, answer.url), None

    def _read(self, position: bytes | None) -> PollPosition:
        if position is None:
            return PollPosition(kind=self._spec.kind)
        try:
            found = PollPosition.model_validate_json(position)
        except ValidationError:
            found = None
        if found is None or found.kind != self._spec.kind:
            raise ConfigurationError(
                f"the position of {self._spec.name} is not of kind {self._spec.kind}: "
                "give the connector another name"
            )
        return found


_ACCEPT: Final = {
    "rss": "application/rss+xml, application/atom+xml, application/xml;q=0.9, */*;q=0.5",
    "http": "application/json, */*;q=0.5",
}


def _unseen(items: Iterable[Item], seen: Iterable[str]) -> list[Item]:
    known = set(seen)
    new = []
    for item in items:
        mark = digest(item.id)
        if mark not in known:
            known.add(mark)
            new.append(item)
    return new


def _remember(seen: Iterable[str], items: Iterable[Item]) -> tuple[str, ...]:
    """Return what is known now: those just seen move to the end, the oldest fall out."""
    marks = [digest(item.id) for item in items]
    order = dict.fromkeys(seen)
    for mark in marks:
        order.pop(mark, None)
        order[mark] = None
    most = min(max(LEAST_REMEMBERED, 2 * len(marks)), MOST_REMEMBERED)
    return tuple(order)[-most:]


def _bytes(position: PollPosition) -> bytes:
    return position.model_dump_json(exclude_defaults=True).encode()
