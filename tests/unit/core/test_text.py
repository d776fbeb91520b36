"""What normalising does to texts as people write them."""

import pytest

from streams.core.text import MAX_CHARS, normalise, occurrences, with_roles


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("AT&amp;T &lt;up&gt;", "AT&T <up>"),
        ("Apple &amp;amp; Nokia", "Apple & Nokia"),
        ("RT @bob: Apple gains", "Apple gains"),
        ("RT @bob: RT @amy: Apple gains", "Apple gains"),
        ("RT Apple gains", "Apple gains"),
        ("art of @bob and @amy", "art of @user and @user"),
        ("see https://x.y/z?q=1 now", "see now"),
        ("mail bob@example.org", "mail bob@example.org"),
        ("a\x00b\tc\n\nd", "a b c d"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
        ("Ａｐｐｌｅ ﬁnds", "Apple finds"),
        ("[T] wins, [sep] too", "(T) wins, (sep) too"),
        ("lone \ud800 surrogate", "lone surrogate"),
        (" \u2003 ", ""),
        ("http://only.a/link", ""),
    ],
)
def test_texts_are_normalised(raw: str, text: str) -> None:
    assert normalise(raw) == text


def test_a_long_text_is_clipped() -> None:
    assert normalise("x" * 1_000_000) == "x" * MAX_CHARS


def test_twenty_nested_retweets_lose_all_their_prefixes() -> None:
    nested = "".join(f"RT @user{n}: " for n in range(20))
    assert normalise(nested + "Gold & oil") == "Gold & oil"


def test_roles_replace_mentions() -> None:
    text = "Apple gains as Nokia sinks, says Apple"
    assert with_roles(text, [(0, 5), (33, 38)], [(15, 20)]) == "[T] gains as [O] sinks, says [T]"


def test_names_are_found_as_words_in_any_case() -> None:
    assert occurrences("nokia, NOKIAS and $Nokia Nokia", "Nokia") == ((0, 5), (25, 30))
    assert occurrences("anything", "") == ()
