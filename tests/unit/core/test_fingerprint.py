"""Near copies agree, other texts don't, and short texts are copies word by word only."""

import pytest

from streams.core.fingerprint import AGREE, PLACES, agreement, bands, fingerprint
from streams.core.text import is_repost

STORY = "Acme raises its outlook for the full year after a record quarter, shares jump"


def agreeing(one: str, other: str) -> int:
    return agreement(int(fingerprint(one), 16), int(fingerprint(other), 16))


@pytest.mark.parametrize(
    "copy",
    [
        "ACME raises its outlook for the full year, after a record quarter: shares jump",
        "Acme raises its outlook for the full year after a record quarter, shares ju…",
        "Wow! Acme raises its outlook for the full year after a record quarter, shares jump",
        "Acme raises its outlook for the full year after a record quarter, shares jump $ACME",
    ],
)
def test_near_copies_tell_the_same_story(copy: str) -> None:
    assert agreeing(STORY, copy) >= AGREE


@pytest.mark.parametrize(
    "other",
    [
        "Globex lowers its outlook for the third time this year, the shares fall to a new low",
        "Shares of Acme jump to a record in New York after it raises what it expects of the year",
    ],
)
def test_a_retold_or_another_story_is_its_own(other: str) -> None:
    assert agreeing(STORY, other) < AGREE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Buy $ACME now", "Sell $ACME now"),
        ("$ACME up 5 % today", "$ACME up 6 % today"),
        ("long $ACME", "long $ACMEX"),
        ("🚀", "📉"),
    ],
)
def test_short_texts_are_copies_word_by_word_only(one: str, other: str) -> None:
    assert agreeing(one, other) < AGREE
    assert agreeing(one, one.upper()) == PLACES


def test_fingerprints_are_the_same_on_every_machine() -> None:
    assert [
        fingerprint(text) for text in (STORY, "Buy $ACME now", "🚀", "平安银行" * 20)
    ] == EXPECTED


EXPECTED = ["7df461472f1da1e8", "59a0a5e43431b2d6", "823ec097d89ac896", "31afa71d05817e86"]


def test_half_of_a_pair_is_only_another_character() -> None:
    assert agreeing(STORY + " \ud83d", STORY) >= AGREE


def test_what_agrees_in_six_places_shares_a_band_wherever_the_other_two_lie() -> None:
    sketch = 0x0102030405060708
    for one in range(PLACES):
        for two in range(PLACES):
            other = sketch ^ (0xFF << 8 * one) ^ (0 if one == two else 0xFF << 8 * two)
            assert agreement(sketch, other) == PLACES - len({one, two})
            assert set(bands(sketch)) & set(bands(other))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("RT @someone: Acme is up", True),
        ("So true! RT @someone Acme is up", True),
        ("MT @someone: Acme is up", True),
        ("Acme is up", False),
        ("START @someone", False),
        ("Thanks @someone", False),
    ],
)
def test_a_repeated_text_says_so(text: str, says: bool) -> None:
    assert is_repost(text) == says
