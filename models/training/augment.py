"""Changes of training texts that leave their meaning: typos, case, cashtags, lost words, names.

Role tokens are never touched. The same generator state gives the same text.
"""

import random
import re
from collections.abc import Callable, Sequence

from models.data.names import invented
from models.data.table import Span
from models.training.config import Augmentation
from streams.core.text import OTHER, TARGET

DROPPED = 0.1
"""Share of the words that a text with dropped words loses."""

_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z]{1,6})\b")
_ROLE = re.compile(f"({re.escape(TARGET)}|{re.escape(OTHER)})")
_SHORTEST_TYPO = 4


def augmented(
    text: str,
    options: Augmentation,
    rng: random.Random,
    names: Sequence[Span] = (),
    known: Sequence[str] = (),
) -> str:
    """Return the text, changed in each way with that way's probability. Never empty.

    Args:
        text: As the model sees it.
        options: The probabilities.
        rng: What decides.
        names: Places of companies that stand in the text by name, apart and in order.
        known: Names that may stand there instead.
    """
    if names and rng.random() < options.names:
        text = renamed(text, names, known, rng)
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


def renamed(text: str, names: Sequence[Span], known: Sequence[str], rng: random.Random) -> str:
    """Return the text with other names in these places, known or invented at even odds.

    The same name becomes the same other one.
    """
    others: dict[str, str] = {}
    parts: list[str] = []
    at = 0
    for start, end in names:
        name = text[start:end]
        if name not in others:
            others[name] = rng.choice(known) if known and rng.random() < 0.5 else invented(rng)
        parts += [text[at:start], others[name]]
        at = end
    return "".join([*parts, text[at:]])


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
