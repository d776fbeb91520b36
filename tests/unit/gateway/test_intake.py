"""What is accepted over HTTP is what score accepts later, under the same id."""

import json
from typing import Any

import pytest

from streams.core.entities import EntityIndex
from streams.core.errors import RecordError
from streams.core.topics import TEXTS_NEWS, TEXTS_SOCIAL
from streams.gateway.intake import Prepared, parse, prepare
from streams.gateway.problems import ProblemError
from streams.pipeline.decode import decode
from streams.ports import Incoming

NOW = 1_740_000_000_000
INDEX = EntityIndex({}, {})


def prepared(**fields: Any) -> Prepared:
    (found,) = prepare([{"text": "Apple sinks", "published_at": NOW, **fields}], NOW)
    return found


def decoded(text: Prepared) -> Any:
    return decode(Incoming(text.topic, 0, 0, NOW, text.id.encode(), text.value, {}), INDEX, b"k")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"id": "7"},
        {"source": "news", "url": "https://Example.com/a/?utm_x=1"},
        {"source": "news", "channel": "wire", "title": "Apple"},
        {"title": "Shares", "author": "ann", "text": "RT @bob: sinks &amp; rises"},
        {"published_at": "2025-02-19T21:20:00Z", "lang": "en", "tickers": ["AAPL"], "own": [1]},
    ],
)
def test_id_is_the_one_that_score_gives(fields: dict[str, Any]) -> None:
    text = prepared(**fields)
    assert decoded(text).id == text.id
    assert text.topic == (TEXTS_NEWS if fields.get("source") == "news" else TEXTS_SOCIAL)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"text": None}, "text"),
        ({"text": "https://t.co/x"}, "text"),
        ({"published_at": "soon"}, "published_at"),
        ({"published_at": 0}, "published_at"),
        ({"observed_at": NOW + 400_000}, "observed_at"),
        ({"channel": "no spaces"}, "channel"),
        ({"tickers": ["AAPL", ""]}, "tickers.1"),
    ],
)
def test_fault_names_its_text_and_field(fields: dict[str, Any], field: str) -> None:
    good = {"text": "Apple sinks", "published_at": NOW}
    with pytest.raises(ProblemError) as caught:
        prepare([good, {**good, **fields}], NOW)
    assert [(each.index, each.field) for each in caught.value.errors] == [(1, field)]
    if field != "published_at" or fields[field] == "soon":
        value = json.dumps({**good, **fields}).encode()
        with pytest.raises(RecordError):
            decode(Incoming(TEXTS_SOCIAL, 0, 0, NOW, b"", value, {}), INDEX, b"k")


def test_unknown_fields_stay_and_arrival_is_noted() -> None:
    value = json.loads(prepared(own={"a": [1]}).value)
    assert value["own"] == {"a": [1]}
    assert value["observed_at"] == NOW
    given = json.loads(prepared(observed_at="2025-02-19T10:00:00+01:00").value)
    assert given["observed_at"] == 1_739_955_600_000


def test_bodies_of_all_three_forms_are_read() -> None:
    assert parse(b'{"a": 1}', "application/json; charset=utf-8") == [{"a": 1}]
    assert parse(b"[1, 2]", "application/json") == [1, 2]
    assert parse(b'{"a": 1}\n\n{"b": 2}\n', "application/x-ndjson") == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{}", "", 415),
        (b"{}", "application/x-www-form-urlencoded", 415),
        (b"nan", "application/json", 400),
        (b'{"a": 1}\n{', "application/x-ndjson", 400),
        (b"[]", "application/json", 422),
        (b"[" + b"1," * 500 + b"1]", "application/json", 422),
    ],
)
def test_other_bodies_are_refused(body: bytes, media_type: str, status: int) -> None:
    with pytest.raises(ProblemError) as caught:
        parse(body, media_type)
    assert caught.value.status == status


def test_what_is_no_object_is_a_fault_of_its_text() -> None:
    with pytest.raises(ProblemError) as caught:
        prepare([1, None], NOW)
    assert [each.index for each in caught.value.errors] == [0, 1]
