"""The dictionary of listed companies is what its script makes."""

import pytest

from tools.listed import LISTED, Company, build, companies, text


def rows(*found: Company) -> dict[str, str]:
    return {symbol: f"{name},{aliases}" for symbol, name, aliases in build(found)}


def test_the_committed_file_is_what_the_script_makes() -> None:
    assert text(build(companies())) == LISTED.read_text(encoding="utf-8")


def test_rows_are_sorted_and_symbols_stand_once() -> None:
    symbols = [row[0] for row in build(companies())]
    assert symbols == sorted(set(symbols))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Voltarix", "Voltarix,QZVX"),
        ("Crane", "Crane,!?Crane|QZVX"),
        ("Copper Kettle", "Copper Kettle,!=Copper Kettle|QZVX"),
        ("VTX", "VTX,!?VTX|QZVX"),
    ],
)
def test_a_name_of_words_persons_or_few_letters_is_marked(name: str, expected: str) -> None:
    assert rows(Company("QZVX", name, set(), {name})) == {"QZVX": expected}


def test_a_name_of_two_companies_is_given_to_neither() -> None:
    made = rows(
        Company("QZVX", "Voltarix Foods", set(), {"Voltarix Foods"}, {"Voltarix"}),
        Company("QZVY", "Voltarix Motors", set(), {"Voltarix Motors"}, {"Voltarix"}),
    )
    assert made == {"QZVX": "Voltarix Foods,QZVX", "QZVY": "Voltarix Motors,QZVY"}


def test_a_company_that_was_reviewed_keeps_its_symbol_and_names() -> None:
    made = rows(Company("NOKIA.HE", "Nokia", {"NOK"}, {"Nokia", "Nokia Oyj"}))
    assert made == {"NOK": "Nokia,!$NOKIA.HE"}
