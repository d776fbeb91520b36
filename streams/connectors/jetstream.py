"""Bluesky's Jetstream: the public stream of posts as JSON over a websocket.

The cursor is a time (microseconds), and the server does not promise that playback begins exactly
behind it. So a connection begins some seconds before, and posts that were sent already are
recognised by what the position remembers of those seconds.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, Literal

import aiohttp
import orjson
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from yarl import URL

from streams.connectors.answers import MOVED
from streams.connectors.config import JetstreamSpec
from streams.connectors.lines import EARLIEST_MS, FUTURE_MS
from streams.connectors.port import Batch
from streams.connectors.texts import Item, digest, record
from streams.core.errors import ConfigurationError, SourceUnavailable
from streams.core.records import parse_time
from streams.ports import Outgoing

log = structlog.get_logger()

COLLECTION: Final = "app.bsky.feed.post"
MAX_MESSAGE_BYTES: Final = 1 << 20
KEPT_BY_SERVERS_S: Final = 86_400
"""How long servers keep events for playback; public ones do so for a day or more."""

_BATCH: Final = 500
_BATCH_WAIT_S: Final = 1.0
_CONNECT_S: Final = 20.0
_MOST_REMEMBERED: Final = 50_000


class StreamPosition(BaseModel):
    """Where a stream goes on."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    kind: Literal["jetstream"] = "jetstream"
    cursor: int
    """time of the last event, microseconds"""
    recent: dict[str, int] = {}
    """digest → time of the posts that were sent within the rewind before the cursor"""


class JetstreamConnector:
    """One stream."""

    def __init__(self, spec: JetstreamSpec, user_agent: str, now_ms: Callable[[], int]) -> None:
        self._spec = spec
        self._label = spec.label("social")
        self._agent = user_agent
        self._now_ms = now_ms
        self._langs = {lang.lower() for lang in spec.langs}
        words = "|".join(re.escape(word) for word in sorted(spec.words, key=len, reverse=True))
        self._words = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) if words else None

    async def batches(self, position: bytes | None) -> AsyncGenerator[Batch]:
        """Yield posts about once a second; see `Connector`."""
        at = self._read(position)
        try:
            async with aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._agent},
                middlewares=(_stay_here,),
            ) as session:
                async with asyncio.timeout(_CONNECT_S):
                    socket = await session.ws_connect(
                        self._url(at), heartbeat=30, max_msg_size=MAX_MESSAGE_BYTES
                    )
                async with socket:
                    async for batch in self._listen(socket, at):
                        yield batch
        except TimeoutError:
            raise SourceUnavailable(f"{self._host}: no connection in {_CONNECT_S:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise SourceUnavailable(f"{self._host}: {type(error).__name__}: {error}") from None

    async def _listen(
        self, socket: aiohttp.ClientWebSocketResponse, at: StreamPosition | None
    ) -> AsyncGenerator[Batch]:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            gathered = _Gathered(at)
            until = loop.time() + _BATCH_WAIT_S
            ended: str | None = None
            while ended is None and gathered.events < _BATCH and loop.time() < until:
                try:
                    message = await socket.receive(timeout=max(until - loop.time(), 0.001))
                except TimeoutError:
                    break
                if message.type is aiohttp.WSMsgType.TEXT:
                    if self._take(message.data, gathered):
                        heard = loop.time()
                else:
                    ended = _why(message, socket)
            if gathered.cursor is not None and gathered.events:
                at = gathered.position(round(self._spec.rewind_s * 1_000_000))
                batch = Batch(tuple(gathered.texts), at.model_dump_json().encode(), gathered.empty)
                yield batch
            if ended is not None:
                raise SourceUnavailable(f"{self._host} ended the connection: {ended}")
            if loop.time() - heard > self._spec.silence_s:
                raise SourceUnavailable(f"{self._host} is silent for {self._spec.silence_s:g} s")

    def _take(self, data: str, gathered: "_Gathered") -> bool:
        """Take a message in; return whether it is an event at all."""
        try:
            event: Any = orjson.loads(data)
            time_us = event["time_us"]
        except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
            time_us = None
        if not isinstance(time_us, int) or isinstance(time_us, bool):
            gathered.empty += 1  # playing it back would bring it again and again
            return False
        gathered.events += 1
        # A cursor that lies ahead would begin with what comes then.
        gathered.cursor = max(gathered.cursor or 0, min(time_us, self._now_ms() * 1000))
        item = self._item(event, time_us)
        if item is None or digest(item.id) in gathered.recent:
            return True
        made = record(item, self._label, self._now_ms(), live=False)
        if made is None:
            gathered.empty += 1
        else:
            gathered.recent[digest(item.id)] = time_us
            gathered.texts.append(made)
        return True

    def _item(self, event: dict[str, Any], time_us: int) -> Item | None:
        """Return the post that an event made, if it is one that is wanted."""
        try:
            commit = event["commit"] if event["kind"] == "commit" else {}
            if commit.get("operation") != "create" or commit.get("collection") != COLLECTION:
                return None
            post, did, rkey = commit["record"], event["did"], commit["rkey"]
            text, langs = post["text"], post.get("langs") or []
            wanted = isinstance(text, str) and isinstance(did, str) and isinstance(rkey, str)
            names = [lang for lang in langs if isinstance(lang, str)]
        except (KeyError, TypeError, AttributeError):
            return None  # of a kind that is not ours, or half of a post
        if not wanted or (self._words is not None and not self._words.search(text)):
            return None
        if self._langs and not any(n.lower().partition("-")[0] in self._langs for n in names):
            return None
        # The server's own time: what is played back after an outage belongs where it was.
        seen_ms = min(time_us // 1000, self._now_ms())
        return Item(
            id=f"at://{did}/{COLLECTION}/{rkey}",
            text=text,
            url=f"https://bsky.app/profile/{did}/post/{rkey}",
            published_at=_published(post.get("createdAt"), seen_ms),
            observed_at=seen_ms,
            author=did,
            lang=names[0] if names else None,
        )

    @property
    def _host(self) -> str:
        return URL(self._spec.url).host or ""

    def _url(self, at: StreamPosition | None) -> URL:
        url = URL(self._spec.url).extend_query(wantedCollections=COLLECTION)
        if at is None:
            return url
        age_s = self._now_ms() / 1000 - at.cursor / 1_000_000
        if age_s > KEPT_BY_SERVERS_S:
            log.warning(
                "source_gap", host=self._host, behind_s=round(age_s), kept_s=KEPT_BY_SERVERS_S
            )
        return url.extend_query(cursor=max(at.cursor - round(self._spec.rewind_s * 1_000_000), 0))

    def _read(self, position: bytes | None) -> StreamPosition | None:
        if position is None:
            return None
        try:
            return StreamPosition.model_validate_json(position)
        except ValidationError:
            raise ConfigurationError(
                f"the position of {self._spec.name} is not of kind jetstream: "
                "give the connector another name"
            ) from None


class _Gathered:
    """What becomes the next batch."""

    def __init__(self, at: StreamPosition | None) -> None:
        self.texts: list[Outgoing] = []
        self.events = 0
        self.empty = 0
        self.cursor = at.cursor if at else None
        self.recent = dict(at.recent) if at else {}

    def position(self, rewind_us: int) -> StreamPosition:
        cursor = self.cursor or 0
        kept = {mark: at for mark, at in self.recent.items() if at >= cursor - rewind_us}
        if len(kept) > _MOST_REMEMBERED:
            kept = dict(sorted(kept.items(), key=lambda each: each[1])[-_MOST_REMEMBERED:])
        return StreamPosition(cursor=cursor, recent=kept)


def _published(created: Any, seen_ms: int) -> int:
    """Return when a post says it was made, unless that can't be true."""
    try:
        made = parse_time(created) if isinstance(created, str) else seen_ms
    except ValueError:
        return seen_ms
    return made if EARLIEST_MS <= made <= seen_ms + FUTURE_MS else seen_ms


async def _stay_here(
    request: aiohttp.ClientRequest, ask: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Refuse redirects: they could lead inside, and no server of streams needs them."""
    response = await ask(request)
    if response.status in MOVED:
        response.close()
        raise aiohttp.ClientError("it redirects, which streams may not")
    return response


def _why(message: aiohttp.WSMessage, socket: aiohttp.ClientWebSocketResponse) -> str:
    if message.type is aiohttp.WSMsgType.ERROR:
        return f"{socket.exception()!r}"
    if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
        return f"code {socket.close_code}"
    return f"a message of type {message.type.name}"
