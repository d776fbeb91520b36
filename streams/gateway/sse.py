"""The live stream: alerts as server-sent events, resumable at any of them.

`id:` is the offset in alerts.v1, the payload carries the event id `<alert id>.<revision>`. A
client that comes back with its last one gets exactly what it missed: from memory, or from the
broker when that reaches back further.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

import structlog
from aiokafka.errors import KafkaError
from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from streams.gateway.feed import FROM_START, Cursor, Event, Feed
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.problems import ProblemError, responses
from streams.gateway.reader import Reader

log = structlog.get_logger()

HEARTBEAT_S: Final = 15
_SEND_TIMEOUT_S: Final = 10.0
_AHEAD_GRACE_S: Final = 2.0
_STREAM_DOC: Final = """Alerts as they are raised, updated and resolved (server-sent events).

Each event is named `alert`; its `id:` is the offset in alerts.v1 and its data are
`{"event_id": "<alert id>.<revision>", "offset": 0, "alert": {…}}`. Without a last event id the
stream begins now; with one (header `Last-Event-ID` or parameter `last_event_id`, an offset or
an event id; -1 is the beginning) it begins after it. A comment comes every 15 seconds. An event
named `reset` says that the log began anew, so that offsets known before mean nothing. A client
that falls too far behind is disconnected and misses nothing if it comes back with its last id."""


class _Stream(EventSourceResponse):
    """Ends without a traceback when the client takes nothing any more."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.info("stream_client_stuck")


def stream_router(feed: Feed, reader: Reader, metrics: GatewayMetrics) -> APIRouter:
    """Return the route of the live stream."""
    router = APIRouter(tags=["alerts"])

    @router.get(
        "/v1/stream",
        summary="Live alerts",
        description=_STREAM_DOC,
        response_class=EventSourceResponse,
        responses={200: {"content": {"text/event-stream": {}}}, **responses(400)},
    )
    async def stream(
        last_event_id: Annotated[str | None, Header(description="Set by EventSource.")] = None,
        last_event_id_: Annotated[
            str | None, Query(alias="last_event_id", description="For clients without headers.")
        ] = None,
    ) -> EventSourceResponse:
        # A browser that reconnects repeats the URL and adds the header, which is then newer.
        given = last_event_id or last_event_id_
        after = None if given is None else _offset(given, feed)
        events = _events(feed, reader, metrics, after)
        return _Stream(events, ping=HEARTBEAT_S, sep="\n", send_timeout=_SEND_TIMEOUT_S)

    return router


def _offset(given: str, feed: Feed) -> int:
    known = feed.offset_of(given)
    if known is not None:
        return known
    try:
        return max(FROM_START, int(given))
    except ValueError:
        raise ProblemError(
            400,
            "unknown-event-id",
            "Last-Event-ID must be an offset (the `id:` of an event), or the event id of a "
            "recent alert. Send -1 for everything.",
        ) from None


async def _events(
    feed: Feed, reader: Reader, metrics: GatewayMetrics, after: int | None
) -> AsyncIterator[ServerSentEvent]:
    cursor = feed.join(after)
    try:
        yield ServerSentEvent(comment="connected", retry=2000, sep="\n")
        await _settle(feed, cursor)
        while not cursor.closed:
            if cursor.anew:
                cursor.anew = False
                yield ServerSentEvent("the alert log began anew", event="reset", sep="\n")
            elif cursor.after is not None and cursor.after + 1 < feed.first:
                async for event in reader.replay(cursor.after + 1, feed.first):
                    if cursor.closed or cursor.anew:
                        break
                    cursor.after = event.offset
                    yield _message(event, metrics)
                else:
                    cursor.after = max(cursor.after, feed.first - 1)
            elif (found := cursor.poll()) is not None:
                yield _message(found, metrics)
            else:
                await cursor.wait()
    except KafkaError as error:
        log.warning("stream_replay_failed", error=repr(error))  # the client resumes by itself
    finally:
        feed.leave(cursor)


async def _settle(feed: Feed, cursor: Cursor) -> None:
    """Tell a client whose offset lies beyond the log that the log is another one."""
    while not feed.live and not cursor.closed:
        if cursor.after is not None and cursor.after <= feed.last:
            return
        await cursor.wait()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _AHEAD_GRACE_S  # another gateway may have read further than we
    while cursor.after is not None and cursor.after > feed.last and not cursor.closed:
        left = deadline - loop.time()
        if left <= 0:
            cursor.start_over()
            return
        try:
            async with asyncio.timeout(left):
                await cursor.wait()
        except TimeoutError:
            continue


def _message(event: Event, metrics: GatewayMetrics) -> ServerSentEvent:
    metrics.record_event_sent()
    return ServerSentEvent(event.data.decode(), event="alert", id=str(event.offset), sep="\n")
