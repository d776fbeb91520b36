"""Feeds: from the bytes of an RSS or Atom document to its items.

feedparser reads what feeds are like in practice, broken ones included. It has no protection of its
own against entities that multiply, and can't be given a parser that has; so a document that
declares entities is refused before feedparser sees it (on characters, so no encoding hides it).
HTML becomes text by Lexbor, whose time grows with the size; that of Python's parser squares.
"""

import calendar
import html
import io
import re
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin

import feedparser
from selectolax.lexbor import LexborHTMLParser

from streams.connectors.decoding import decode_markup
from streams.connectors.texts import MAX_TEXT_CHARS, Item
from streams.core.errors import SourceUnavailable
from streams.core.ids import canonical_url, make_id

_ENTITY: Final = re.compile(r"<!ENTITY", re.IGNORECASE)
_END: Final = re.compile(r"</(?:\w+:)?(?:rss|feed|rdf|channel)\s*>", re.IGNORECASE)
_END_CHARS: Final = 2_000
"""The root element ends in the last characters; feeds add comments behind it."""

_TAG: Final = re.compile(r"<[A-Za-z/!]")
_BLOCK: Final = re.compile(
    r"<(?=/?(?:p|br|div|li|tr|td|th|h[1-6]|hr|ul|ol|dl|dt|dd|table|pre|blockquote|section|article)\b)",
    re.IGNORECASE,
)
"""Where words end although no space stands there; inside a word, `<b>` is no end."""
_XML: Final = "application/xml; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer held."""

    items: tuple[Item, ...]
    """oldest first, as far as the order of the document tells"""
    whole: bool = True
    """false: more of it may come, so the next request must ask for all of it"""
    skipped: int = 0
    """items that say nothing"""


def read_feed(body: bytes, content_type: str, url: str) -> Reading:
    """Return the items of a feed.

    Of a feed that ends in the middle the last item is left out: it may be cut.

    Args:
        body: The document.
        content_type: The header, for the charset.
        url: Where it came from, for relative links.

    Raises:
        SourceUnavailable: it is no feed, or one that declares entities.
    """
    text = decode_markup(body, content_type)
    if _ENTITY.search(text):
        raise SourceUnavailable("the feed declares XML entities, which can be made to explode")
    document = feedparser.parse(
        io.BytesIO(text.encode("utf-8", "replace")),
        # No base address: an id that is no URL must not change when the feed moves.
        response_headers={"content-type": _XML},
        # All markup goes anyway, and these take minutes over some hostile documents.
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    if not document.get("version") and not document.entries:
        raise SourceUnavailable(f"no feed: {_why(document)}")
    entries = list(document.entries)
    whole = not document.bozo or _END.search(text[-_END_CHARS:]) is not None
    if not whole:
        entries = entries[:-1]
    lang = document.feed.get("language")
    items = tuple(
        item for entry in reversed(entries) if (item := _item(entry, url, lang)) is not None
    )
    return Reading(items, whole, len(entries) - len(items))


def plain(markup: str) -> str:
    """Return the text of a piece of HTML; what has no markup comes back as it is."""
    if not _TAG.search(markup):
        return html.unescape(markup).strip()
    tree = LexborHTMLParser(_BLOCK.sub(" <", markup))
    tree.strip_tags(["script", "style"])
    return " ".join(tree.text().split())


def _item(entry: Any, url: str, lang: str | None) -> Item | None:
    title = plain(_string(entry.get("title")))
    contents = entry.get("content") or [{}]
    bodies = (_string(contents[0].get("value")), _string(entry.get("summary")))
    text = plain(max(bodies, key=len)[: 4 * MAX_TEXT_CHARS])
    link = _string(entry.get("link"))
    link = urljoin(url, link) if link else ""
    own_id = _string(entry.get("id")) or (canonical_url(link) if link else "")
    if not own_id:
        own_id = make_id("item", title, text)
    if not title and not text:
        return None
    return Item(
        id=own_id,
        text=text or title,
        title=title or None,
        url=link or None,
        published_at=_time(entry),
        author=_string(entry.get("author")) or None,
        lang=_string(entry.get("language")) or lang or None,
    )


def _string(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _time(entry: Any) -> int | None:
    for field in ("published_parsed", "updated_parsed"):
        moment = entry.get(field)
        if isinstance(moment, time.struct_time):
            try:
                return calendar.timegm(moment) * 1000
            except (ValueError, OverflowError):
                continue
    return None


def _why(document: Any) -> str:
    error = document.get("bozo_exception")
    return str(error)[:200] if error is not None else "no items, and no known root element"
