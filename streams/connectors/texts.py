"""From what a source says to a text record of the protocol. Pure: now is an argument."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from streams.connectors.lines import EARLIEST_MS, FUTURE_MS
from streams.core.ids import make_id, text_id
from streams.core.records import Source
from streams.core.text import normalise
from streams.core.topics import TEXTS_NEWS, TEXTS_SOCIAL
from streams.ports import Outgoing

MAX_TEXT_CHARS: Final = 20_000
"""Longer bodies are cut; the model reads far less."""

_MAX_ID: Final = 512
_MAX_TITLE: Final = 4000
_MAX_URL: Final = 4096
_MAX_AUTHOR: Final = 512
_MAX_LANG: Final = 35
_MAX_TICKERS: Final = 50


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a source published. `text` and `id` say what it is."""

    id: str
    """the source's own, or made of what never changes about it"""
    text: str
    title: str | None = None
    url: str | None = None
    published_at: int | None = None
    """milliseconds since the epoch; None where the source does not say"""
    observed_at: int | None = None
    """when it could first be seen, where the source says so; else the time of reading counts"""
    author: str | None = None
    lang: str | None = None
    tickers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """What a connector says about all of its texts."""

    source: Source
    channel: str
    lang: str | None = None
    """for items that name no language"""


def topic_of(source: str) -> str:
    """Return the input topic of a source."""
    return TEXTS_NEWS if source == "news" else TEXTS_SOCIAL


def record(item: Item, label: Label, now_ms: int, *, live: bool) -> Outgoing | None:
    """Return the record of an item, or None if there is no text in it.

    The event time of a text is `observed_at`. It is left out where the connector was not watching
    when the item came (`live` is false), so that what lay there before the first start, or came
    while the connector was down, counts at the time of its publication and not as a burst of now.

    A publication time before 1990 or more than five minutes ahead can't be true; then now counts.
    """
    text = _valid(item.text).strip()[:MAX_TEXT_CHARS]
    title = _valid(item.title or "").strip()[:_MAX_TITLE]
    body = text or title
    if not normalise(f"{title}\n{body}" if title and not body.startswith(title) else body):
        return None
    published_at = item.published_at
    if published_at is None or not EARLIEST_MS <= published_at <= now_ms + FUTURE_MS:
        published_at = now_ms
    observed_at = item.observed_at
    if observed_at is None and live:
        observed_at = now_ms
    own_id = _valid(item.id) if len(item.id) <= _MAX_ID else make_id("long", item.id)
    url = _valid(item.url) if item.url and len(item.url) <= _MAX_URL else None
    author = _valid(item.author)[:_MAX_AUTHOR] if item.author else None
    fields: dict[str, Any] = {
        "id": own_id,
        "source": label.source,
        "channel": label.channel,
        "title": title or None,
        "text": body,
        "url": url,
        "author": author,
        "lang": _valid(item.lang or label.lang or "")[:_MAX_LANG] or None,
        "published_at": published_at,
        "observed_at": observed_at,
        "tickers": [_valid(t) for t in item.tickers if 0 < len(t) <= 32][:_MAX_TICKERS] or None,
    }
    key = text_id(
        label.source,
        label.channel,
        own_id=own_id,
        url=url,
        author=author,
        published_at=published_at,
        text=body,
    )
    value = orjson.dumps({name: value for name, value in fields.items() if value is not None})
    return Outgoing(topic_of(label.source), key.encode(), value)


def _valid(text: str) -> str:
    # Half of a surrogate pair, from a careless reference, is no Unicode and no JSON.
    return text.encode("utf-8", "replace").decode()


def digest(own_id: str) -> str:
    """Return 16 hex digits by which an item is recognised later."""
    return make_id("seen", own_id)[:16]
