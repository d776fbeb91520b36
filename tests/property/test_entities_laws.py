"""Laws of linking, for any text."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streams.core.entities import MAX_ENTITIES, EntityIndex
from streams.core.text import TARGET, normalise, with_roles

INDEX = EntityIndex.load()
PIECES = st.sampled_from(
    [
        *(
            "$AAPL",
            "$brk.b",
            "Nokia",
            "nokia",
            "NYSE: BA",
            "AT&T",
            "McDonald’s",
            "台积电",
            "İ",
            " ",
            ".",
        ),
        *(
            "Apple",
            "Target",
            "Gap",
            "T",
            "ON",
            "AAPL",
            "BAC",
            "GE",
            "0700.HK",
            "<JNJ.N>",
            "$0700.HK",
        ),
        *(
            " shares",
            " CEO",
            "'s",
            " price ",
            " pie",
            " iPhone",
            ", ",
            "; ",
            "\n",
            "up 2%",
            "long ",
        ),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join) | st.text()
TICKERS = st.lists(st.sampled_from(["AAPL", "fb", "600519.SH", "$T"]) | st.text(), max_size=8)


@given(TEXTS, TICKERS)
def test_spans_lie_inside_and_never_overlap(text: str, tickers: list[str]) -> None:
    found = INDEX.link(text, tickers)
    spans = sorted(span for linked in found for span in linked.spans)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))


@given(TEXTS, TICKERS)
def test_linking_is_deterministic_ordered_and_bounded(text: str, tickers: list[str]) -> None:
    found = INDEX.link(text, tickers)
    assert found == INDEX.link(text, tickers)
    assert len(found) <= MAX_ENTITIES
    assert len({linked.symbol for linked in found}) == len(found)
    firsts = [linked.spans[0] for linked in found if linked.spans]
    assert firsts == sorted(firsts)
    assert [bool(linked.spans) for linked in found] == sorted(
        (bool(linked.spans) for linked in found), reverse=True
    )
    assert all(0 < linked.relevance <= 1_000_000 for linked in found)


@given(TEXTS, TICKERS)
def test_a_given_ticker_matters_less_than_any_mentioned_one(text: str, tickers: list[str]) -> None:
    found = INDEX.link(text, tickers)
    mentioned = [linked.relevance for linked in found if linked.spans]
    given_only = [linked.relevance for linked in found if not linked.spans]
    assert not mentioned or not given_only or min(mentioned) > max(given_only)


@given(TEXTS)
def test_roles_replace_every_mention(raw: str) -> None:
    text = normalise(raw)
    for linked in INDEX.link(text):
        marked = with_roles(text, linked.spans)
        assert marked.count(TARGET) == len(linked.spans)


@given(TEXTS)
def test_mentions_are_in_order_apart_and_inside(text: str) -> None:
    found = INDEX.mentions(text)
    assert all(0 <= mention.start < mention.end <= len(text) for mention in found)
    assert all(left.end <= right.start for left, right in pairwise(found))


@given(st.sampled_from(["Apple", "Target", "Gap", "Visa", "Ford", "Block", "Progressive"]), TEXTS)
def test_an_ambiguous_name_is_linked_only_as_it_is_written(name: str, text: str) -> None:
    assert not any(
        text[mention.start : mention.end] == name for mention in INDEX.mentions(text.lower())
    )
    assert INDEX.mentions(name) == ()


@given(TEXTS, st.sampled_from(["$AAPL", "Nokia", "0700.HK", "$T"]))
def test_a_sure_mention_stays_whatever_text_comes_before_it(text: str, sure: str) -> None:
    lead = text.rstrip() + " -- . "
    assert any(
        (mention.start, mention.end) == (len(lead), len(lead) + len(sure))
        for mention in INDEX.mentions(lead + sure)
    )
