"""Symbols as they stand in texts: `$AAPL`, `600519.SH`, `NASDAQ: TSLA`, `AAPL`.

One expression finds all forms but those behind an exchange (`NYSE: BA`), which begin at a colon.
How a company is written here is decided in this module: the plain symbol for shares on American
exchanges, else the code of the home exchange with its suffix as Yahoo writes it (`RR.L`,
`0700.HK`), Shanghai as `.SH`, share classes with a dot (`BRK.B`).
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final, Literal

SYMBOL: Final = re.compile(r"[A-Z0-9]{1,12}(?:-[A-Z0-9]{1,4}(?=\.))?(?:[.\-][A-Z0-9]{1,4})?")
"""What can be a symbol at all."""

_HOME: Final = {
    "NASDAQ": "",
    "NYSE": "",
    "NYSE AMERICAN": "",
    "NYSE ARCA": "",
    "NYSE MKT": "",
    "AMEX": "",
    "CBOE": "",
    "OTC": "",
    "OTCMKTS": "",
    "OTCQB": "",
    "OTCQX": "",
    "LSE": ".L",
    "LON": ".L",
    "AIM": ".L",
    "TSX": ".TO",
    "TSXV": ".V",
    "ASX": ".AX",
    "NSE": ".NS",
    "BSE": ".BO",
    "HKEX": ".HK",
    "HKG": ".HK",
    "SEHK": ".HK",
    "SHA": ".SH",
    "SSE": ".SH",
    "SHE": ".SZ",
    "SZSE": ".SZ",
    "TSE": ".T",
    "TYO": ".T",
    "KRX": ".KS",
    "TWSE": ".TW",
    "ETR": ".DE",
    "FWB": ".DE",
    "XETRA": ".DE",
    "EPA": ".PA",
    "AMS": ".AS",
    "EBR": ".BR",
    "BME": ".MC",
    "BIT": ".MI",
    "SIX": ".SW",
    "SWX": ".SW",
    "STO": ".ST",
    "HEL": ".HE",
    "CPH": ".CO",
    "SGX": ".SI",
}
"""Suffix of the symbols of an exchange that stands before them (`NYSE: BA`)."""

_SUFFIXES: Final = {
    # Reuters' codes of American exchanges.
    **dict.fromkeys(("N", "O", "OQ", "K", "A", "US"), ""),
    "SS": ".SH",
    "S": ".SW",
    "VX": ".SW",
    **{
        s: f".{s}"
        for s in (
            *("L", "PA", "DE", "AS", "BR", "MI", "MC", "SW", "ST", "HE", "CO", "OL", "LS", "VI"),
            *("HK", "SH", "SZ", "T", "KS", "KQ", "TW", "NS", "BO", "TO", "V", "AX", "NZ", "SI"),
            *("JO", "SA"),
        )
    },
}
_NUMBERED: Final = {".HK": 4, ".SH": 6, ".SZ": 6, ".T": 4, ".KS": 6, ".KQ": 6, ".TW": 4}
"""Digits in the codes of exchanges that number their shares."""

_LETTERED: Final = frozenset({".NS", ".BO", ".AX"})
"""Suffixes that nothing but an exchange code has."""

_CERTAIN: Final = frozenset("$(<[")
_AMERICAN: Final = frozenset(name for name, suffix in _HOME.items() if not suffix)
_CLASS = re.compile(r"-(?=[A-Z]\Z)")
_SUFFIX: Final = "|".join(sorted(_SUFFIXES, key=len, reverse=True))

# The first character is read before anything else is asked, which makes the search fast; groups
# hold what follows it.
_FORMS = re.compile(
    r"[$A-Z0-9](?<![\w$.&].)(?:"
    rf"(?P<code>[A-Z0-9]{{0,9}}(?:-[A-Z])?|[A-Z]{{1,4}}[ab])\.(?P<suffix>{_SUFFIX})(?![\w$]|\.\w)"
    r"|(?<=\$)(?P<tag>[A-Za-z]{1,6}(?:[.\-][A-Za-z]{1,2})?)(?![\w$])"
    r"|(?<=[A-Z])(?<![#@'’/\-].)(?P<bare>[A-Z]{0,4}(?:\.[AB])?)"
    r"(?![\w$&+]|[.\-/]\w|['’](?!s\b)\w))"
)
_LISTED = re.compile(r":\s?([A-Z0-9]{1,6}(?:[.\-][A-Z]{1,2})?)(?![\w$])")
_EXCHANGE = re.compile(
    r"(?<![\w$])(?:" + "|".join(sorted(_HOME, key=len, reverse=True)) + r")\s?\Z", re.IGNORECASE
)
_EXCHANGE_CHARS: Final = max(map(len, _HOME)) + 2


@dataclass(frozen=True, slots=True)
class Code:
    """A symbol that a text writes; [start, end) in characters."""

    symbol: str
    start: int
    end: int
    form: Literal["cashtag", "code", "bare"]


def canonical(symbol: str) -> str:
    """Return the one way we write a symbol: share classes with a dot, `BRK.B`."""
    return _CLASS.sub(".", symbol)


def codes(text: str, known: Container[str], words: Container[str] = frozenset()) -> Iterator[Code]:
    """Yield the symbols that a text writes, in order, without overlaps.

    Cashtags in capitals and exchange codes that can be nothing else count for any symbol; all
    other forms only for symbols that are known, since "U.S. SHARES: UP" names no company. Bare
    symbols (`AAPL`) need a judgement that is not made here.

    Args:
        text: A normalised text; spans are of this string.
        known: Symbols of the dictionaries, as `canonical` writes them.
        words: Capitals that are words ("NASDAQ: UP 2 %").
    """
    prefixed = list(_prefixed(text, known, words)) if ":" in text else []
    at = 0
    for match in _FORMS.finditer(text):
        start, end = match.span()
        while at < len(prefixed) and prefixed[at].start <= start:
            yield prefixed[at]
            at += 1
        if at and start < prefixed[at - 1].end:
            continue
        written = match[0]
        if match["bare"] is not None:
            if written in known:
                yield Code(written, start, end, "bare")
            continue
        tag = written[0] == "$"
        if match["tag"] is None:
            symbol = _suffixed(
                text[start + tag : match.end("code")],
                match["suffix"],
                known,
                before=text[start] if tag else text[start - 1 : start],
            )
        else:
            symbol = canonical(match["tag"].upper())
            # "$hit" and "$ave" are no shares: small letters only for symbols we know.
            if not (match["tag"].isupper() or (len(symbol) > 1 and symbol in known)):
                symbol = None
        if symbol:
            yield Code(symbol, start, end, "cashtag" if tag else "code")
    yield from prefixed[at:]


def _prefixed(text: str, known: Container[str], words: Container[str]) -> Iterator[Code]:
    for match in _LISTED.finditer(text):
        lead = _EXCHANGE.search(text[max(0, match.start() - _EXCHANGE_CHARS) : match.start()])
        if lead is None:
            continue
        start = match.start() - len(lead[0])
        certain = match[1] not in words or text[start - 1 : start] in _CERTAIN
        symbol = _listed(lead[0].rstrip().upper(), match[1], known, certain=certain)
        if symbol:
            yield Code(symbol, start, match.end(), "code")


def _suffixed(code: str, suffix: str, known: Container[str], *, before: str) -> str | None:
    """Return the symbol of a code with a suffix; `before` is the bracket or `$` before it."""
    if not code:
        return None
    home = _SUFFIXES[suffix]
    if home in _NUMBERED and code.isdigit():
        return _numbered(code, home)
    if home or code[-1].islower():
        symbol = code + home if home else f"{code[:-1]}.{code[-1].upper()}"
        # In angle brackets stand Reuters' codes, which differ from those of the exchange.
        lettered = home in _LETTERED and len(code) > 1 and code.isalpha() and before != "<"
        return symbol if symbol in known or lettered or before == "$" else None
    # A class of shares, `BRK.A`, or Reuters' code, `<JNJ.N>`; elsewhere ".A" and ".N" end a word.
    shares = f"{code}.{suffix}"
    if shares in known:
        return shares
    if before in _CERTAIN and code in known:
        return code
    return shares if before == "$" else None


def _listed(exchange: str, code: str, known: Container[str], *, certain: bool) -> str | None:
    home = _HOME[exchange]
    if home in _NUMBERED and not (exchange == "TSE" and code.isalpha()):
        return _numbered(code, home)
    if exchange == "TSE":
        home = ".TO"
    symbol = code + home if home else canonical(code)
    return symbol if symbol in known or (certain and exchange in _AMERICAN) else None


def _numbered(code: str, home: str) -> str | None:
    """Return a code of digits as the exchange writes it, `0700.HK`; None where it can't be one."""
    if not code.isdigit():
        return None
    digits = _NUMBERED[home]
    if home == ".HK":
        code = code.lstrip("0").zfill(digits)
    return code + home if len(code) == digits else None
