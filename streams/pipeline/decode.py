"""From the bytes of a record to a text that can be scored, or to the reason why not."""

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from streams.core.entities import EntityIndex, Linked
from streams.core.errors import (
    ImplausibleTime,
    SchemaViolation,
    UndecodableRecord,
    UnusableText,
)
from streams.core.fingerprint import fingerprint
from streams.core.ids import author_hash, text_id
from streams.core.language import Language, language
from streams.core.records import Origin, Source, Text
from streams.core.text import is_repost, normalise, with_roles
from streams.core.topics import TEXTS_NEWS
from streams.ports import Incoming

MOST_TARGETS: Final = 5
"""Texts about more entities are round-ups: scored once, with a small weight."""

_EARLIEST_MS: Final = 631_152_000_000
AHEAD_MS: Final = 300_000
"""How far an event time may lie ahead of its ingestion."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A text that was understood."""

    origin: Origin
    id: str
    event_time: int
    ingested_at: int
    source: Source
    channel: str
    language: Language
    author: str | None
    url: str | None
    text: str
    """normalised, with the title"""
    fingerprint: str
    entities: tuple[Linked, ...]
    round_up: bool
    repost: bool
    """it repeats another's text, and says so"""
    inputs: tuple[str, ...]
    """what the model reads: one for the whole text, or one per entity"""


def decode(record: Incoming, index: EntityIndex, author_key: bytes) -> Readable:
    """Return the text of a record.

    Raises:
        UndecodableRecord: not UTF-8, not JSON, or no object.
        SchemaViolation: a field is missing or of the wrong type.
        ImplausibleTime: before 1990, or more than five minutes after ingestion.
        UnusableText: nothing is left after normalising.
    """
    given = _parse(record.value)
    event_time = given.published_at if given.observed_at is None else given.observed_at
    if event_time < _EARLIEST_MS or event_time > record.timestamp_ms + AHEAD_MS:
        name = "published_at" if given.observed_at is None else "observed_at"
        raise ImplausibleTime(f"event time {event_time} ms", name)
    source: Source = given.source or ("news" if record.topic == TEXTS_NEWS else "social")
    channel = given.channel or source
    body = given.text
    if given.title and not body.startswith(given.title):
        body = f"{given.title}\n{body}"
    text = normalise(body)
    if not text:
        raise UnusableText("nothing is left after normalising", "text")
    entities = index.link(text, given.tickers or ())
    round_up = len(entities) > MOST_TARGETS
    return Readable(
        origin=Origin(record.topic, record.partition, record.offset),
        id=text_id(
            source,
            channel,
            own_id=given.id,
            url=given.url,
            author=given.author,
            published_at=given.published_at,
            text=text,
        ),
        event_time=event_time,
        ingested_at=record.timestamp_ms,
        source=source,
        channel=channel,
        language=language(text, given.lang),
        author=author_hash(author_key, channel, given.author) if given.author else None,
        url=given.url,
        text=text,
        fingerprint=fingerprint(text),
        entities=entities,
        round_up=round_up,
        repost=is_repost(body) if given.retweet is None else given.retweet,
        inputs=(text,) if round_up or not entities else _targets(text, entities),
    )


def _targets(text: str, entities: tuple[Linked, ...]) -> tuple[str, ...]:
    return tuple(
        # An entity that only the sender names has no mention to mark.
        with_roles(text, e.spans, [s for o in entities if o is not e for s in o.spans])
        if e.spans
        else text
        for e in entities
    )


def _parse(value: bytes | None) -> Text:
    if value is None:
        raise UndecodableRecord("no value")
    try:
        return Text.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] in ("json_invalid", "model_type"):
            raise UndecodableRecord(first["msg"]) from None
        field = ".".join(str(part) for part in first["loc"])
        raise SchemaViolation(f"{field}: {first['msg']}", field) from None
