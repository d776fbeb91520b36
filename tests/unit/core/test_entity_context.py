"""When ambiguous names and symbols are companies."""

from pathlib import Path

import pytest

from streams.core.entities import SHIPPED, EntityIndex
from streams.core.entity_context import CONTEXT, Context
from streams.core.entity_dictionary import read_dictionary
from streams.core.errors import ConfigurationError

INDEX = EntityIndex.load()


def symbols(text: str) -> list[str]:
    return [found.symbol for found in INDEX.link(text)]


@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        ("AAPL", "Apple's new iPad sells out"),
        ("AAPL", "Apple reports record revenue"),
        ("AAPL", "$AAPL slips, and Apple says why"),
        ("AAPL", "Why investors left Apple this quarter"),
        ("TGT", "Target shares fall after a weak Christmas"),
        ("TGT", "Rivals of Target Corp. cut prices; Target follows"),
        ("GAP", "Gap names a new head of Old Navy"),
        ("V", "Visa and Mastercard settle a fee dispute"),
        ("SHEL", "Shell and BP cut their dividends"),
        ("F", "Ford recalls 40,000 pickups"),
        ("XYZ", "Block, Inc. says Cash App grew"),
        ("PGR", "Progressive Corp. premiums rise"),
        ("BBY", "Best Buy stock jumps on holiday sales"),
        ("GE", "GE's stock drops 5 %"),
        ("BALL", "Ball Corp. sells its aerospace unit"),
    ],
)
def test_a_confirmed_name_is_its_company(symbol: str, text: str) -> None:
    assert symbol in symbols(text)


@pytest.mark.parametrize(
    "text",
    [
        "Apple",
        "An Apple a day; Apple pie and Apple growers",
        "Analysts raise the price Target to $40",
        "Target price: 40; Target of 12,000 on the index",
        "Stocks Gap up at the open",
        "The pay Gap widens, earnings Gap narrows",
        "Visa ban hits students; Visa rules change; a Visa for investors",
        "Shell companies hid the profits",
        "Harrison Ford sells his shares",
        "Senate moves to Block the deal",
        "Progressive Democrats want higher taxes",
        "Is this the Best Buy for investors?",
        "Ball shares her story",
        "Robert Crane reports for duty",
        "Barnes & Noble shares soar",
        "GE crops",
        "GM everyone! stocks up",
    ],
)
def test_what_is_refused_or_left_open_is_not_linked(text: str) -> None:
    assert symbols(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AAPL, MSFT, GE, T", ["AAPL", "MSFT", "GE", "T"]),
        ("AAPL ALL MSFT", ["AAPL", "ALL", "MSFT"]),
        ("AAPL MSFT NOW", ["AAPL", "MSFT"]),
        ("WE ARE ALL IN ON IT", []),
        ("IT shares and ALL stocks", []),
        ("T up 2%", []),
        ("AT&T (T) reports", ["T"]),
        ("Vitamin C, Plan D, model T, V for victory", []),
        ("A big day for AAPL, A MSFT", ["AAPL", "MSFT"]),
        ("shares of HAL fall", ["HAL"]),
        ("HAL calls for peace", ["HAL"]),
        ("HAL is a computer", []),
        ("BAC is up for an upgrade", ["BAC"]),
        ("le BAC de Marie", []),
        ("BA, owned by IAG, buys Boeing jets", ["BA"]),
        ("HP gains, said investors", ["HPQ"]),
    ],
)
def test_bare_symbols_need_company(text: str, expected: list[str]) -> None:
    assert symbols(text) == expected


def test_the_mention_of_a_refused_name_is_not_marked_beside_its_company() -> None:
    text = "$AAPL: no Apple pie, but Apple it is"
    (found,) = INDEX.link(text)
    assert [text[start:end] for start, end in found.spans] == ["$AAPL", "Apple"]


def test_every_rule_is_of_a_name_that_a_dictionary_calls_ambiguous() -> None:
    doubtful = {e.alias for path in SHIPPED for e in read_dictionary(path) if e.doubtful}
    assert set(Context.load().names) <= doubtful


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("[names.Apple]", "[names.Apple]\ncolour = true"), "names.Apple.colour"),
        (("near = true", 'near = "perhaps"'), "names.Apple.near"),
        (("'pies?'", "'pies?('"), "names.Apple.not_after"),
        (("forms = [", "form = ["), "forms: Field required"),
        (("ticker_never = ['A',", "ticker_never = ['a',"), "ticker_never"),
        (("[names.Apple]", "[names.Apple"), "ambiguous.toml"),
    ],
)
def test_a_faulty_rule_is_refused_with_its_place(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    path = tmp_path / "ambiguous.toml"
    source = CONTEXT.read_text(encoding="utf-8")
    assert change[0] in source
    path.write_text(source.replace(*change, 1), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        EntityIndex.load(context=path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_rules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        Context.load(tmp_path / "nowhere.toml")
