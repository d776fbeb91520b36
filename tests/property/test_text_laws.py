"""`normalise` is total, idempotent, bounded and quick, whatever authors send."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.text import MAX_CHARS, OTHER, TARGET, normalise, occurrences, with_roles

PIECES = st.sampled_from(
    [
        *("&amp;", "&amp;amp;lt;", "&#91;T]", "&#x5b;", "&lt", "&", "#38;", "＆", "&#38;#91;"),
        *("[T]", "[O]", "[t]", "[", "]", "［T］", "[SEP]", "[\u200bT]", "[[T]]", "[CLS", "mask]"),
        *("RT ", "rt @a: ", "@user", "@USER", "@userx", "@", "@@a", "@a:", "a@b.c", "＠x"),
        *("http://x.y/z", "https:", "www.", "hthttp://tp://", "WWW.A "),
        *("\u200b", "\u202e", "\x00", "\x1c", "\x85", "\ud800", "\ufeff", "\u00ad", "\u2028"),
        *("ﷺ", "e\u200d\u0301", "ﬁ", "Å", "a\u0301\u0323", "\u1100\u1161", "İ", "ß", "Ⅷ"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=60).map("".join)
ROLE_TOKENS = (TARGET, OTHER, "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]")


@settings(max_examples=300, deadline=None)
@given(TEXTS | st.text(st.characters()))
def test_normalising_is_total_idempotent_and_bounded(raw: str) -> None:
    text = normalise(raw)
    assert normalise(text) == text
    assert len(text) <= MAX_CHARS
    assert text == text.strip()
    assert all(char.isprintable() for char in text)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_no_author_can_write_a_role_token(raw: str) -> None:
    text = normalise(raw).upper()
    assert not [token for token in ROLE_TOKENS if token in text]


@settings(max_examples=60, deadline=None)
@given(PIECES | st.text(min_size=1, max_size=3), PIECES)
def test_repeating_a_piece_for_ever_changes_no_law(piece: str, tail: str) -> None:
    text = normalise(piece * 3000 + tail)
    assert normalise(text) == text
    assert len(text) <= MAX_CHARS


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 400), max_size=12, unique=True), st.booleans())
def test_role_tokens_stand_only_where_mentions_were(
    raw: str, cuts: list[int], target_first: bool
) -> None:
    # text:  ....[cut0, cut1)....[cut2, cut3)....   every other one is the target's
    text = normalise(raw)
    places = sorted(min(cut, len(text)) for cut in cuts)
    spans = [(a, b) for a, b in zip(places[::2], places[1::2], strict=False) if a < b]
    target, others = spans[::2], spans[1::2]
    marked = with_roles(text, target, others)
    assert marked.count(TARGET) == len(target)
    assert marked.count(OTHER) == len(others)
    kept = sum(len(text[a:b]) for a, b in spans)
    assert len(marked) == len(text) - kept + 3 * len(spans)


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.text(max_size=4))
def test_every_occurrence_reads_as_the_name(text: str, name: str) -> None:
    for start, end in occurrences(text, name):
        assert len(text[start:end]) == len(name)


@pytest.mark.parametrize(
    "piece",
    [
        *("&amp;", "&", "&amp", "&#38;", "[[", "[T]", "@", "@a", "@a:", "@a: ", "RT ", "RT @a: "),
        *("http:", "www.", "\ufdfa", "\u0301", "\x00", "\u200b", "&#x5b;T]", "a\u0323\u0301"),
        *("&CounterClockwiseContourIntegra", "&#9", " ", "9"),
    ],
)
def test_a_megabyte_of_anything_is_quick(piece: str) -> None:
    raw = piece * (1_000_000 // len(piece))
    began = time.thread_time()
    normalise(raw)
    assert time.thread_time() - began < 0.3


@pytest.mark.parametrize("digits", [999, 1000, 4301, 1_000_000])
def test_a_character_reference_with_thousands_of_digits_is_no_crash(digits: int) -> None:
    assert normalise("a &#" + "9" * digits + "; b").startswith("a \ufffd")
