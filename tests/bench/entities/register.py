"""Which company a name stands for, from lists that linking does not read.

The lists of the data folder (`tickers_us`, `tickers_in`) say which names are companies and under
which symbols. The shipped dictionaries only say which of these companies linking can know, and
under which symbol it knows them.
"""

import csv
import gzip
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cleanco import basename

from streams.core.entities import SHIPPED, EntityIndex
from streams.core.entity_codes import canonical
from streams.core.entity_dictionary import BLOCKED, read_dictionary

Kind = Literal["cashtag", "exchange code", "name", "ambiguous name", "bare symbol"]
KINDS: Final[tuple[Kind, ...]] = (
    "cashtag",
    "exchange code",
    "name",
    "ambiguous name",
    "bare symbol",
)

_SHARE = re.compile(
    r"\s*(?: - |\(|\b(?:Common|Class [A-C]\b|Ordinary|American Depos|Depos|ADS\b|ADR\b|Sponsored"
    r"|New York Reg|Series [A-Z]\b|Subordinate|Limited Partner|Each\b|each\b)).*"
)
_NO_COMPANY = re.compile(
    r"\b(?:ETF|ETN|Fund|Funds|Warrants?|Units?|Rights?|Notes?|Preferred|Debentures?|Index|Acquisition"
    r"|Portfolio|Bond|due|%)\b"
)
_BARE = re.compile(r"[A-Z]{1,5}(?:\.[AB])?")
_MARKS = re.compile(r"[^\w&]+")
_OF_INDIA = re.compile(r"\.(?:NS|BO)\Z")
INDIAN: Final = frozenset({"INFY", "TTM", "WIT", "HDB", "IBN", "RDY"})
"""Indian companies that the dictionaries know by their American symbol."""


INDICES: Final = frozenset({"nasdaq", "dow", "dow jones", "nyse", "ftse", "nifty", "msci"})
"""What annotators mean by these is an index or an exchange, not the company of that name."""


@dataclass(frozen=True, slots=True)
class Company:
    """What a name stands for."""

    symbol: str
    known: bool
    """whether the shipped dictionaries have the company"""


class Register:
    """Names of listed companies."""

    def __init__(self, data: Path) -> None:
        """Read the lists of a data folder."""
        self.index = EntityIndex.load()
        self._mine: dict[str, str] = {}
        self._doubtful: set[str] = set()
        symbols: dict[str, str] = {}
        for source in SHIPPED:
            for entry in read_dictionary(source):
                if entry.alias.startswith("$"):
                    symbols[canonical(entry.alias[1:])] = entry.symbol
                elif entry.symbol != BLOCKED:
                    self._mine[fold(entry.alias)] = entry.symbol
                    if entry.doubtful:
                        self._doubtful.add(entry.alias)
        self.symbols = symbols
        self._american: dict[str, set[str]] = defaultdict(set)
        for row in _rows(data / "tickers_us.csv.gz"):
            if not _NO_COMPANY.search(row["name"]):
                symbol = canonical(row["symbol"].replace("-", "."))
                self._american[fold(_SHARE.sub("", row["name"]))].add(symbols.get(symbol, symbol))
        self._indian: dict[str, str] = {}
        for row in _rows(data / "tickers_in.csv.gz"):
            names = {fold(name) for name in row["names"].split("|")}
            of_mine = {self._mine[name] for name in names if name in self._mine}
            own = sorted(s for s in of_mine if _OF_INDIA.search(s) or s in INDIAN)
            for name in names:
                self._indian[name] = own[0] if own else f"{row['symbol']}.NS"

    def company(self, entity: str, *, indian: bool) -> Company | None:
        """Return the company that an annotated name stands for; None where no list has it.

        Args:
            entity: The name as annotators wrote it.
            indian: Whether the text is about the Indian market, where "Siemens" is Siemens Ltd of
                Mumbai and not its parent.
        """
        name = fold(entity)
        if name in INDICES:
            return None
        american = self._american.get(name, set())
        symbols = set(self.symbols.values())
        if indian and name in self._indian:
            symbol = self._indian[name]
        elif len(american) == 1:
            (symbol,) = american
        elif name in self._mine:
            symbol = self._mine[name]
        elif name in self._indian:
            symbol = self._indian[name]
        else:
            return None
        return Company(symbol, symbol in symbols)

    def is_ambiguous(self, name: str) -> bool:
        """Return whether the dictionaries call a name ambiguous."""
        return name in self._doubtful

    def names(self, symbol: str, written: str) -> bool:
        """Return whether the American list has a name for this company alone."""
        return self._american.get(fold(written)) == {symbol}

    def kind(self, written: str, symbol: str) -> Kind:
        """Return by which form a mention was linked."""
        if written.startswith("$"):
            return "cashtag"
        if written in self._doubtful:
            return "ambiguous name"
        if _BARE.fullmatch(written) and self.symbols.get(written) == symbol:
            return "bare symbol"
        if fold(written) in self._mine:
            return "name"
        return "exchange code"


def fold(name: str) -> str:
    """Return a name without case, marks and legal forms."""
    name = _MARKS.sub(" ", basename(name.strip().removeprefix("The "))).strip().lower()
    return name.removesuffix("'s").removesuffix(" s")


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)
