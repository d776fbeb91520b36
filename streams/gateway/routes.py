"""The REST routes: thin readings of the store, and the door for texts."""

import time
from collections.abc import Callable
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from streams.core.errors import PublishFailed
from streams.core.records import Window, parse_time
from streams.gateway.intake import JSON, MAX_BODY_BYTES, NDJSON, parse, prepare
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.names import SubjectNames, kind_of
from streams.gateway.problems import Fault, ProblemError, responses
from streams.gateway.producer import TextProducer
from streams.gateway.shapes import (
    MINUTE_MS,
    AcceptedTexts,
    AlertDetail,
    AlertItem,
    AlertPage,
    History,
    SubjectDetail,
    SubjectItem,
    SubjectPage,
    TextPage,
    WindowPage,
    alert_item,
    history_point,
    text_item,
)
from streams.gateway.store import Store, SubjectView, subject_order

Subject = Annotated[
    str, Path(description="A subject, URL-encoded or not.", examples=["ticker:AAPL"])
]
Moment = Annotated[str | None, Query(description="ISO 8601, or milliseconds since the epoch.")]
State = Literal["confirmed", "updated", "resolved"]
Severity = Literal["info", "warning", "critical"]
Length = Literal["5m", "30m", "8h", "24h"]

_TEXT_BODY = {"$ref": "#/components/schemas/Text"}
_BODY_DOC = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "anyOf": [_TEXT_BODY, {"type": "array", "items": _TEXT_BODY, "maxItems": 500}]
                }
            },
            NDJSON: {"schema": {"type": "string", "description": "One text object per line."}},
        },
    }
}


def subject_router(store: Store, names: SubjectNames) -> APIRouter:
    """Return the routes about subjects."""
    router = APIRouter(tags=["subjects"])

    @router.get("/v1/subjects", summary="Subjects", responses=responses(422))
    async def list_subjects(
        q: Annotated[str, Query(max_length=64, description="Part of an id or a name.")] = "",
        kind: Annotated[
            Literal["ticker", "topic", "market"] | None, Query(description="Only of this kind.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=500, description="Most subjects returned.")] = 100,
        cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    ) -> SubjectPage:
        """List the subjects there is something about: the market, topics, then companies."""
        wanted = q.casefold()
        after = None if cursor is None else subject_order(cursor)
        found = [
            subject
            for subject in store.subject_ids()
            if (after is None or subject_order(subject) > after)
            and (kind is None or kind_of(subject) == kind)
            and (wanted in subject.casefold() or wanted in names.name(subject).casefold())
        ]
        items = []
        for subject in found[:limit]:
            view = store.subject(subject)
            if view is not None:
                items.append(_subject_item(subject, view, names.name(subject)))
        return SubjectPage(items=items, next=found[limit - 1] if len(found) > limit else None)

    # `:path` lets a subject hold a slash, written or encoded.
    @router.get(
        "/v1/subjects/{subject:path}/windows",
        summary="A subject's windows",
        response_model=WindowPage,
        responses=responses(404, 422),
    )
    async def list_windows(
        subject: Subject,
        from_: Annotated[Moment, Query(alias="from")] = None,
        to: Moment = None,
        limit: Annotated[int, Query(ge=1, le=2000, description="Most windows returned.")] = 500,
        every: Annotated[
            int, Query(ge=1, le=1440, description="Only the last of so many minutes, for charts.")
        ] = 1,
    ) -> Response:
        """Return the newest windows with from <= end < to, oldest first, in their last revision."""
        _known(store, names, subject)
        start = None if from_ is None else -(-_moment(from_, "from") // MINUTE_MS) - 1
        end = None if to is None else -(-_moment(to, "to") // MINUTE_MS) - 1
        found = store.windows(subject, start, end, limit, every)
        head = b'{"subject":%s,"items":[' % orjson.dumps(subject)
        return Response(head + b",".join(found) + b"]}", media_type=JSON)

    @router.get(
        "/v1/subjects/{subject:path}/texts",
        summary="The latest scored texts",
        responses=responses(404, 422),
    )
    async def list_texts(
        subject: Subject,
        limit: Annotated[int, Query(ge=1, le=200, description="Most texts returned.")] = 50,
    ) -> TextPage:
        """Return the latest scored texts about a subject, newest first."""
        _known(store, names, subject)
        found = store.texts(subject, limit)
        return TextPage(subject=subject, items=[text_item(each, subject) for each in found])

    # After the two above: this path would match theirs as well.
    @router.get(
        "/v1/subjects/{subject:path}", summary="Where a subject stands", responses=responses(404)
    )
    async def show_subject(
        subject: Subject,
        window: Annotated[Length, Query(description="Window of the history.")] = "8h",
        points: Annotated[int, Query(ge=1, le=500, description="Most points of it.")] = 96,
        every: Annotated[
            int, Query(ge=1, le=1440, description="Minutes from one point to the next.")
        ] = 15,
    ) -> SubjectDetail:
        """Return the newest window record of a subject, and a short history of one window."""
        view = _known(store, names, subject)
        newest = view.newest
        start = None if newest is None else newest.minute - points * every + 1
        kept = store.windows(subject, start, None, points, every)
        found = [history_point(each, window) for each in kept]
        return SubjectDetail(
            id=subject,
            kind=kind_of(subject),
            name=names.name(subject),
            open_alerts=view.alerts,
            latest=newest,
            history=History(window=window, every=every, items=[p for p in found if p is not None]),
        )

    return router


def alert_router(store: Store) -> APIRouter:
    """Return the routes about alerts."""
    router = APIRouter(tags=["alerts"])

    @router.get("/v1/alerts", summary="Alerts", responses=responses(422))
    async def list_alerts(
        subject: Annotated[str | None, Query(description="Only of this subject.")] = None,
        state: Annotated[State | None, Query(description="Only in this state.")] = None,
        severity: Annotated[Severity | None, Query(description="Only of this severity.")] = None,
        since: Moment = None,
        limit: Annotated[int, Query(ge=1, le=500, description="Most alerts returned.")] = 50,
    ) -> AlertPage:
        """Return the alerts in their newest revision, latest revised first.

        `since` looks at the end of the minute that the newest revision speaks of.
        """
        earliest = None if since is None else _moment(since, "since")
        items: list[AlertItem] = []
        for view in store.alerts():
            newest = view.newest
            if (
                (subject is None or newest.subject == subject)
                and (state is None or newest.state == state)
                and (severity is None or newest.severity == severity)
                and (earliest is None or (newest.minute + 1) * MINUTE_MS >= earliest)
            ):
                items.append(alert_item(newest))
                if len(items) == limit:
                    break
        return AlertPage(items=items)

    @router.get("/v1/alerts/{alert}", summary="An alert with evidence", responses=responses(404))
    async def show_alert(
        alert: Annotated[str, Path(description="Alert id, 32 hex digits.")],
    ) -> AlertDetail:
        """Return an alert with its evidence and all of its revisions."""
        view = store.alert(alert)
        if view is None:
            raise ProblemError(404, "unknown-alert", f"No alert {alert!r} is in memory.")
        revisions = [alert_item(each) for each in view.revisions]
        return AlertDetail(offset=view.offset, alert=revisions[-1], revisions=revisions)

    return router


def text_router(
    producer: TextProducer, metrics: GatewayMetrics, now_ms: Callable[[], int] | None = None
) -> APIRouter:
    """Return the route that takes texts in."""
    router = APIRouter(tags=["texts"])
    clock = now_ms or _wall_clock

    @router.post(
        "/v1/texts",
        status_code=202,
        summary="Send texts",
        responses=responses(400, 413, 415, 422, 503),
        openapi_extra=_BODY_DOC,
    )
    async def post_texts(request: Request, response: Response) -> AcceptedTexts:
        """Take one text, an array of at most 500, or one per line; all are accepted or none.

        202 means that the broker has confirmed every text. After a 503 some may stand; sending
        all again is harmless, because the same text has the same id and counts once.
        """
        body = await _body(request)
        texts = prepare(parse(body, request.headers.get("content-type", "")), clock())
        try:
            placed = await producer.send(texts)
        except PublishFailed as error:
            raise ProblemError(
                503,
                "broker-unavailable",
                "The broker did not confirm the texts, so they are not accepted. "
                f"Send them again later: {error}",
                headers={"Retry-After": "5"},
            ) from error
        for text in texts:
            metrics.record_accepted(text.topic)
        return AcceptedTexts(items=placed)

    return router


async def _body(request: Request) -> bytes:
    size = 0
    chunks: list[bytes] = []
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            detail = f"The body is larger than {MAX_BODY_BYTES} bytes; send fewer texts at once."
            raise ProblemError(413, "too-large", detail, headers={"Connection": "close"})
        chunks.append(chunk)
    return b"".join(chunks)


def _subject_item(subject: str, view: SubjectView, name: str) -> SubjectItem:
    newest: Window | None = view.newest
    day = None if newest is None else newest.windows.get("24h")
    return SubjectItem(
        id=subject,
        kind=kind_of(subject),
        name=name,
        latest=None if newest is None else (newest.minute + 1) * MINUTE_MS,
        index=day.index if day else None,
        baseline=day.baseline if day else None,
        texts=day.texts if day else 0,
        open_alerts=view.alerts,
    )


def _known(store: Store, names: SubjectNames, subject: str) -> SubjectView:
    view = store.subject(subject)
    if view is None:
        near = names.near(subject, store.subject_ids())
        hint = f" Near: {', '.join(near)}." if near else ""
        raise ProblemError(404, "unknown-subject", f"No text about {subject!r} has come yet.{hint}")
    return view


def _moment(given: str, name: str) -> int:
    try:
        return parse_time(int(given) if given.lstrip("-").isdigit() else given.replace(" ", "+"))
    except ValueError as error:
        raise ProblemError(
            422,
            "invalid-parameter",
            "A parameter is not valid.",
            [Fault(field=name, message="must be ISO 8601 or milliseconds since the epoch")],
        ) from error


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000
