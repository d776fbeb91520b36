"""Ids are deterministic, and different things have different ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.fingerprint import fingerprint
from streams.core.ids import alert_id, author_hash, canonical_url, make_id, text_id, vote_id

FIELDS = st.lists(st.text(max_size=4), max_size=4)


@given(FIELDS, FIELDS)
def test_ids_are_equal_only_for_equal_fields(one: list[str], two: list[str]) -> None:
    assert (make_id(*one) == make_id(*two)) == (one == two)


@given(st.text(max_size=8), st.integers(0, 8))
def test_a_cut_between_fields_shows(text: str, cut: int) -> None:
    assert make_id(text[:cut], text[cut:]) != make_id(text)


def test_ids_never_change() -> None:
    assert make_id("ab", "c") == "4162491f24e2a1dbaab3ca42bdf6415b"
    assert vote_id("t", "market") == make_id("t", "market")
    assert alert_id("rule", "market", 7) == make_id("rule", "market", "7")


def some_text_id(**changes: object) -> str:
    fields: dict[str, object] = {
        "own_id": None,
        "url": None,
        "author": None,
        "published_at": 1,
        "text": "x",
    }
    source = str(changes.pop("source", "news"))
    return text_id(source, "c", **{**fields, **changes})  # type: ignore[arg-type]


def test_the_senders_id_decides_where_there_is_one() -> None:
    assert some_text_id(own_id="7", text="x") == some_text_id(own_id="7", text="y", url="u")
    assert some_text_id(own_id="7") != some_text_id(own_id="8")


def test_news_without_an_id_go_by_their_canonical_url() -> None:
    one = some_text_id(url="https://A.com/x/?b=2&utm_source=t&a=1#top")
    assert one == some_text_id(url="https://a.com/x?a=1&b=2", text="y")


def test_social_texts_do_not_go_by_url() -> None:
    one = some_text_id(source="social", url="https://a.com", text="x")
    assert one != some_text_id(source="social", url="https://a.com", text="y")


@pytest.mark.parametrize("change", [{"author": "bob"}, {"published_at": 2}, {"text": "y"}])
def test_a_text_without_id_and_url_goes_by_author_time_and_words(change: dict[str, object]) -> None:
    assert some_text_id() == some_text_id()
    assert some_text_id(**change) != some_text_id()


@given(st.text())
def test_any_url_has_a_canonical_form(url: str) -> None:
    assert canonical_url(canonical_url("http://" + url)) == canonical_url("http://" + url)
    canonical_url(url)


def test_a_pseudonym_depends_on_every_byte_of_the_key() -> None:
    long = b"k" * 64
    keys = [b"", b"k", b"K", long, long + b"1", long + b"2"]
    assert len({author_hash(key, "c", "bob") for key in keys}) == len(keys)


def test_a_pseudonym_depends_on_channel_and_author() -> None:
    assert author_hash(b"k", "ab", "c") != author_hash(b"k", "a", "bc")
    assert author_hash(b"k", "c", "bob") == author_hash(b"k", "c", "bob")


@pytest.mark.parametrize(
    "copy",
    [
        "apple gains 5",
        "Apple gains: 5!",
        "@user Apple gains 5",
        "“Apple” gains #5",
        "APPLE GAINS 5",
    ],
)
def test_copies_of_a_story_share_their_fingerprint(copy: str) -> None:
    assert fingerprint(copy) == fingerprint("Apple gains 5")


def test_stories_without_words_are_not_all_the_same() -> None:
    assert len({fingerprint(text) for text in ("🚀🚀", "📉", "!!!", "@user")}) == 4
