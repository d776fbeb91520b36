"""When an ambiguous name or symbol means a company: rules as data (`data/ambiguous.toml`).

"Apple", "Target" and "T" are names of companies and much else. Such a mention counts only where
something confirms it and nothing refuses it; what is left open is not linked.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from streams.core.datafile import data_file

CONTEXT: Final = Path(__file__).parent / "data" / "ambiguous.toml"
"""The rules that ship with Tickertone."""

_SIDE: Final = 90
"""Characters on each side of a mention in which words of the market count."""

_LEAD: Final = 30
"""Characters before a mention that can confirm or refuse it."""

_CLAUSE = re.compile(r"[.!?;|]\s|\n|\s[-–—]+\s")
_CAPITAL_BEFORE = re.compile(r"(?:^|[\s(\"'“‘])[A-Z][\w.'’]*\s(?:&\s)?\Z")
_CAPITAL_AFTER = re.compile(r"(?:\s|-)[A-Z][a-z]")
_NEVER = re.compile(r"(?!)")

Pattern = Annotated[str, Field(min_length=1)]
Ticker = Annotated[str, Field(pattern=r"^[A-Z]{1,5}(?:\.[AB])?$")]


class NameRule(BaseModel):
    """What decides about one ambiguous name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    near: bool = False
    """words of the market in the same clause confirm the name; else they must stand beside it"""
    verbs: bool = True
    """what companies do confirms the name when it follows ("Ford recalls")"""
    alone: bool = False
    """a capitalised word right beside the name refuses it ("Next" Mediaworks)"""
    hints: tuple[Pattern, ...] = ()
    """literal words that confirm the name wherever the text has them ("iPhone")"""
    not_before: tuple[Pattern, ...] = ()
    """what refuses the name when it stands right before it ("price" Target)"""
    not_after: tuple[Pattern, ...] = ()
    """what refuses the name when it stands right after it (Apple "pie")"""


class ContextFile(BaseModel):
    """The whole file. Patterns are regular expressions; case does not matter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    forms: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """legal forms"""
    owns: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """what only companies have: shares, a CEO, earnings"""
    verbs: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """what companies do"""
    before: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """what stands right before a company: "shares of", "retailer" """
    near: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """words of the market"""
    market: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """words of traders: near them a bare symbol counts that a dictionary gives as `?BAC`"""
    ticker_after: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """what stands right after a bare symbol; small letters"""
    ticker_before: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """what stands right before a bare symbol; small letters"""
    ticker_words: Annotated[frozenset[Ticker], Field(min_length=1)]
    """symbols that are words: bare, they count only between others or beside their company"""
    ticker_never: frozenset[Ticker] = frozenset()
    """symbols that never count bare"""
    names: dict[str, NameRule] = {}


class Rule:
    """A compiled rule of one name."""

    __slots__ = ("alone", "hints", "near", "not_after", "not_before", "verbs")

    def __init__(self, where: str, entry: NameRule | None) -> None:
        """Compile an entry; without one, the rule is strict: no verbs, no proper name around it."""
        self.alone = entry is None or entry.alone
        self.near = entry is not None and entry.near
        self.verbs = entry is not None and entry.verbs
        self.hints = entry.hints if entry else ()
        self.not_before = self.not_after = _NEVER
        if entry and entry.not_before:
            self.not_before = _compile(
                f"{where}.not_before", r"(?<!\w)(?:{})[\s-]\Z", entry.not_before
            )
        if entry and entry.not_after:
            self.not_after = _compile(f"{where}.not_after", r"[\s-](?:{})(?!\w)", entry.not_after)


class Surroundings:
    """Where a text has words of the market, and where its clauses end. Found once, when asked."""

    __slots__ = ("_borders", "_market", "_near", "text")

    def __init__(self, text: str, near: re.Pattern[str], market: re.Pattern[str]) -> None:
        self.text = text
        self._near: re.Pattern[str] | list[int] = near
        self._market: re.Pattern[str] | list[int] = market
        self._borders: list[int] | None = None

    def has_near(self, start: int, end: int) -> bool:
        """Return whether the clause of [start, end) has a word of the market close by."""
        if self._borders is None:
            self._borders = [match.start() for match in _CLAUSE.finditer(self.text)]
        if not isinstance(self._near, list):
            self._near = [match.start() for match in self._near.finditer(self.text)]
        after = bisect_left(self._borders, end)
        low = max(self._borders[after - 1] if after else 0, start - _SIDE)
        high = min(self._borders[after] if after < len(self._borders) else end + _SIDE, end + _SIDE)
        return _is_between(self._near, low, high, start)

    def has_market(self, start: int, end: int) -> bool:
        """Return whether a word of traders stands close by."""
        if not isinstance(self._market, list):
            self._market = [match.start() for match in self._market.finditer(self.text)]
        return _is_between(self._market, start - _SIDE, end + _SIDE, start)


class Context:
    """Compiled rules. Immutable, so threads may share it."""

    def __init__(self, file: ContextFile) -> None:
        """Compile a file.

        Raises:
            ValueError: a pattern is no regular expression.
        """
        self.words = file.ticker_words
        self.never = file.ticker_never
        self._rules = {name: Rule(f"names.{name}", entry) for name, entry in file.names.items()}
        self._strict = Rule("", None)
        self._form = _compile("forms", r",?\s+(?:{})(?!\w)", file.forms)
        self._owned = _compile(
            "owns", r"(?:\s+|['’]s?\s+(?:[\w%$-]+\s+){{0,3}}?)(?:{})(?!\w)", file.owns
        )
        self._doing = _compile("verbs", r"\s+(?:{})(?!\w)", file.verbs)
        self._leading = _compile("before", r"(?<!\w)(?:{})\s+\Z", file.before)
        self._near = _compile("near", r"(?<!\w)(?:{})(?!\w)", file.near)
        self._market = _compile("market", r"(?<!\w)(?:{})(?!\w)", file.market)
        self._ticker_after = _compile("ticker_after", r"\s+(?:{})(?!\w)", file.ticker_after, 0)
        self._ticker_before = _compile(
            "ticker_before", r"(?<!\w)(?:{})\s+\Z", file.ticker_before, 0
        )

    @classmethod
    def load(cls, path: Path = CONTEXT) -> "Context":
        """Read a file of rules.

        Raises:
            ConfigurationError: names the file and the entry that is wrong.
        """
        with data_file(path, "rules for ambiguous names") as fields:
            return cls(ContextFile.model_validate(fields))

    @property
    def names(self) -> Mapping[str, Rule]:
        """Return the rules of single names."""
        return self._rules

    def rule(self, alias: str) -> Rule:
        """Return the rule of an ambiguous name: its own, or the strict one."""
        return self._rules.get(alias, self._strict)

    def around(self, text: str) -> Surroundings:
        """Return what stands around the mentions of a text."""
        return Surroundings(text, self._near, self._market)

    def is_company(
        self, around: Surroundings, start: int, end: int, rule: Rule, *, anchored: bool
    ) -> bool:
        """Return whether a name at [start, end) means its company.

        Args:
            around: The whole text.
            start: Where the name begins.
            end: Where it ends.
            rule: What decides about the name.
            anchored: Whether the text names the company elsewhere beyond doubt, or holds a hint.
        """
        text = around.text
        left, right = text[max(0, start - _LEAD) : start], text[end : end + _SIDE]
        if rule.not_before.search(left) or rule.not_after.match(right):
            return False
        if self._leading.search(left):
            return True
        if rule.alone and _CAPITAL_BEFORE.search(left):
            return False
        if self._form.match(right) or self._owned.match(right):
            return True
        if rule.alone and _CAPITAL_AFTER.match(right):
            return False
        if anchored or (rule.verbs and self._doing.match(right)):
            return True
        return rule.near and around.has_near(start, end)

    def is_ticker(self, around: Surroundings, start: int, end: int, *, traded: bool) -> bool:
        """Return whether what stands around a bare symbol says that it is one.

        Args:
            around: The whole text.
            start: Where the symbol begins.
            end: Where it ends.
            traded: Whether words of traders near it suffice.
        """
        text = around.text
        symbol = text[start:end]
        if len(symbol) == 1 or symbol in self.words:
            return False
        if self._ticker_after.match(text, end):
            return True
        if self._ticker_before.search(text[max(0, start - _LEAD) : start]):
            return True
        return traded and around.has_market(start, end)


def _is_between(places: Sequence[int], low: int, high: int, but: int) -> bool:
    """Return whether one of the places, in order, lies in [low, high), apart from one."""
    first = bisect_left(places, low)
    found = bisect_left(places, high) - first
    return found > 1 or (found == 1 and places[first] != but)


def _compile(
    where: str, form: str, patterns: Sequence[str], flags: int = re.IGNORECASE
) -> re.Pattern[str]:
    """Compile alternatives into a form.

    Raises:
        ValueError: the entry, and what is wrong with it.
    """
    try:
        return re.compile(form.format("|".join(patterns)), flags)
    except re.error as error:
        raise ValueError(f"{where}: {error}") from error
