"""Finding the companies a text speaks about.

Three forms are linked: cashtags (`$AAPL`), exchange codes (`NYSE: BA`, `600519.SH`) and names out
of dictionaries (CSV files `symbol,name,aliases`). A wrong link costs more than a missed one,
because it moves the index of a company that the text does not mention: a name or a bare symbol that
can mean something else counts only where its surroundings confirm it. docs/entities.md has the
whole story and the figures.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TextIO

from ahocorasick_rs import AhoCorasick

from streams.core.entity_codes import SYMBOL, Code, canonical, codes
from streams.core.entity_context import CONTEXT, Context, Rule, Surroundings
from streams.core.entity_dictionary import BLOCKED, Entry, read_dictionary
from streams.core.errors import ConfigurationError

MAX_ENTITIES: Final = 50
"""A text that names more companies than this is a list; the rest is not linked."""

_DATA: Final = Path(__file__).parent / "data"

SHIPPED: Final = (_DATA / "listed.csv", _DATA / "companies.csv")
"""The dictionaries that ship with Tickertone: made from a package, and reviewed by hand."""

_MILLION = 1_000_000
_SHORT_LETTERS = 4
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_QUOTES = str.maketrans("’ʼ‘", "'''")
_LIST_GAP = re.compile(r"[\s,;/|+&]{1,3}")


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
    """the only spelling that counts, for names of few letters and ambiguous ones"""
    rule: Rule | None = None
    """what must confirm the name, if it is ambiguous"""


@dataclass(frozen=True, slots=True)
class _Pattern:
    alias: _Alias | None
    hints: frozenset[str]
    """symbols of the companies whose ambiguous names it confirms"""


class EntityIndex:
    """All known names in one automaton. Immutable, so threads may share it."""

    def __init__(
        self,
        names: Mapping[str, _Alias],
        symbols: Mapping[str, str],
        context: Context | None = None,
    ) -> None:
        self._count = len(names)
        self._symbols = symbols
        self._context = context
        self._certain = frozenset(
            alias.exact
            for alias in names.values()
            if alias.exact and alias.rule is None and symbols.get(alias.exact) == alias.symbol
        )
        # "HP" is a name of one company and the symbol of another, which it means less often.
        self._names_of_others = frozenset(
            alias.exact
            for alias in names.values()
            if alias.exact and symbols.get(alias.exact, alias.symbol) != alias.symbol
        )
        self._traded = frozenset(
            alias.exact
            for alias in names.values()
            if alias.rule
            and alias.exact
            and symbols.get(alias.exact) == alias.symbol
            and context is not None
            and alias.exact not in context.names
        )
        patterns = {key: _Pattern(alias, frozenset()) for key, alias in names.items()}
        for alias in names.values():
            for hint in alias.rule.hints if alias.rule else ():
                old = patterns.get(_fold(hint), _Pattern(None, frozenset()))
                patterns[_fold(hint)] = replace(old, hints=old.hints | {alias.symbol})
        self._patterns = tuple(patterns.values())
        self._automaton = AhoCorasick(list(patterns)) if patterns else None

    @classmethod
    def load(cls, *sources: Path | str | TextIO, context: Path = CONTEXT) -> "EntityIndex":
        """Read dictionaries; without any, those that ship with Tickertone.

        `read_dictionary` says what a row is. Several rows and dictionaries may add names to one
        symbol. Where two dictionaries give one name to different companies, the later one counts.

        Args:
            sources: Dictionaries, the weaker first.
            context: What confirms and refuses ambiguous names.

        Raises:
            ConfigurationError: an unreadable file, a faulty row or rule, or a name that stands
                twice in one dictionary.
        """
        rules = Context.load(context)
        names: dict[str, _Alias] = {}
        symbols: dict[str, str] = {}
        for source in sources or SHIPPED:
            places: dict[str, Entry] = {}
            for entry in read_dictionary(source):
                tag = entry.alias.startswith("$")
                key = entry.alias.upper() if tag else _fold(entry.alias)
                other = places.get(key)
                if other and (entry.alias != f"${entry.symbol}" or other.symbol != entry.symbol):
                    raise ConfigurationError(
                        f"{entry.place}: {entry.alias!r} is already at {other.place}"
                    )
                places[key] = entry
                if tag:
                    symbols[canonical(key[1:])] = entry.symbol
                else:
                    names[key] = _alias(entry, rules)
        # A later dictionary may call a company by another symbol.
        for key, alias in names.items():
            symbol = symbols.get(alias.symbol, alias.symbol)
            if symbol != alias.symbol:
                names[key] = replace(alias, symbol=symbol)
        return cls(names, symbols, rules)

    def __len__(self) -> int:
        """Return how many names are known."""
        return self._count

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """Return where the text names companies: in order, the longest at a place, no overlaps."""
        certain: list[Mention] = []
        doubtful: list[tuple[Mention, Rule]] = []
        hinted: set[str] = set()
        for start, end, pattern in self._matches(text):
            hinted |= pattern.hints
            alias = pattern.alias
            if alias is None or not _is_spelt(alias, text, start, end):
                continue
            mention = Mention(alias.symbol, start, end)
            if alias.rule is None:
                certain.append(mention)
            else:
                doubtful.append((mention, alias.rule))
        words = self._context.words if self._context else frozenset[str]()
        tickers = [
            code
            for code in codes(text, self._symbols, words)
            if code.form != "bare" or code.symbol not in self._names_of_others
        ]
        bare: list[Code] = []
        around = self._context.around(text) if self._context and (doubtful or tickers) else None
        for code, sure in zip(tickers, self._sure(text, tickers, around), strict=True):
            if sure:
                certain.append(Mention(self._company(code.symbol), code.start, code.end))
            elif code.form == "bare":
                bare.append(code)
        kept = _apart(certain)
        if self._context and around and (doubtful or bare):
            anchors = hinted.union(mention.symbol for mention in kept)
            confirmed = [
                mention
                for mention, rule in doubtful
                if self._context.is_company(
                    around, mention.start, mention.end, rule, anchored=mention.symbol in anchors
                )
            ]
            anchors.update(mention.symbol for mention in confirmed)
            for code in bare:
                company = self._company(code.symbol)
                if company in anchors and code.symbol not in self._context.never:
                    confirmed.append(Mention(company, code.start, code.end))
            kept = _apart([*kept, *(mention for mention in confirmed if _is_free(mention, kept))])
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

    def _company(self, symbol: str) -> str:
        return self._symbols.get(symbol, symbol)

    def _symbol(self, ticker: str) -> str | None:
        symbol = canonical(ticker.strip().removeprefix("$").upper())
        if not SYMBOL.fullmatch(symbol):
            return None
        symbol = self._company(symbol)
        return None if symbol == BLOCKED else symbol

    def _matches(self, text: str) -> Iterator[tuple[int, int, _Pattern]]:
        if self._automaton is None:
            return
        # Overlapping matches: a longer name that fails at its word border must not hide a shorter.
        found = self._automaton.find_matches_as_indexes(_fold(text), overlapping=True)
        for index, start, end in found:
            if _is_border(text, start - 1, start) and _is_border(text, end - 1, end):
                yield start, end, self._patterns[index]

    def _sure(self, text: str, tickers: Sequence[Code], around: Surroundings | None) -> list[bool]:
        """Return which of the symbols that a text writes need no company beside them.

        In a list with a sure symbol ("AAPL, MSFT, GE, T") the others are symbols too: one of a
        single letter if there are two sure ones, one that is a word only between two of them.
        """
        context = self._context
        if context is None or around is None:
            return [code.form != "bare" for code in tickers]
        sure = [
            code.form != "bare"
            or code.symbol in self._certain
            or context.is_ticker(around, code.start, code.end, traded=code.symbol in self._traded)
            for code in tickers
        ]
        begin = 0
        for at in range(1, len(tickers) + 1):
            if at < len(tickers) and _is_listed(text, tickers[at - 1], tickers[at]):
                continue
            firm = [place for place in range(begin, at) if sure[place]]
            for place in range(begin, at) if firm else ():
                symbol = tickers[place].symbol
                if symbol in context.words:
                    sure[place] |= firm[0] < place < firm[-1] and symbol not in context.never
                else:
                    sure[place] |= len(symbol) > 1 or len(firm) > 1
            begin = at
        return sure


def _alias(entry: Entry, rules: Context) -> _Alias:
    if entry.doubtful:
        return _Alias(entry.symbol, entry.alias.translate(_QUOTES), rules.rule(entry.alias))
    short = sum(map(str.isalpha, entry.alias)) <= _SHORT_LETTERS
    exact = short or entry.exact or entry.alias == entry.symbol
    return _Alias(entry.symbol, entry.alias.translate(_QUOTES) if exact else None)


def _apart(found: Iterable[Mention]) -> list[Mention]:
    """Return mentions in order without overlaps: the longest of those that begin first."""
    kept: list[Mention] = []
    at = 0
    for mention in sorted(found, key=lambda mention: (mention.start, -mention.end)):
        if mention.start >= at:
            at = mention.end
            kept.append(mention)
    return kept


def _is_free(mention: Mention, kept: Sequence[Mention]) -> bool:
    """Return whether a mention touches none of those kept, which are in order."""
    after = bisect_left(kept, mention.end, key=lambda other: other.start)
    return after == 0 or kept[after - 1].end <= mention.start


def _is_spelt(alias: _Alias, text: str, start: int, end: int) -> bool:
    return alias.exact is None or text[start:end].translate(_QUOTES) == alias.exact


def _is_listed(text: str, left: Code, right: Code) -> bool:
    """Return whether nothing but the separator of a list stands between two symbols."""
    gap = text[left.end : right.start]
    return len(gap) <= 3 and _LIST_GAP.fullmatch(gap) is not None


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
