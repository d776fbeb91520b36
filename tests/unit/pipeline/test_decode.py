"""Whatever lies on an input topic is a text, or a record error that says why not."""

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.entities import MAX_ENTITIES, EntityIndex
from streams.core.errors import (
    ImplausibleTime,
    RecordError,
    SchemaViolation,
    UndecodableRecord,
    UnusableText,
)
from streams.core.text import MAX_CHARS
from streams.core.topics import TEXTS_NEWS, TEXTS_SOCIAL
from streams.pipeline.decode import Readable, decode
from streams.ports import Incoming

INDEX = EntityIndex.load()
NOW = 1_790_000_000_000


def incoming(value: bytes | None, topic: str = TEXTS_NEWS) -> Incoming:
    return Incoming(topic, 1, 7, NOW, None, value, {})


def decoded(value: bytes | None) -> Readable:
    return decode(incoming(value), INDEX, b"key")


def text(**fields: Any) -> bytes:
    return orjson.dumps({"text": "Apple gains", "published_at": NOW - 1000, **fields})


def raw(more: str) -> bytes:
    return f'{{"text": "Apple gains", "published_at": {NOW}, {more}}}'.encode()


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"\xff\xfe", b"no json", b"{", b"[]", b"null", b"3", b'"text"', b"true"),
        *(b"[" * 100_000, b'{"a":' * 100_000, b'{"text": "a\x00b", "published_at": 1}'),
        raw('"x": "\\ud800"'),
        b'{"text": "\xed\xa0\x80", "published_at": 1}',
        raw('"published_at": ' + "9" * 5000),
        text().decode().encode("utf-16"),
    ],
)
def test_what_is_no_json_object_is_undecodable(value: bytes | None) -> None:
    with pytest.raises(UndecodableRecord):
        decoded(value)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b"{}", "text"),
        (b'{"text": "x"}', "published_at"),
        (text(text=None), "text"),
        (text(text=3), "text"),
        (text(text=["x"]), "text"),
        (text(published_at=None), "published_at"),
        (text(published_at=True), "published_at"),
        (text(published_at=1.5), "published_at"),
        (text(published_at="yesterday"), "published_at"),
        (text(published_at="1790000000000"), "published_at"),
        (text(published_at=[1]), "published_at"),
        (raw('"observed_at": NaN'), "observed_at"),
        (raw('"observed_at": Infinity'), "observed_at"),
        (raw('"observed_at": 1e400'), "observed_at"),
        (text(source="blog"), "source"),
        (text(channel="with space"), "channel"),
        (text(channel=""), "channel"),
        (text(channel="x\n"), "channel"),
        (text(id=7), "id"),
        (text(id="x" * 513), "id"),
        (text(url="x" * 5000), "url"),
        (text(author={}), "author"),
        (text(tickers="AAPL"), "tickers"),
        (text(tickers=["AAPL", 3]), "tickers.1"),
    ],
)
def test_a_wrong_field_is_named(value: bytes, field: str) -> None:
    with pytest.raises(SchemaViolation) as raised:
        decoded(value)
    assert raised.value.field == field


def test_a_complaint_never_quotes_the_record() -> None:
    with pytest.raises(SchemaViolation) as raised:
        decoded(text(published_at="a secret"))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "at",
    [
        *(0, -1, 631_151_999_999, NOW + 300_001, 10**18),
        *("1900-01-01", "2100-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31"),
    ],
)
def test_a_time_before_1990_or_in_the_future_is_implausible(at: int | str) -> None:
    with pytest.raises(ImplausibleTime) as raised:
        decoded(text(published_at=at))
    assert raised.value.field == "published_at"
    with pytest.raises(ImplausibleTime) as raised:
        decoded(text(observed_at=at))
    assert raised.value.field == "observed_at"


def test_a_time_of_four_hundred_digits_is_implausible() -> None:
    with pytest.raises(ImplausibleTime):
        decoded(raw('"observed_at": 1' + "0" * 400))


@pytest.mark.parametrize(
    ("at", "event_time"),
    [
        (631_152_000_000, 631_152_000_000),
        (NOW + 300_000, NOW + 300_000),
        ("2020-01-02T03:04:05.678Z", 1_577_934_245_678),
        ("2020-01-02T03:04:05.678", 1_577_934_245_678),
        ("2020-01-02 04:04:05.6789+01:00", 1_577_934_245_678),
        ("2020-01-02", 1_577_923_200_000),
    ],
)
def test_times_are_milliseconds_or_iso_8601_in_utc(at: int | str, event_time: int) -> None:
    assert decoded(text(published_at=at)).event_time == event_time


def test_the_observed_time_is_the_event_time() -> None:
    assert decoded(text(published_at=0, observed_at=NOW)).event_time == NOW


@pytest.mark.parametrize("body", ["", "  \n", "\u200b\x00", "http://only.a/link", "RT @a: "])
def test_a_text_of_which_nothing_is_left_is_unusable(body: str) -> None:
    with pytest.raises(UnusableText):
        decoded(text(text=body))


def test_a_megabyte_of_text_is_clipped_quickly() -> None:
    value = text(text="Apple &amp; [T] @you " * 50_000)
    began = time.thread_time()
    assert len(decoded(value).text) <= MAX_CHARS
    assert time.thread_time() - began < 1


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "x",
            "X",
            "x.",
            "/",
            "x/",
            "$",
            "$A",
            "@",
            "#1",
            "1",
            "_",
            "é",
            "股",
            "'",
            "a'b",
            "x-",
            ":",
        ),
        *("NYSE:", "NYSE: ", "$AAPL", "$AAPL ", "Bank of ", "Apple", "&amp", "[T]", "the ", "x 1"),
    ],
)
def test_a_text_made_to_take_long_does_not(piece: str) -> None:
    values = [text(text=(head + piece * 4000)[:4000] + tail) for head in " /" for tail in " /9"]
    decoded(text())
    began = time.thread_time()
    for value in values:
        decoded(value)
    assert time.thread_time() - began < 0.05 * len(values)


def test_a_huge_character_reference_is_no_crash() -> None:
    assert decoded(text(text="Apple &#" + "1" * 5000 + ";")).text == "Apple \ufffd"


def test_five_hundred_cashtags_are_a_round_up() -> None:
    tags = [f"${a}{b}{c}" for a in "ABCDEFGHIJ" for b in "ABCDEFGHIJ" for c in "KLMNO"]
    found = decoded(text(text=" ".join(tags)))
    assert found.round_up
    assert len(found.entities) == MAX_ENTITIES
    assert found.inputs == (found.text,)


def test_the_last_of_two_equal_keys_counts() -> None:
    assert decoded(raw('"text": "Nokia sinks"')).text == "Nokia sinks"


def test_unknown_fields_are_ignored() -> None:
    assert decoded(text(mine={"deep": [1]})).text == "Apple gains"


def test_source_and_channel_come_from_the_topic_where_none_is_given() -> None:
    social = decode(incoming(text(), TEXTS_SOCIAL), INDEX, b"key")
    assert (social.source, social.channel) == ("social", "social")
    given_ = decode(incoming(text(source="news", channel="wire"), TEXTS_SOCIAL), INDEX, b"key")
    assert (given_.source, given_.channel) == ("news", "wire")


def test_the_title_stands_before_the_text_unless_it_does_already() -> None:
    assert decoded(text(title="Up", text="Apple gains")).text == "Up Apple gains"
    assert decoded(text(title="Apple", text="Apple gains")).text == "Apple gains"


def test_the_author_is_only_there_as_a_pseudonym() -> None:
    found = decoded(text(author="bob the author"))
    assert found.author
    assert "bob" not in repr(found)
    assert found.author != decode(incoming(text(author="bob the author")), INDEX, b"K").author


def test_each_of_several_companies_is_the_target_once() -> None:
    found = decoded(text(text="$AAPL gains as $NOK sinks", tickers=["IBM"]))
    assert found.inputs == (
        "[T] gains as [O] sinks",
        "[O] gains as [T] sinks",
        "$AAPL gains as $NOK sinks",
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
NAMES = st.sampled_from(
    [
        "text",
        "published_at",
        "observed_at",
        "source",
        "channel",
        "id",
        "title",
        "url",
        "author",
        "lang",
        "tickers",
    ]
)
PLAUSIBLE = {"text": "Apple gains", "published_at": NOW, "channel": "c", "tickers": ["AAPL"]}
MUTATED = st.dictionaries(NAMES, JSON, max_size=3).map(lambda d: {**PLAUSIBLE, **d})


def total(value: bytes) -> None:
    try:
        found = decoded(value)
    except RecordError:
        return
    assert found.text
    assert found.inputs
    assert len(found.id) == 32


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_text_or_a_record_error(value: bytes) -> None:
    total(value)


@settings(max_examples=250, deadline=None)
@given(MUTATED)
def test_any_fields_are_a_text_or_a_record_error(fields: dict[str, Any]) -> None:
    total(json.dumps(fields).encode())


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 200), st.binary(max_size=3), st.integers(0, 5))
def test_any_damage_to_a_record_is_a_text_or_a_record_error(
    place: int, put: bytes, skip: int
) -> None:
    whole = text(title="Up & away", author="bob", url="https://a.com/x?y=1", tickers=["AAPL"])
    total(whole[:place] + put + whole[place + skip :])
