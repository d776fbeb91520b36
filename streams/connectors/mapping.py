"""JSON of an API: from an answer to items, by the JMESPath expressions of the configuration.

JMESPath, because it is one small language with a specification and a test suite, and jmespath is
its reference implementation.
"""

import functools
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import jmespath
import orjson
from jmespath.exceptions import JMESPathError

from streams.connectors.config import HttpSpec
from streams.connectors.markup import Reading, plain
from streams.connectors.texts import Item
from streams.core.errors import SourceUnavailable
from streams.core.records import parse_time

_compiled = functools.lru_cache(maxsize=256)(jmespath.compile)
_UNITS: Final = {"seconds": 1000, "milliseconds": 1}

Cursor = str | int | float


def read_json(body: bytes, spec: HttpSpec, cursor: Cursor | None) -> tuple[Reading, Cursor | None]:
    """Return the items of an answer, in its order, and the cursor for the next request.

    An item without an id or a text is skipped and counted.

    Args:
        body: The answer.
        spec: Says where what is.
        cursor: That of this request; it stays where the answer names no other.

    Raises:
        SourceUnavailable: no JSON, or no list where one should be.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SourceUnavailable(f"the answer is not JSON: {error}") from None
    listed = _search(spec.items, document)
    if not isinstance(listed, list):
        found = "nothing" if listed is None else f"a {type(listed).__name__}"
        raise SourceUnavailable(f"items: {spec.items} finds {found} in the answer, not a list")
    items = [item for each in listed if (item := _item(each, spec)) is not None]
    if spec.cursor is not None and spec.cursor.next is not None:
        named = _search(spec.cursor.next, document)
        cursor = named if _orderable(named) and named != "" else cursor
    elif spec.cursor is not None and spec.cursor.newest is not None:
        for each in listed:
            found = _search(spec.cursor.newest, each)
            if _orderable(found) and (cursor is None or _after(found, cursor)):
                cursor = found
    return Reading(tuple(items), skipped=len(listed) - len(items)), cursor


def _item(each: Any, spec: HttpSpec) -> Item | None:
    fields = spec.fields
    own_id = _search(fields.id, each)
    text = _text(_search(fields.text, each), spec)
    if isinstance(own_id, bool) or not isinstance(own_id, str | int) or own_id == "" or not text:
        return None
    tickers = _optional(fields.tickers, each)
    return Item(
        id=str(own_id),
        text=text,
        title=_text(_optional(fields.title, each), spec) or None,
        url=_string(_optional(fields.url, each)),
        published_at=_time(_optional(fields.published_at, each), spec.times),
        author=_string(_optional(fields.author, each)),
        lang=_string(_optional(fields.lang, each)),
        tickers=tuple(t for t in tickers if isinstance(t, str))
        if isinstance(tickers, list)
        else (),
    )


def _search(expression: str, document: Any) -> Any:
    try:
        return _compiled(expression).search(document)
    except (JMESPathError, TypeError, ValueError):
        return None  # a function that does not take what is there; counted by the caller


def _optional(expression: str | None, each: Any) -> Any:
    return None if expression is None else _search(expression, each)


def _text(value: Any, spec: HttpSpec) -> str:
    if isinstance(value, list):
        value = "\n".join(part for part in value if isinstance(part, str) and part)
    if not isinstance(value, str):
        return ""
    return plain(value) if spec.html else value.strip()


def _string(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def _time(value: Any, how: str) -> int | None:
    try:
        if how in _UNITS:
            return round(float(value) * _UNITS[how])
        if how == "rfc2822":
            moment = parsedate_to_datetime(value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return round(moment.timestamp() * 1000)
        return parse_time(value) if isinstance(value, str) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _orderable(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _after(found: Cursor, cursor: Cursor) -> bool:
    """Return whether a cursor lies after another; strings of digits count as numbers."""
    left, right = _number(found), _number(cursor)
    if left is not None and right is not None:
        return left > right
    return str(found) > str(cursor)


def _number(value: Cursor) -> float | int | None:
    if not isinstance(value, str):
        return value
    return int(value) if value.isascii() and value.isdigit() and len(value) < 40 else None
