"""Make the dictionary of listed companies out of the package pytickersymbols.

`python -m tools.listed` writes `streams/core/data/listed.csv`: the members of some twenty indices,
sorted by symbol, with the names that are safe to look for in texts. What can be decided without
reading texts is decided here:

- Companies that the reviewed dictionary has keep its symbol and its names.
- A word or a person's name ("Gap", "Crane") is ambiguous, `?Crane`: it counts only where its
  surroundings confirm it. Two of them ("Best Buy", "Charles Schwab") count as written.
- A name that two companies would share is given to neither.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from importlib.metadata import version
from typing import Any, Final, Literal

from cleanco import basename
from english_words import get_english_words_set
from pytickersymbols import PyTickerSymbols

from streams.core.entities import SHIPPED
from streams.core.entity_codes import canonical
from streams.core.entity_context import Context
from streams.core.entity_dictionary import BLOCKED, is_symbol, read_dictionary

LISTED, REVIEWED = SHIPPED

_KIND: Final = (
    "Group|Holdings?|Technologies|Technology|Systems|Pharmaceuticals?|Therapeutics|Industries"
    "|International|Networks?|Semiconductors?|Biosciences|Laboratories|Communications|Motors?"
    "|Corporation|Company|Companies|Software|Brands|Entertainment|Energy|Materials|Bancorp|Bancshares"
    "|Financial|Insurance|Properties|Realty|REIT|Trust|Foods|Healthcare|Medical|Solutions|Resources"
)
"""Last words that say what a company does; people leave them out where the rest is unmistakable."""

_TAIL = re.compile(rf",? (?:{_KIND})\Z")
_NOTE = re.compile(r"\s*\([^)]*\)\s*\Z")
_CLASS_LETTER = re.compile(r"(?<=[a-zäöü])[ABC]\Z")
_PLAIN = re.compile(r"[A-Z]{4,5}\Z")
_EXCHANGES: Final = {
    "Belgium": ".BR",
    "Finland": ".HE",
    "France": ".PA",
    "Germany": ".DE",
    "Luxembourg": ".AS",
    "Netherlands": ".AS",
    "Spain": ".MC",
    "Sweden": ".ST",
    "Switzerland": ".SW",
    "United Kingdom": ".L",
}
"""Suffix of the home exchange, for symbols that the package gives without one."""

_WRONG: Final = frozenset(
    [
        "4704",
        "6841",
        "BALY",
        "BSU",
        "DUERF",
        "ESGRO",
        "ISG",
        "OEC",
        "SI",
        "STM",
        "STMPA.PA",
        "WHF4",
        "XON",
    ]
)
"""Symbols that the package gives to the wrong company; found by reading those of foreigners."""

_GENERIC: Final = frozenset(
    [
        "Air Lease",
        "Banner Bank",
        "Career Education",
        "City Holding",
        "Clear Secure",
        "Equity Residential",
        "Global Payments",
        "Heritage Financial",
        "Independent Bank",
        "Liquidity Services",
        "Preferred Bank",
        "Public Storage",
        "Select Medical",
        "Strategic Education",
        "Waste Management",
    ]
)
"""Names of two words that headlines also write for the thing; found by reading all such names."""

_PLAIN_WORDS: Final = frozenset(
    [
        "Gates",
        "Independent",
        "Interface",
        "Investor",
        "News",
        "Noble",
        "Pool",
        "Rational",
        "Recruit",
        "SHIFT",
        "Southern",
        "Stride",
        "Universal",
        "Waters",
    ]
)
"""Names that no context saves: what confirms a company stands beside the plain word as often."""

_CITIES: Final = frozenset(
    ["chiba", "fukuoka", "gunma", "hiroshima", "kobe", "kyoto", "nagoya", "shizuoka", "yokohama"]
)

_FORMS: Final = frozenset(["inc", "corp", "corporation", "company", "plc", "co", "ag"])
_SHORT: Final = 3
"""Letters up to which a name is as ambiguous as a symbol."""

_COMMON_NAME: Final = 0.001
"""Share of Americans, in per cent, from which a surname is a person's name to readers."""


@dataclass(slots=True)
class Company:
    """A company of the package, as the dictionary will have it."""

    symbol: str
    name: str
    symbols: set[str] = field(default_factory=set)
    """others that stand for it"""
    names: set[str] = field(default_factory=set)
    stems: set[str] = field(default_factory=set)
    """names without what the company does; they must be unmistakable"""


def companies() -> Iterator[Company]:
    """Yield the companies of the package that have a symbol, with all their names."""
    for stock in PyTickerSymbols().get_all_stocks():
        listings = stock.get("symbols") or []
        if any(str(each["yahoo"]).endswith(".ME") for each in listings):
            continue  # listings of another company
        american = [
            canonical(str(each["yahoo"]))
            for each in listings
            if each["currency"] == "USD"
            and not str(each["google"]).startswith("OTC")
            and "." not in str(each["yahoo"])
        ]
        home = _home(stock)
        every = list(dict.fromkeys((*american, home)))
        every = [symbol for symbol in every if is_symbol(symbol) and symbol not in _WRONG]
        if not every:
            continue
        first = home if home in american else every[0]
        name = _CLASS_LETTER.sub("", _NOTE.sub("", str(stock["name"]).replace("–", "-")))
        company = Company(first, name.strip(), set(every) - {first})
        company.names, company.stems = _names(company.name)
        yield company


def _home(stock: dict[str, Any]) -> str:
    """Return the symbol at the home exchange, as far as the package says it."""
    symbol = canonical(str(stock.get("symbol") or "").strip())
    suffix = _EXCHANGES.get(stock.get("country", ""))
    if suffix is None or "." in symbol:
        return symbol
    # Five letters that end so are those of an American receipt.
    return "" if re.fullmatch("[A-Z]{4}[FY]", symbol) else symbol + suffix


def _names(name: str) -> tuple[set[str], set[str]]:
    """Return the names of a company without legal forms, and those that leave out what it does."""
    short = basename(name, prefix=False).removesuffix(" &").removesuffix(",")
    names = {name, name.removesuffix("."), short, short.removeprefix("The ")}
    stems: set[str] = set()
    stem = _TAIL.sub("", short.removeprefix("The "))
    while stem not in names | stems:
        stems.add(stem)
        stem = _TAIL.sub("", stem)
    kinds = set(_KIND.replace("s?", "").split("|"))
    return {each for each in names - kinds if len(each) > 1}, {
        each for each in stems if len(each) > 3
    }


def build(found: Iterable[Company]) -> list[list[str]]:
    """Return the rows of the dictionary, sorted by symbol."""
    reviewed = list(read_dictionary(REVIEWED))
    taken = {entry.alias.lower(): entry.symbol for entry in reviewed}
    words, people = _words() | _places(), _people()
    ordinary = words | people | set(taken) | {word.lower() for word in Context.load().words}
    merged: dict[str, Company] = {}
    for company in found:
        for key in (f"${company.symbol}", *(f"${each}" for each in sorted(company.symbols))):
            if taken.get(key.lower(), BLOCKED) != BLOCKED:
                company.symbols.add(company.symbol)
                company.symbol = taken[key.lower()]
        known = merged.setdefault(company.symbol, company)
        if known is not company:
            known.symbols |= company.symbols
            known.names |= company.names
            known.stems |= company.stems
    claims = Counter(
        name.lower() for company in merged.values() for name in company.names | company.stems
    )
    owners = {c.name.lower(): c.symbol for c in merged.values()}
    rows: list[list[str]] = []
    for symbol in sorted(merged):
        company = merged[symbol]
        mine = {
            name
            for name in company.names | company.stems
            if (claims[name.lower()] == 1 or owners.get(name.lower()) == symbol)
            and name.lower() not in taken
            and name not in _PLAIN_WORDS
        }
        marks = {name: _mark(name, words, people) for name in mine}
        # Small letters make "healthcare services" a thing again.
        stems = {name for name in mine - company.names if not marks[name]}
        marks |= {name: "=" for name in stems if " " in name}
        clear = {name for name, mark in marks.items() if not mark}
        aliases = sorted(clear - {company.name})
        aliases += sorted(
            f"{mark}{name}"
            for name, mark in marks.items()
            if mark and name in company.names | stems
        )
        lower = symbol.lower()
        if _PLAIN.match(symbol) and lower not in ordinary and lower not in map(str.lower, mine):
            aliases.append(symbol)
        others = sorted(f"${each}" for each in company.symbols - {symbol})
        aliases += [each for each in others if each.lower() not in taken]
        head = "" if company.name in clear else "!"
        if head and not aliases:
            continue
        rows.append([symbol, company.name, head + "|".join(_once(aliases))])
    return rows


def _once(aliases: list[str]) -> list[str]:
    """Return aliases without those that differ in case alone."""
    seen: dict[str, str] = {}
    for alias in aliases:
        seen.setdefault(alias.lstrip("?=").lower(), alias)
    return list(seen.values())


def _mark(name: str, words: set[str], people: set[str]) -> Literal["", "=", "?"]:
    """Return the mark of a name that can mean something else: words, persons, or few letters."""
    parts = [part for part in re.split(r"[\s.,&'’+\-/]+", name.lower()) if part]
    if any(part in _FORMS for part in parts[1:]):
        return ""
    if sum(map(str.isalpha, name)) <= _SHORT:
        return "?"
    # "Archer Daniels Midland", "Stanley Black & Decker"
    if len(parts) > 2 or re.search(r"[&+\-]", name):
        return ""
    if not all(_is_word(part, words) or part in people or len(part) == 1 for part in parts):
        return ""
    return "?" if len(parts) == 1 or parts[0] == "the" or name in _GENERIC else "="


def _is_word(part: str, words: set[str]) -> bool:
    return part in words or part.removesuffix("s") in words or part.removesuffix("es") in words


def _words() -> set[str]:
    return set(get_english_words_set(["gcide", "web2"], lower=True))


def _places() -> set[str]:
    """Return the homes of companies in the package ("Zurich"), and cities that name banks."""
    stocks = PyTickerSymbols().get_all_stocks()
    places = {part.strip() for stock in stocks for part in stock.get("country", "").split(",")}
    return {place.lower() for place in places if place.isalpha()} | _CITIES


def _people() -> set[str]:
    """Return first names and the surnames that more than a few Americans have."""
    people: set[str] = set()
    for file in ("dist.all.last", "dist.female.first", "dist.male.first"):
        for line in resources.files("names").joinpath(file).read_text("utf-8").splitlines():
            name, share, *_ = line.split()
            if float(share) >= _COMMON_NAME:
                people.add(name.lower())
    return people


def text(rows: Iterable[list[str]]) -> str:
    """Return the dictionary as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["symbol", "name", "aliases"])
    writer.writerows(rows)
    return out.getvalue()


def main() -> None:
    """Write the dictionary and say what it holds."""
    rows = build(companies())
    LISTED.write_text(text(rows), encoding="utf-8")
    print(f"{len(rows)} companies of pytickersymbols {version('pytickersymbols')} in {LISTED.name}")


if __name__ == "__main__":
    main()
