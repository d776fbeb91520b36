"""Small changes of training texts that leave their meaning: typos, case, cashtags, lost words.

Role tokens are never touched. The same generator state gives the same text.
"""

import random
import re
from collections.abc import Callable

from models.training.config import Augmentation
from streams.core.text import OTHER, TARGET

DROPPED = 0.1
"""Share of the words that a text with dropped words loses."""

_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z]{1,6})\b")
_ROLE = re.compile(f"({re.escape(TARGET)}|{re.escape(OTHER)})")
_SHORTEST_TYPO = 4


def augmented(text: str, options: Augmentation, rng: random.Random) -> str:
    """Return the text, changed in each way with that way's probability. Never empty."""
    for chance, change in (
        (options.cashtags, respelt_cashtags),
        (options.typos, mistyped),
        (options.dropped, shortened),
        (options.case, recased),
    ):
        if chance and rng.random() < chance:
            text = change(text, rng)
    return text


def mistyped(text: str, rng: random.Random) -> str:
    """Return the text with one word of letters mistyped: two swapped, one lost or one doubled."""
    words = text.split(" ")
    able = [i for i, word in enumerate(words) if len(word) >= _SHORTEST_TYPO and word.isalpha()]
    if not able:
        return text
    at = rng.choice(able)
    word = words[at]
    i = rng.randrange(len(word) - 1)
    words[at] = rng.choice(
        (
            word[:i] + word[i + 1] + word[i] + word[i + 2 :],
            word[:i] + word[i + 1 :],
            word[: i + 1] + word[i:],
        )
    )
    return " ".join(words)


def recased(text: str, rng: random.Random) -> str:
    """Return the text in capitals or in small letters, at even odds."""
    change: Callable[[str], str] = rng.choice((str.upper, str.lower))
    return "".join(part if part in (TARGET, OTHER) else change(part) for part in _ROLE.split(text))


def respelt_cashtags(text: str, rng: random.Random) -> str:
    """Return the text with all its cashtags written in one other way."""
    style = rng.choice(("plain", "hash", "small"))

    def respelt(match: re.Match[str]) -> str:
        symbol = match[1]
        return {"plain": symbol, "hash": f"#{symbol}", "small": f"${symbol.lower()}"}[style]

    return _CASHTAG.sub(respelt, text)


def shortened(text: str, rng: random.Random) -> str:
    """Return the text without a tenth of its words, chosen by chance; at least one is left."""
    words = text.split(" ")
    kept = [word for word in words if _ROLE.search(word) or rng.random() >= DROPPED]
    return " ".join(kept or words[:1])
