"""Finding the companies a text speaks about.

Three forms are linked: cashtags (`$AAPL`), exchange forms (`NYSE: BA`) and names out of
dictionaries (CSV files `symbol,name,aliases`). A wrong link costs more than a missed one, because
it moves the index of a company that the text does not mention, so dictionaries hold unambiguous
names only.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from ahocorasick_rs import AhoCorasick

from streams.core.errors import ConfigurationError

MAX_ENTITIES: Final = 50
"""A text that names more companies than this is a list; the rest is not linked."""

BLOCKED: Final = "-"
"""Symbol of the dictionary rows whose names look like a company's and are not ("Amazon River")."""

SHIPPED: Final = Path(__file__).parent / "data" / "companies.csv"
"""The dictionary that ships with Tickertone."""

_COLUMNS = ["symbol", "name", "aliases"]
_MILLION = 1_000_000
_SHORT_LETTERS = 4
_SYMBOL = re.compile(r"(?=.{1,12}\Z)[A-Z0-9]+(?:[.\-][A-Z0-9]{1,4})?")
_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z]{1,6}(?:[.\-][A-Za-z]{1,2})?)(?![\w$])")
_EXCHANGE = re.compile(
    r"(?<![\w$])(?:NASDAQ|Nasdaq|NYSE(?: American)?|AMEX|LSE|LON|TSX)\s?:\s?"
    r"([A-Z]{1,5}(?:[.\-][A-Z]{1,2})?)(?!\w)"
)
_CLASS = re.compile(r"-(?=[A-Z]\Z)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_QUOTES = str.maketrans("’ʼ‘", "'''")


@dataclass(frozen=True, slots=True)
class Mention:
    """One place at which a text names a company; [start, end) in characters."""

    symbol: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Linked:
    """A company a text speaks about, with all its mentions."""

    symbol: str
    spans: tuple[tuple[int, int], ...]
    """[start, end) in characters, in order; empty where only the sender named the company"""
    relevance: int
    """how much the text is about it, in 10⁻⁶ of 1"""


@dataclass(frozen=True, slots=True)
class _Alias:
    symbol: str
    exact: str | None
    """the only spelling that counts, for names of few letters"""


class EntityIndex:
    """All known names in one automaton. Immutable, so threads may share it."""

    def __init__(self, names: dict[str, _Alias], symbols: dict[str, str]) -> None:
        self._aliases = tuple(names.values())
        self._automaton = AhoCorasick(list(names)) if names else None
        self._symbols = symbols

    @classmethod
    def load(cls, *sources: Path | str | TextIO) -> "EntityIndex":
        """Read dictionaries; without any, the one that ships with Tickertone.

        A row is `symbol,name,aliases`, aliases separated by `|`. The name is an alias too, unless
        the aliases begin with `!` (for names such as "Apple" that are also plain words). An alias
        `$FB` stands for another symbol of the company. The symbol `-` blocks its names. Several
        rows and dictionaries may add names to one symbol.

        Raises:
            ConfigurationError: an unreadable file, a faulty row or a name given twice.
        """
        names: dict[str, _Alias] = {}
        symbols: dict[str, str] = {}
        places: dict[str, str] = {}
        with ExitStack() as stack:
            for source in sources or (SHIPPED,):
                if isinstance(source, Path | str):
                    try:
                        source = stack.enter_context(
                            Path(source).open(encoding="utf-8", newline="")
                        )
                    except OSError as error:
                        raise ConfigurationError(f"no dictionary: {error}") from error
                for place, symbol, alias in _read(source):
                    key = alias.upper() if alias.startswith("$") else _fold(alias)
                    if places.get(key) and (alias != f"${symbol}" or symbols[symbol] != symbol):
                        raise ConfigurationError(f"{place}: {alias!r} is already at {places[key]}")
                    places[key] = place
                    if alias.startswith("$"):
                        symbols[canonical(alias[1:].upper())] = symbol
                    else:
                        short = sum(map(str.isalpha, alias)) <= _SHORT_LETTERS
                        names[key] = _Alias(symbol, alias.translate(_QUOTES) if short else None)
        return cls(names, symbols)

    def __len__(self) -> int:
        """Return how many names are known."""
        return len(self._aliases)

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """Return where the text names companies: in order, the longest at a place, no overlaps."""
        found = [*self._tagged(text), *self._named(text)]
        found.sort(key=lambda mention: (mention.start, -mention.end))
        kept: list[Mention] = []
        at = 0
        for mention in found:
            if mention.start >= at:
                at = mention.end
                kept.append(mention)
        return tuple(mention for mention in kept if mention.symbol != BLOCKED)

    def link(self, text: str, tickers: Sequence[str] = ()) -> tuple[Linked, ...]:
        """Return the companies a text speaks about, in the order of their first mention.

        Companies that only `tickers` names follow, in the order given; what is no symbol is left
        out. At most `MAX_ENTITIES`. Never raises; time is linear in the length of the text.

        Relevance of a mentioned company = (1 - s / 2L) · (1 + k / K) / 2 · min(1, 3 / n), where s
        is the place of its first mention, L the text's length, k and K its mentions and all
        mentions, n the number of companies: 1 for a text about one company that begins with it. A
        company that is only given gets half of the least relevant mentioned one's, or
        min(1, 3 / n) / 2 where none is mentioned.

        Args:
            text: A normalised text; spans are of this string.
            tickers: Symbols that the sender gave, in any case, such as `aapl` or `600519.SH`.
        """
        spans: dict[str, list[tuple[int, int]]] = {}
        for mention in self.mentions(text):
            spans.setdefault(mention.symbol, []).append((mention.start, mention.end))
        mentioned = len(spans)
        for ticker in tickers:
            symbol = self._symbol(ticker)
            if symbol:
                spans.setdefault(symbol, [])
        kept = list(spans.items())[:MAX_ENTITIES]
        crowd = max(3, len(kept))
        total = sum(len(places) for _, places in kept)
        linked: list[Linked] = []
        least = _MILLION * 3 // crowd
        for symbol, places in kept[:mentioned]:
            position = 2 * len(text) - places[0][0]
            relevance = (_MILLION * position * (total + len(places)) * 3) // (
                4 * len(text) * total * crowd
            )
            least = min(least, relevance)
            linked.append(Linked(symbol, tuple(places), relevance))
        linked += [Linked(symbol, (), least // 2) for symbol, _ in kept[mentioned:]]
        return tuple(linked)

    def _symbol(self, ticker: str) -> str | None:
        symbol = canonical(ticker.strip().removeprefix("$").upper())
        if not _SYMBOL.fullmatch(symbol):
            return None
        symbol = self._symbols.get(symbol, symbol)
        return None if symbol == BLOCKED else symbol

    def _tagged(self, text: str) -> Iterator[Mention]:
        for match in _CASHTAG.finditer(text):
            written = match[1]
            symbol = canonical(written.upper())
            # "$hit" and "$ave" are no shares: small letters only for symbols we know.
            if written.isupper() or (len(symbol) > 1 and symbol in self._symbols):
                yield Mention(self._symbols.get(symbol, symbol), *match.span())
        for match in _EXCHANGE.finditer(text):
            symbol = canonical(match[1])
            yield Mention(self._symbols.get(symbol, symbol), *match.span())

    def _named(self, text: str) -> Iterator[Mention]:
        if self._automaton is None:
            return
        # Overlapping matches: a longer name that fails at its word border must not hide a shorter.
        found = self._automaton.find_matches_as_indexes(_fold(text), overlapping=True)
        for index, start, end in found:
            if not (_is_border(text, start - 1, start) and _is_border(text, end - 1, end)):
                continue
            alias = self._aliases[index]
            if alias.exact is None or text[start:end].translate(_QUOTES) == alias.exact:
                yield Mention(alias.symbol, start, end)


def canonical(symbol: str) -> str:
    """Return the one way we write a symbol: share classes with a dot, `BRK.B`."""
    return _CLASS.sub(".", symbol)


def _fold(text: str) -> str:
    """Fold case and apostrophes without moving any character."""
    folded = text.lower()
    if len(folded) != len(text):
        folded = "".join(low if len(low := char.lower()) == 1 else char for char in text)
    return _SURROGATE.sub("\ufffd", folded.translate(_QUOTES))


def _is_border(text: str, left: int, right: int) -> bool:
    """Return whether a word may end at `left` and another begin at `right`."""
    if left < 0 or right >= len(text):
        return True
    a, b = text[left], text[right]
    if a in "$_" or b == "_":
        return False
    # Chinese and Japanese don't separate words, so there every place is a border.
    return not (a.isalnum() and b.isalnum()) or _is_ideograph(a) or _is_ideograph(b)


def _is_ideograph(char: str) -> bool:
    return "\u3040" <= char <= "\u9fff"


def _read(source: TextIO) -> Iterator[tuple[str, str, str]]:
    """Yield (place, symbol, alias) of every row; `$SYMBOL` stands for the symbol itself."""
    name = str(getattr(source, "name", "dictionary"))
    rows = csv.reader(source)
    try:
        if next(rows, None) != _COLUMNS:
            raise ConfigurationError(f"{name}, line 1: the header must be {','.join(_COLUMNS)}")
        for row in rows:
            yield from _aliases(f"{name}, line {rows.line_num}", row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}: {error}") from error


def _aliases(place: str, row: list[str]) -> Iterable[tuple[str, str, str]]:
    if not row:
        return
    if len(row) != len(_COLUMNS):
        raise ConfigurationError(f"{place}: {len(row)} columns instead of {len(_COLUMNS)}")
    symbol, name, listed = (cell.strip() for cell in row)
    if symbol != BLOCKED:
        if not _SYMBOL.fullmatch(symbol) or canonical(symbol) != symbol:
            raise ConfigurationError(f"{place}: {symbol!r} is no symbol (such as AAPL or BRK.B)")
        yield place, symbol, f"${symbol}"
    if not name:
        raise ConfigurationError(f"{place}: the name is missing")
    without_name = listed.startswith("!")
    aliases = [alias.strip() for alias in listed.removeprefix("!").split("|")] if listed else []
    if not without_name:
        aliases.insert(0, name)
    for alias in aliases:
        if alias.startswith("$"):
            known = bool(_SYMBOL.fullmatch(alias[1:]))
        else:
            known = any(map(str.isalnum, alias))
        if not known or not alias.isprintable():
            raise ConfigurationError(f"{place}: {alias!r} can't be an alias")
        yield place, symbol, alias
