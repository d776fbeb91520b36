"""From items to records: ids that last, times that can be true, sizes that fit."""

from typing import Any

import orjson
import pytest

from streams.connectors.texts import MAX_TEXT_CHARS, Item, Label, record
from streams.core.entities import EntityIndex
from streams.core.records import Text
from streams.pipeline.decode import decode
from streams.ports import Incoming

NOW = 1_791_200_000_000
NEWS = Label("news", "wire", "en")


def made(label: Label = NEWS, live: bool = True, **fields: Any) -> dict[str, Any]:
    item = Item(**{"id": "n-1", "text": "The fleet is grounded.", **fields})
    out = record(item, label, NOW, live=live)
    assert out is not None
    Text.model_validate_json(out.value or b"")
    value: dict[str, Any] = orjson.loads(out.value or b"")
    return value


def test_score_gives_a_text_the_id_that_is_its_key() -> None:
    item = Item("n-1", "The fleet is grounded.", title="Nordwind Air", url="https://a.example/1")
    out = record(item, NEWS, NOW, live=True)
    assert out is not None
    lying = Incoming(out.topic, 0, 0, NOW, out.key, out.value, {})
    assert decode(lying, EntityIndex({}, {}), b"key").id.encode() == out.key


def test_the_same_item_has_the_same_key_whenever_it_is_read() -> None:
    keys = set()
    for now, live in ((NOW, True), (NOW + 5_000, True), (NOW + 9_000, False)):
        out = record(Item("n-1", "The fleet is grounded."), NEWS, now, live=live)
        assert out is not None
        keys.add(out.key)
    assert len(keys) == 1


def test_the_event_time_is_when_it_was_seen_only_if_somebody_watched() -> None:
    assert made(published_at=NOW - 5)["observed_at"] == NOW
    assert "observed_at" not in made(published_at=NOW - 5, live=False)
    assert made(observed_at=NOW - 3, live=False)["observed_at"] == NOW - 3


@pytest.mark.parametrize("wrong", [None, 0, -5, NOW + 300_001, 10**18])
def test_a_publication_time_that_can_not_be_true_is_now(wrong: int | None) -> None:
    assert made(published_at=wrong)["published_at"] == NOW


def test_fields_that_are_too_long_are_cut_or_left_out() -> None:
    value = made(
        id="i" * 600,
        text="t" * 50_000,
        title="h" * 5_000,
        url="https://a.example/" + "u" * 5_000,
        author="a" * 600,
        lang="l" * 50,
        tickers=("NWA", "", "x" * 40),
    )
    assert len(value["id"]) == 32
    assert len(value["text"]) == MAX_TEXT_CHARS
    assert (len(value["title"]), len(value["author"]), len(value["lang"])) == (4_000, 512, 35)
    assert "url" not in value
    assert value["tickers"] == ["NWA"]


def test_long_ids_that_differ_at_their_ends_stay_apart() -> None:
    assert made(id="i" * 600 + "a")["id"] != made(id="i" * 600 + "b")["id"]


@pytest.mark.parametrize("nothing", ["", "  \n ", "\u200b", "https://a.example/only-a-link"])
def test_an_item_without_words_is_no_text(nothing: str) -> None:
    assert record(Item("n-1", nothing), NEWS, NOW, live=True) is None


def test_a_title_alone_is_a_text() -> None:
    assert made(text="", title="Nordwind Air grounds its fleet")["text"].startswith("Nordwind")


def test_half_of_a_surrogate_pair_does_no_harm() -> None:
    assert made(text="up \ud83d down", id="\ud83d")["text"] == "up ? down"


def test_the_language_of_the_connector_counts_where_the_item_names_none() -> None:
    assert made()["lang"] == "en"
    assert made(lang="de")["lang"] == "de"
    assert "lang" not in made(Label("social", "c"))
