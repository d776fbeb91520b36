"""How many different authors or channels there are: exact while they are few, bounded when many.

Each minute keeps the 32-bit keys of its members; of more than `MOST` only those whose key ends in
one zero bit, then in two, and so on. A window's number is what its minutes keep at the highest of
their levels, times two to that level. What is kept depends on the members alone, so minutes can be
merged and taken away again in any order.

Source:
    Wegman's adaptive sampling; Flajolet: On Adaptive Sampling. Computing 43 (1990). The standard
    error is about 1.2 / √kept.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from streams.core.counting import count_in

MOST: Final = 128
"""Members kept of a minute."""

_DIGITS: Final = 8


def member(name: str) -> int:
    """Return the 32-bit key of a name, 0 for none."""
    return zlib.crc32(name.encode("utf-8", "replace")) if name else 0


@dataclass(slots=True)
class Sample:
    """The members of a minute: all of them at level 0."""

    level: int = 0
    members: set[int] = field(default_factory=set)

    def add(self, key: int) -> None:
        """Count a member; the key 0 is nobody's."""
        if not key or _zeros(key) < self.level or key in self.members:
            return
        self.members.add(key)
        while len(self.members) > MOST:
            self.level += 1
            self.members = {key for key in self.members if _zeros(key) >= self.level}

    def to_row(self) -> list[Any]:
        """Return what survives a restart."""
        return [self.level, "".join(f"{key:08x}" for key in sorted(self.members))]

    @classmethod
    def from_row(cls, row: list[Any]) -> Self:
        """Read it back."""
        level, digits = row
        starts = range(0, len(digits), _DIGITS)
        return cls(level, {int(digits[at : at + _DIGITS], 16) for at in starts})


class Distinct:
    """The union of some minutes' samples, to which minutes are added and taken away."""

    __slots__ = ("_by_zeros", "_levels", "_minutes")

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._minutes: dict[int, int] = {}
        self._by_zeros: dict[int, int] = {}
        self._levels: dict[int, int] = {}
        for sample in samples:
            self.add(sample)

    def add(self, sample: Sample) -> None:
        """Add a minute."""
        count_in(self._levels, sample.level, 1)
        for key in sample.members:
            if count_in(self._minutes, key, 1) == 1:
                count_in(self._by_zeros, _zeros(key), 1)

    def remove(self, sample: Sample) -> None:
        """Take a minute away that was added."""
        count_in(self._levels, sample.level, -1)
        for key in sample.members:
            if count_in(self._minutes, key, -1) == 0:
                count_in(self._by_zeros, _zeros(key), -1)

    @property
    def number(self) -> int:
        """How many different members there are."""
        level = max(self._levels, default=0)
        if not level:
            return len(self._minutes)
        return sum(n for zeros, n in self._by_zeros.items() if zeros >= level) << level


def _zeros(key: int) -> int:
    """Return how many zero bits a key ends in."""
    return (key & -key).bit_length() - 1
