"""Normalising a text, and marking the target of an opinion in it.

Training and serving both import this module, so a text looks the same to the model in both.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

MAX_CHARS: Final = 4000
"""Texts are clipped to this many characters before they reach the model."""

TARGET: Final = "[T]"
OTHER: Final = "[O]"

_URL = re.compile(r"(?:https?:/?/?|www\.)\S*", re.IGNORECASE)
_RETWEET = re.compile(r"^(?:(?:RT\s+)?@\w+:\s*|RT\s+)+", re.IGNORECASE)
_REPOST = re.compile(r"(?:^|[\s\"“(])(?:RT|MT)[\s:]*@\w|^RT\s", re.IGNORECASE)
_USER = re.compile(r"(?<![\w@])@(?!user\b)\w+")
_RESERVED = re.compile(r"\[(T|O|CLS|SEP|PAD|UNK|MASK)\]", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
# Python refuses to read numbers of more than 4300 digits, and no character has such a one.
_HUGE_REFERENCE = re.compile(r"&#[0-9]{1000,};?")


def normalise(text: str) -> str:
    """Return the text as the model and the fingerprint see it. Total and idempotent.

    Entities are unescaped, compatibility forms folded (NFKC), links, retweet prefixes and
    control characters removed, user names replaced by `@user`, white space folded. Strings
    that are tokens of the model (`[T]`, `[SEP]`, …) lose their brackets, so no author can
    pose as the role marker. At most `MAX_CHARS` characters are returned.
    """
    text = text[: 2 * MAX_CHARS]
    for _ in range(8):
        done = _pass(text)
        if done == text:
            return done
        text = done
    # Entities nested deeper than any honest sender writes them: break the nest for good.
    for _ in range(2 * MAX_CHARS):
        done = _pass(text.replace("&", " "))
        if done == text:
            break
        text = done
    return text


def _pass(text: str) -> str:
    text = html.unescape(_HUGE_REFERENCE.sub("\ufffd", text))
    text = unicodedata.normalize("NFKC", text)
    text = "".join(c if c.isprintable() or c.isspace() else _replace_control(c) for c in text)
    text = _URL.sub(" ", text)
    text = _SPACE.sub(" ", text).strip()
    text = _RETWEET.sub("", text)
    text = _USER.sub("@user", text)
    text = _RESERVED.sub(r"(\1)", text)
    return text[:MAX_CHARS].strip()


def _replace_control(char: str) -> str:
    # Format characters join what they stand in (zero-width space, soft hyphen); others separate.
    return "" if unicodedata.category(char) == "Cf" else " "


def is_repost(text: str) -> bool:
    """Return whether a text, as it was sent, says that it repeats another's (`RT @name: …`)."""
    return _REPOST.search(text) is not None


def with_roles(
    text: str, target: Iterable[tuple[int, int]], others: Iterable[tuple[int, int]] = ()
) -> str:
    """Replace the target's mentions by `[T]` and the other entities' mentions by `[O]`.

    Args:
        text: A normalised text.
        target: Spans [start, end) in characters of the entity the opinion is about.
        others: Spans of the other entities; must not overlap the target's.
    """
    spans = sorted([(s, e, TARGET) for s, e in target] + [(s, e, OTHER) for s, e in others])
    parts: list[str] = []
    at = 0
    for start, end, role in spans:
        if start < at:
            continue
        parts += [text[at:start], role]
        at = end
    return "".join([*parts, text[at:]])


def occurrences(text: str, name: str) -> Sequence[tuple[int, int]]:
    """Return the spans at which a name stands in a text as a word of its own, ignoring case."""
    if not name:
        return ()
    pattern = rf"(?<![\w$]){re.escape(name)}(?!\w)"
    return tuple(match.span() for match in re.finditer(pattern, text, re.IGNORECASE))
