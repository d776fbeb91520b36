"""Telling whether a text may be scored by the English model.

A wrong "not English" throws a good text away, so a text is filtered on two grounds only: its
script, or a confident detection on a text long enough to detect anything. Tweets full of cashtags
and names are detected as anything between Tagalog and Latin; a sender's hint is no better there.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

MIN_WORDS: Final = 6
"""Fewer words in small letters than this are never judged by detection."""

CONFIDENT: Final = 0.99999
"""Probability from which a detection alone filters a text."""

AGREED: Final = 0.99
"""Probability from which a detection filters a text whose sender names the same language."""

_SCRIPTS: Final = {
    "CJK": "zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CYRILLIC": "ru",
    "ARABIC": "ar",
    "HEBREW": "he",
    "GREEK": "el",
    "THAI": "th",
    "DEVANAGARI": "hi",
}
# Bounded, and begun only where a word begins: else thousands of letters without a space would take
# a quarter of a second.
_NOT_WORDS = re.compile(r"[@#$]\w+|(?<!\w)\w*\d\w*|\S{1,99}[./]\S+")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
# Words that other languages in Latin letters hardly use ("in", "on", "is", "a" would not do).
_ENGLISH_WORDS: Final = """
the of and to for with from at by as its it this that these are was has have had will would could
should says said after over more than not you your our their his her be been being but about into
what when how why who which there they we up out down new all just
"""
_ENGLISH = frozenset(_ENGLISH_WORDS.split())


class _Detector(Protocol):
    def classify(self, text: str) -> tuple[str, float]: ...


@dataclass(frozen=True, slots=True)
class Language:
    """What a text is written in, as far as it matters for scoring."""

    code: str | None
    """ISO 639-1 code; None where nobody knows"""
    scorable: bool
    """False only when the text is surely not English"""


ENGLISH: Final = Language("en", True)


def language(text: str, hint: str | None = None) -> Language:
    """Return the language of a text, and whether the English model may score it.

    Never raises. Costs a few microseconds where script, hint or plain English words decide, and
    about half a millisecond where the detector has to be asked.

    Args:
        text: A normalised text.
        hint: What the sender says, such as `en`, `en-GB` or `zh-Hans`. `en` is believed if the
            letters are Latin; anything else only counts together with the detector.
    """
    letters = [char for char in text if char.isalpha()]
    foreign = [char for char in letters if char > "\u024f"]  # beyond Latin Extended-B
    dense = sum(char > "\u2e7f" for char in foreign)  # an ideograph says more than one letter
    if 2 * (len(foreign) + dense) > len(letters) + dense:
        script = _script_language(foreign)
        if script is not None:
            return Language(script, False)
    said = (hint or "").strip().lower().replace("_", "-").split("-")[0]
    if said == "en":
        return ENGLISH
    words = _WORD.findall(_NOT_WORDS.sub(" ", text))
    english = sum(word.lower() in _ENGLISH for word in words)
    if english >= 2 and 8 * english >= len(words):
        return ENGLISH
    # Names are capitalised and speak another language than the text: "Deutsche Bank cuts jobs".
    small = [word for word in words if word.islower()]
    if len(small) < MIN_WORDS:
        return Language(None, True)
    code, probability = _detector().classify(" ".join(small))
    if code == "en":
        return ENGLISH
    if probability >= (AGREED if code == said else CONFIDENT):
        return Language(code, False)
    return Language(None, True)


def _script_language(letters: list[str]) -> str | None:
    """Return the language that most of these letters suggest; None for fancy Latin letters."""
    counts: dict[str, int] = {}
    for char in letters:
        name = unicodedata.name(char, "").split(" ")[0]
        counts[name] = counts.get(name, 0) + 1
    # Some kana among many ideographs are enough for Japanese.
    if 5 * (counts.get("HIRAGANA", 0) + counts.get("KATAKANA", 0)) > len(letters):
        return "ja"
    script = max(counts, key=lambda name: counts[name])
    return None if script in ("LATIN", "MODIFIER", "FULLWIDTH") else _SCRIPTS.get(script, "und")


@cache
def _detector() -> _Detector:
    # Loading takes a second and numpy, so it waits for the first text that needs it.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    detector: _Detector = LanguageIdentifier.from_pickled_model(MODEL_FILE, norm_probs=True)
    return detector
