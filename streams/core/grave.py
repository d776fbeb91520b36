"""Finding reports of grave events (fraud, bankruptcy, recall, …) by reviewed phrases.

The topic head has no such classes and a single text of this kind can matter, so the phrases stand
beside it. A false report costs more than a missed one: a phrase counts only if its clause neither
denies it, nor supposes it, nor asks. The phrases are data (`data/grave.toml`); their measured
precision is in docs/grave.md, which also says how to add one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final

from ahocorasick_rs import AhoCorasick
from pydantic import BaseModel, ConfigDict, Field

from streams.core.datafile import data_file

SHIPPED: Final = Path(__file__).parent / "data" / "grave.toml"
"""The phrases that ship with Tickertone."""

# A clause ends at these. A full stop must be followed by something that begins a sentence, and
# not be that of "U.S." or "Inc."; the spaced hyphen and the colon part a headline from its lead.
_BORDER = re.compile(
    r"\?|[!;|…\n]|\.{2,}|:\s|\s[-–]+\s|—"
    r"|(?<![A-Z])(?<!\b(?:Co|Mr|Dr|St|vs|No))(?<!\b(?:Inc|Ltd))(?<!\bCorp)\.\s+(?=[^\sa-z\d])"
)
_GAP: Final = r"(?:\s+\S+){0,5}?\s+[\"'(“]*"
_SPACE: Final = r"[\s-]+[\"'(“]*"
_MAYBE: Final = r"[\s-]?"
_WORDS = re.compile(r"\{([a-z_]+)\}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_APOSTROPHES = str.maketrans("’ʼ‘", "'''")

Pattern = Annotated[str, Field(min_length=1)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]


class ClassEntry(BaseModel):
    """A class of grave events as the file holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    """what counts as an event of the class"""
    trial: bool = False
    """measured, and not yet precise enough to be reported"""
    stems: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """literal pieces in small letters; the class is tried only on texts that hold one"""
    phrases: Annotated[dict[Slug, Pattern], Field(min_length=1)]
    exclusions: tuple[Pattern, ...] = ()
    """a clause that contains one has no match of the class"""


class PhraseFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reach: Annotated[int, Field(ge=1, le=20)]
    """how many words before and after a phrase are searched for a denial"""
    before: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """what denies or supposes a phrase when it stands in it or within reach before it"""
    after: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """the same within reach after it"""
    words: dict[str, Pattern] = {}
    """alternatives that patterns name as `{name}`"""
    classes: Annotated[dict[Slug, ClassEntry], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Grave:
    """A report of a grave event; [start, end) in characters."""

    slug: str
    start: int
    end: int
    phrase: str
    """id of the phrase: class, a slash and its name"""


@dataclass(frozen=True, slots=True)
class _Class:
    slug: str
    phrases: tuple[tuple[str, re.Pattern[str]], ...]
    exclusions: re.Pattern[str] | None


class PhraseBook:
    """Compiled phrases. Immutable, so threads may share it."""

    def __init__(self, file: PhraseFile, *, trial: bool = False) -> None:
        """Compile the classes of a file; those on trial only if `trial`."""
        self.file = file
        words = file.words
        chosen = {s: entry for s, entry in file.classes.items() if trial or not entry.trial}
        self._reach = file.reach
        self._before = _compile("before", file.before, words)
        self._after = _compile("after", file.after, words)
        self._classes = tuple(
            _Class(
                slug,
                tuple(
                    (f"{slug}/{name}", _compile(f"{slug}/{name}", (pattern,), words))
                    for name, pattern in entry.phrases.items()
                ),
                _compile(f"{slug}/exclusions", entry.exclusions, words)
                if entry.exclusions
                else None,
            )
            for slug, entry in chosen.items()
        )
        owners: dict[str, list[int]] = {}
        for number, entry in enumerate(chosen.values()):
            for stem in entry.stems:
                owners.setdefault(stem, []).append(number)
        self._owners = tuple(owners.values())
        self._stems = AhoCorasick(list(owners))

    @classmethod
    def load(cls, path: Path = SHIPPED, *, trial: bool = False) -> "PhraseBook":
        """Read a phrase file; classes on trial are left out unless `trial`.

        Raises:
            ConfigurationError: names the file and the entry that is wrong.
        """
        with data_file(path, "phrase file") as fields:
            return cls(PhraseFile.model_validate(fields), trial=trial)

    def find(self, text: str) -> tuple[Grave, ...]:
        """Return the first report of each class in a text, in order of place.

        Total, and a function of the text alone.

        Args:
            text: A normalised text; spans are of this string.
        """
        candidates = self.stemmed(text)
        if not candidates:
            return ()
        found: dict[str, Grave] = {}
        text = text.translate(_APOSTROPHES)
        for start, clause in _clauses(text):
            for number in candidates:
                known = self._classes[number]
                if known.slug not in found:
                    match = self._first(known, clause)
                    if match is not None:
                        found[known.slug] = Grave(
                            known.slug, start + match.start, start + match.end, match.phrase
                        )
        return tuple(sorted(found.values(), key=lambda grave: (grave.start, grave.slug)))

    def stemmed(self, text: str) -> tuple[int, ...]:
        """Return the numbers of the classes of which a text holds a stem."""
        folded = _SURROGATE.sub(" ", text.lower())
        hits = self._stems.find_matches_as_indexes(folded, overlapping=True)
        return tuple(sorted({number for hit in hits for number in self._owners[hit[0]]}))

    def _first(self, known: _Class, clause: str) -> Grave | None:
        first: Grave | None = None
        for phrase, pattern in known.phrases:
            for match in pattern.finditer(clause):
                if first is not None and match.start() >= first.start:
                    break
                if not self._denied(clause, *match.span()):
                    first = Grave(known.slug, *match.span(), phrase)
                    break
        if first is not None and known.exclusions is not None and known.exclusions.search(clause):
            return None
        return first

    def _denied(self, clause: str, start: int, end: int) -> bool:
        """Return whether the words in and around a phrase deny or suppose it.

        A comma ends the reach: "not Tesla, SEC sues Nokia" denies nothing of Nokia.
        """
        lead = clause[:start].rsplit(", ", 1)[-1]
        begin = start - len(lead)
        words = [word.start() for word in re.finditer(r"\S+", lead)]
        if len(words) > self._reach:
            begin += words[-self._reach]
        if self._before.search(clause, begin, end):
            return True
        tail = " ".join(clause[end:].split(",", 1)[0].split()[: self._reach])
        return self._after.search(tail) is not None


def grave(text: str) -> tuple[Grave, ...]:
    """Return the grave events that a normalised text reports, by the shipped phrases."""
    return shipped().find(text)


@cache
def shipped() -> PhraseBook:
    """Return the shipped phrases. The first call compiles them, which takes most of a second."""
    return PhraseBook.load()


def _clauses(text: str) -> Iterator[tuple[int, str]]:
    """Yield (start, clause) of all clauses that are no questions."""
    at = 0
    for border in _BORDER.finditer(text):
        if border[0] != "?":
            yield at, text[at : border.start()]
        at = border.end()
    yield at, text[at:]


def _compile(where: str, patterns: tuple[str, ...], words: Mapping[str, str]) -> re.Pattern[str]:
    """Compile alternatives in the notation of the file's head.

    Raises:
        ValueError: the name of the pattern, and what is wrong with it.
    """
    whole = "|".join(patterns)
    try:
        whole = _WORDS.sub(lambda name: f"(?:{words[name[1]]})", whole)
        for notation, meaning in ((" … ", _GAP), (" ?", _MAYBE), (" ", _SPACE)):
            whole = whole.replace(notation, meaning)
        return re.compile(rf"(?<![\w$@])(?:{whole})(?!\w)", re.IGNORECASE)
    except KeyError as error:
        raise ValueError(f"{where}: no words {error}") from error
    except re.error as error:
        raise ValueError(f"{where}: {error}") from error
