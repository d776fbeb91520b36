"""Which companies a text is linked to, and which it must not be."""

import io
import time
from pathlib import Path

import pytest

from streams.core.entities import MAX_ENTITIES, SHIPPED, EntityIndex, Linked
from streams.core.errors import ConfigurationError

INDEX = EntityIndex.load()


def linked(text: str, tickers: tuple[str, ...] = ()) -> dict[str, list[str]]:
    return {
        found.symbol: [text[start:end] for start, end in found.spans]
        for found in INDEX.link(text, tickers)
    }


def dictionary(rows: str) -> io.StringIO:
    return io.StringIO("symbol,name,aliases\n" + rows)


def test_cashtags_names_and_exchange_forms_meet_in_one_company() -> None:
    text = "$BA slips: Boeing Co (NYSE: BA) delays deliveries, and boeing shares follow"
    assert linked(text) == {"BA": ["$BA", "Boeing Co", "NYSE: BA", "boeing"]}


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5, $100M or $1.2bn",
        "holy $hit, $ave now",
        "US$ and A$ fall, U$D 14 too",
        "I ate an apple, hit the target, crossed the gap and met a ford",
        "Fires spread in Brazil's Amazon and along the Amazon River",
        "Intel officials say so",
        "ge bp ubs",
        "Microsofty Intelligence Nokian Boeings",
        "",
    ],
)
def test_plain_words_and_amounts_are_no_companies(text: str) -> None:
    assert linked(text) == {}


def test_share_classes_and_old_symbols_are_one_company() -> None:
    assert linked("$BRK-A $brk.b and Berkshire Hathaway") == {
        "BRK.B": ["$BRK-A", "$brk.b", "Berkshire Hathaway"]
    }
    assert linked("$FB, now Meta Platforms", ("fb",)) == {"META": ["$FB", "Meta Platforms"]}


def test_the_longest_name_wins_and_a_broken_one_does_not_hide_a_shorter() -> None:
    assert linked("Bank of America Merrill Lynch") == {"BAC": ["Bank of America Merrill Lynch"]}
    assert linked("Bank of America Merrill Lynchpin") == {"BAC": ["Bank of America"]}


def test_apostrophes_of_both_kinds_and_letters_that_grow_in_lower_case() -> None:
    assert linked("İİİ McDonald’s and L'Oréal") == {"MCD": ["McDonald’s"], "OR.PA": ["L'Oréal"]}


def test_names_are_found_inside_chinese_text() -> None:
    assert linked("报道称台积电TSMC扩产") == {"TSM": ["台积电", "TSMC"]}


def test_given_tickers_follow_without_spans_and_matter_less() -> None:
    found = INDEX.link("Nokia rises", ("goog", " $600519.sh ", "NOK", "no symbol", "", "A" * 13))
    assert [(f.symbol, f.spans) for f in found] == [
        ("NOK", ((0, 5),)),
        ("GOOG", ()),
        ("600519.SH", ()),
    ]
    assert found[0].relevance > found[1].relevance == found[2].relevance > 0


def test_relevance_is_one_for_a_text_about_one_company_and_falls_with_company() -> None:
    assert INDEX.link("Nokia rises") == (Linked("NOK", ((0, 5),), 1_000_000),)
    alone, late, listed = (
        next(f.relevance for f in INDEX.link(text) if f.symbol == "NOK")
        for text in ("Nokia rises", "Shares of Nokia", "Nokia Ericsson $AAPL $BA $KO $T $XOM")
    )
    assert alone > late > listed


def test_a_list_of_five_hundred_cashtags_yields_at_most_fifty() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    text = " ".join(f"${a}{b}{a}" for a in letters for b in letters)
    found = INDEX.link(text, [f"X{n}" for n in range(1000)])
    assert len(found) == MAX_ENTITIES
    assert all(f.spans and f.relevance > 0 for f in found)


@pytest.mark.parametrize(
    "unit",
    [
        *("$AAPL", "$", "$A.", "Amazon ", "Bank of America Merrill ", "NYSE: ", "a", "İ", "\ud800"),
        *(
            "Apple ",
            "Apple CEO ",
            "Target",
            "T, ",
            "AAPL T ",
            "ON ",
            "BAC  ",
            "NYSE:",
            "0700.HK ",
            "A.B.",
        ),
        *("Best Buy of ", "Shell's a a ", "(", " ", "9", "iPhone Apple "),
    ],
)
def test_time_is_linear_in_the_length(unit: str) -> None:
    def cost(length: int) -> float:
        text = (unit * length)[:length]
        best = float("inf")
        for _ in range(3):
            begin = time.process_time()
            INDEX.link(text)
            best = min(best, time.process_time() - begin)
        return best

    # Sixteen times the text; quadratic time would take 256 times as long.
    assert cost(64_000) < 80 * max(cost(4_000), 0.0005)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (
            "NOK,Nokia,\nNKA,nokia,\n",
            "dictionary, line 3: 'nokia' is already at dictionary, line 2",
        ),
        ("NOK,Nokia,Nokia\n", "line 2: 'Nokia' is already"),
        ("NOK,Nokia,\nX,Xerxes,$NOK\n", "line 3: '$NOK' is already"),
        ("nok,Nokia,\n", "line 2: 'nok' is no symbol"),
        ("BRK-B,Berkshire,\n", "is no symbol"),
        ("NOK,,\n", "line 2: the name is missing"),
        ("NOK,Nokia\n", "line 2: 2 columns"),
        ("NOK,Nokia,...\n", "line 2: '...' can't be an alias"),
        ("NOK,Nokia,a||b\n", "line 2: '' can't be an alias"),
        ('NOK,"Nokia,\n', "line 2"),
    ],
)
def test_a_faulty_dictionary_is_refused_with_its_line(rows: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        EntityIndex.load(dictionary(rows))
    assert complaint in str(caught.value)


def test_a_wrong_header_and_a_missing_file_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="header"):
        EntityIndex.load(io.StringIO("ticker;name\n"))
    with pytest.raises(ConfigurationError, match="nowhere"):
        EntityIndex.load("nowhere.csv")


def test_dictionaries_add_to_one_another() -> None:
    index = EntityIndex.load(
        dictionary("NOK,Nokia,\n"), dictionary("NOK,Nokia Oyj,\n\nVLT,Voltara,!Voltara Energy\n")
    )
    assert [f.symbol for f in index.link("nokia oyj, voltara and Voltara Energy")] == ["NOK", "VLT"]
    assert len(index) == 3


def test_an_empty_dictionary_still_links_cashtags() -> None:
    assert [f.symbol for f in EntityIndex.load(dictionary("")).link("$NOK Nokia")] == ["NOK"]


def test_a_later_dictionary_wins_over_an_earlier_one() -> None:
    index = EntityIndex.load(
        dictionary("TGT,Target,!?Target|Target Corp\nNOK,Nokia,\nX,Xerxes,\n"),
        dictionary("AIM,Target,\nNOKIA.HE,Nokia Oyj,$NOK\n-,Not ours,!Xerxes\n"),
    )
    text = "Target, target corp, Nokia, $NOK, Xerxes, $X"
    assert [(f.symbol, [text[s:e] for s, e in f.spans]) for f in index.link(text, ("nok",))] == [
        ("AIM", ["Target"]),
        ("TGT", ["target corp"]),
        ("NOKIA.HE", ["Nokia", "$NOK"]),
        ("X", ["$X"]),
    ]


def test_a_dictionary_says_what_is_ambiguous_and_what_must_be_written_so() -> None:
    index = EntityIndex.load(dictionary("VLT,Volt,!?Volt|=Volt Power|VLT\n"))
    for text, symbols in [
        ("one volt, one Volt", []),
        ("Volt shares fall", ["VLT"]),
        ("$VLT: Volt is up", ["VLT"]),
        ("volt power", []),
        ("Volt Power", ["VLT"]),
        ("VLT and vlt", ["VLT"]),
    ]:
        assert [found.symbol for found in index.link(text)] == symbols, text


@pytest.mark.parametrize("alias", ["?", "=", "?$VLT", "=$VLT", "$", "$v-lt"])
def test_a_mark_needs_a_name(alias: str) -> None:
    with pytest.raises(ConfigurationError, match=r"line 2: .* can't be an alias"):
        EntityIndex.load(dictionary(f"VLT,Voltara,{alias}\n"))


def test_a_faulty_file_is_refused_with_its_name_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("symbol,name,aliases\nVLT,Voltara,\nvlt,Voltara,\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        EntityIndex.load(*SHIPPED, path)
    assert f"{path}, line 3: 'vlt' is no symbol" in str(caught.value)


def test_the_shipped_dictionaries_are_small_and_load_fast() -> None:
    assert sum(path.stat().st_size for path in SHIPPED) < 200_000
    begin = time.process_time()
    EntityIndex.load()
    assert time.process_time() - begin < 0.5


def test_shipped_symbols_and_names_are_those_of_one_company() -> None:
    text = "$RDSA.L, $BARC.L, <6758.T>, $9988.HK, Royal Dutch Shell, Barclays, Sony, Alibaba"
    assert list(linked(text)) == ["SHEL", "BCS", "SONY", "BABA"]
    assert all(len(spans) == 2 for spans in linked(text).values())
