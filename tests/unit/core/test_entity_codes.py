"""Which symbols a text writes."""

import pytest

from streams.core.entity_codes import canonical, codes

KNOWN = {"AAPL", "TSLA", "JNJ", "F", "T", "BP.L", "RDSA.L", "BRK.B", "RR.L", "INGA.AS", "SIE.DE"}


def found(text: str) -> list[tuple[str, str, str]]:
    return [
        (code.symbol, text[code.start : code.end], code.form)
        for code in codes(text, KNOWN, {"UP", "ON"})
    ]


@pytest.mark.parametrize(
    ("text", "symbol", "written"),
    [
        ("600519.SH rises", "600519.SH", "600519.SH"),
        ("(600519.SS)", "600519.SH", "600519.SS"),
        ("000001.SZ", "000001.SZ", "000001.SZ"),
        ("0700.HK", "0700.HK", "0700.HK"),
        ("Tencent 700.HK", "0700.HK", "700.HK"),
        ("00700.HK", "0700.HK", "00700.HK"),
        ("<7203.T>", "7203.T", "7203.T"),
        ("005930.KS", "005930.KS", "005930.KS"),
        ("RDSA.L", "RDSA.L", "RDSA.L"),
        ("RELIANCE.NS", "RELIANCE.NS", "RELIANCE.NS"),
        ("shares of Johnson & Johnson <JNJ.N>", "JNJ", "JNJ.N"),
        ("(F.N)", "F", "F.N"),
        ("<BRKb.N>", "BRK.B", "BRKb.N"),
        ("NASDAQ: TSLA", "TSLA", "NASDAQ: TSLA"),
        ("Nasdaq:AAPL", "AAPL", "Nasdaq:AAPL"),
        ("(NYSE American: XYZW)", "XYZW", "NYSE American: XYZW"),
        ("LSE: RR", "RR.L", "LSE: RR"),
        ("TSE: 7203", "7203.T", "TSE: 7203"),
        ("HKEX: 700", "0700.HK", "HKEX: 700"),
        ("SHA:600519", "600519.SH", "SHA:600519"),
    ],
)
def test_exchange_codes_are_read_and_written_one_way(text: str, symbol: str, written: str) -> None:
    assert found(text) == [(symbol, written, "code")]


@pytest.mark.parametrize(
    "text",
    [
        "U.S. and N.V. and S.A. and T.N. Seshan",
        "NASDAQ: UP 2%",
        "NYSE opens, LSE: closed",
        "HE SAID.HE LEFT",
        "<SAPG.DE> <ALLFG.AS>",
        "<SBI.NS>",
        "Vitamin C.O plus",
        "v1.0.HK 12345678.HK 12.SH",
        "amazon.de Apple.com example.L",
        "AAPLS, xAAPL, AAPL-like, AAPL/TSLA, @AAPL, S&T, T&D, A.T. T.T",
        "",
    ],
)
def test_what_only_looks_like_a_code_is_none(text: str) -> None:
    assert found(text) == []


def test_cashtags_take_suffixes_and_classes() -> None:
    assert found("$0700.HK $VOW3.DE $BRK-B $aapl $hit $MOG.A $T.") == [
        ("0700.HK", "$0700.HK", "cashtag"),
        ("VOW3.DE", "$VOW3.DE", "cashtag"),
        ("BRK.B", "$BRK-B", "cashtag"),
        ("AAPL", "$aapl", "cashtag"),
        ("MOG.A", "$MOG.A", "cashtag"),
        ("T", "$T", "cashtag"),
    ]


def test_bare_symbols_are_those_that_are_known() -> None:
    assert found("AAPL's rise, (TSLA) and XYZ or BRK.B; T") == [
        ("AAPL", "AAPL", "bare"),
        ("TSLA", "TSLA", "bare"),
        ("BRK.B", "BRK.B", "bare"),
        ("T", "T", "bare"),
    ]


def test_a_symbol_behind_an_exchange_is_found_once() -> None:
    assert found("AAPL (NASDAQ: AAPL), TSLA") == [
        ("AAPL", "AAPL", "bare"),
        ("AAPL", "NASDAQ: AAPL", "code"),
        ("TSLA", "TSLA", "bare"),
    ]


def test_share_classes_have_a_dot() -> None:
    assert [canonical(symbol) for symbol in ("BRK-B", "BRK.B", "BT-A.L")] == [
        "BRK.B",
        "BRK.B",
        "BT-A.L",
    ]
