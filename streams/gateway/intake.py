"""POSTed texts: from a request's body to records for the input topics. Pure.

What is accepted here is what score accepts later, so that nobody gets a 202 for a dead letter.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import ValidationError

from streams.core.ids import text_id
from streams.core.records import Source, Text
from streams.core.text import normalise
from streams.core.topics import TEXTS_NEWS, TEXTS_SOCIAL
from streams.gateway.problems import Fault, ProblemError

MAX_BODY_BYTES: Final = 1 << 20
MAX_TEXTS: Final = 500
JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

_MAX_RECORD_BYTES: Final = 1_000_000  # Apache Kafka refuses more than 1 MiB with its overhead
_EARLIEST_MS: Final = 631_152_000_000  # 1990
_AHEAD_MS: Final = 300_000
_MAX_FAULTS: Final = 100


@dataclass(frozen=True, slots=True)
class Prepared:
    """A text ready to be sent."""

    id: str
    topic: str
    value: bytes


def parse(body: bytes, content_type: str) -> list[Any]:
    """Return the values of a body: one JSON object, an array, or one object per line.

    Raises:
        ProblemError: another media type, no JSON, nothing in it or too many.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == NDJSON:
        items = [_load(line, at) for at, line in enumerate(body.splitlines()) if line.strip()]
    elif media_type == JSON:
        value = _load(body, None)
        items = value if isinstance(value, list) else [value]
    else:
        raise ProblemError(415, "media-type", f"Send the texts as {JSON} or {NDJSON}.")
    if not items:
        raise ProblemError(422, "no-texts", "The body holds no text.")
    if len(items) > MAX_TEXTS:
        raise ProblemError(
            422, "too-many-texts", f"{len(items)} texts; send at most {MAX_TEXTS} at once."
        )
    return items


def prepare(items: list[Any], now_ms: int) -> list[Prepared]:
    """Check the texts and return their records, in order; all or none.

    Unknown fields are kept; `observed_at` is set to now where the sender gave none.

    Raises:
        ProblemError: every fault found, with the index of its text.
    """
    prepared: list[Prepared] = []
    faults: list[Fault] = []
    for at, item in enumerate(items):
        outcome = _check(item, now_ms)
        if isinstance(outcome, Prepared):
            prepared.append(outcome)
        else:
            faults += [fault.model_copy(update={"index": at}) for fault in outcome]
    if faults:
        wrong = len({fault.index for fault in faults})
        detail = f"{wrong} of {len(items)} texts are not valid; none was accepted."
        raise ProblemError(422, "invalid-text", detail, faults[:_MAX_FAULTS])
    return prepared


def _check(item: Any, now_ms: int) -> Prepared | list[Fault]:
    if not isinstance(item, dict):
        return [Fault(field="", message="must be a JSON object")]
    try:
        given = Text.model_validate_json(orjson.dumps(item))
    except ValidationError as error:
        return [
            Fault(field=".".join(str(part) for part in each["loc"]), message=each["msg"])
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    event_time = now_ms if given.observed_at is None else given.observed_at
    late = now_ms + _AHEAD_MS
    for field, moment in (("published_at", given.published_at), ("observed_at", event_time)):
        if not _EARLIEST_MS <= moment <= late:
            message = "must lie between 1990 and five minutes from now"
            return [Fault(field=field, message=message)]
    body = given.text
    if given.title and not body.startswith(given.title):
        body = f"{given.title}\n{body}"
    text = normalise(body)
    if not text:
        return [Fault(field="text", message="nothing is left of it after normalising")]
    value = orjson.dumps({**item, "observed_at": event_time})
    if len(value) > _MAX_RECORD_BYTES:
        return [Fault(field="", message=f"is larger than {_MAX_RECORD_BYTES} bytes")]
    source: Source = given.source or "social"
    return Prepared(
        id=text_id(
            source,
            given.channel or source,
            own_id=given.id,
            url=given.url,
            author=given.author,
            published_at=given.published_at,
            text=text,
        ),
        topic=TEXTS_NEWS if source == "news" else TEXTS_SOCIAL,
        value=value,
    )


def _load(data: bytes, line: int | None) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        where = "The body" if line is None else f"Line {line + 1}"
        raise ProblemError(400, "not-json", f"{where} is not JSON: {error}.") from error
