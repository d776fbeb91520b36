"""Story fingerprints: texts that share most of their wording have fingerprints that agree.

A fingerprint is a MinHash sketch: for each of eight hash functions, eight bits of the least hash
over the text's character shingles. Two texts agree in one of the eight places with a probability
equal to the Jaccard similarity of their shingles (and 1/256 of chance on top), so the number of
equal places estimates how much of their wording they share.

Sources:
    Broder: On the resemblance and containment of documents. Compression and Complexity of
    Sequences 1997 (MinHash). Li, König: b-Bit Minwise Hashing. WWW 2010 (eight bits a place).
    The thresholds are measured: docs/analytics.md.
"""

import hashlib
import re
from typing import Final

from rensa import RMinHash

PLACES: Final = 8
"""Places of a sketch, a byte each."""

AGREE: Final = 6
"""Equal places from which two texts tell the same story."""

LEAST_WORDS: Final = 6
"""Texts of fewer words have too few shingles to sketch: they are copies only word by word."""

_SHINGLE: Final = 5
_WORD = re.compile(r"[^\W_]+")

_SEED: Final = 1
"""Of the hash functions, which every machine and version must share."""

_BANDS: Final = ((0, 24), (24, 24), (48, 16))
"""First bit and bits of the three groups of places. Sketches that agree in six of eight places
differ in two at most, so at least one group is equal: looking these up misses nothing."""


def fingerprint(text: str) -> str:
    """Return the story's fingerprint as 16 hex digits.

    Case, punctuation, links and user names don't count. A text of fewer than `LEAST_WORDS` words
    has the hash of its words in order; one without any word ("🚀🚀") that of its characters. Such
    a hash agrees with another in six places only by a chance of 10⁻¹³.

    Args:
        text: A normalised text.
    """
    words = _WORD.findall(text.lower().replace("@user", " "))
    story = " ".join(words)
    # Scripts without spaces have one "word" of many characters.
    if len(words) >= LEAST_WORDS or len(story) >= LEAST_WORDS * _SHINGLE * 2:
        return f"{_sketch(story):016x}"
    exact = (story or text).encode("utf-8", "replace")
    return hashlib.blake2b(exact, digest_size=8).hexdigest()


def agreement(one: int, other: int) -> int:
    """Return in how many of the eight places two fingerprints are equal."""
    return (one ^ other).to_bytes(PLACES, "big").count(0)


def bands(sketch: int) -> tuple[int, int, int]:
    """Return the keys under which a fingerprint's near ones are found: one at least is shared."""
    return tuple(  # type: ignore[return-value]
        (sketch >> first & (1 << bits) - 1) << 2 | number
        for number, (first, bits) in enumerate(_BANDS)
    )


def _sketch(story: str) -> int:
    # Half of a pair, which JSON can carry, is no Unicode for the library.
    characters = story.encode("utf-8", "replace").decode()
    sketch = RMinHash(num_perm=PLACES, seed=_SEED)
    sketch.update([characters[at : at + _SHINGLE] for at in range(len(characters) - _SHINGLE + 1)])
    return int.from_bytes(bytes(least & 0xFF for least in sketch.digest()), "big")
