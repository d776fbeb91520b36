"""Invented names of companies, so that a model can't learn a tone for a name.

The parts are in `names.toml`. The same generator state gives the same name.
"""

import random
import tomllib
from functools import cache
from pathlib import Path
from typing import Final

PARTS: Final = Path(__file__).with_name("names.toml")

_ACRONYM_LETTERS: Final = "ABCDEFGHIKLMNOPRSTVXZ"


def invented(rng: random.Random) -> str:
    """Return a name: made of syllables, words, surnames, a founder's name or capitals."""
    parts = _parts()

    def one(kind: str) -> str:
        return rng.choice(parts[kind])

    match rng.randrange(6):
        case 0 | 1:
            return one("starts") + one("middles") + one("ends") + one("forms")
        case 2:
            return one("words") + rng.choice((one("trades"), one("forms")))
        case 3:
            return one("surnames") + rng.choice((f" & {one('surnames')}", one("trades"), ""))
        case 4:
            return f"{one('given')} {one('surnames')}"
        case _:
            return "".join(rng.sample(_ACRONYM_LETTERS, 3)) + one("forms")


@cache
def _parts() -> dict[str, list[str]]:
    parts: dict[str, list[str]] = tomllib.loads(PARTS.read_text(encoding="utf-8"))
    return parts
