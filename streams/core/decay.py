"""The decayed sum of scores S(t), in integers that minutes can enter and leave exactly.

S(t) = Σ w·s·2^(-(t-t_i)/16 h) over 24 hours. What a minute adds is written as growth since the
beginning of a day instead of decay since now: then it is the same number at any time of that day,
and only the level of the whole changes.

Source:
    Social Market Analytics, S-Score family: half-life 16 hours over 24 hours. There each certified
    message counts one; here each text has its weight, which does what the certificate is for.
"""

import math
from typing import Final

from streams.core.records import MILLION

DAY: Final = 1440
SPAN: Final = 1440
"""Minutes that S(t) looks back over."""
DELTA: Final = 15
"""Minutes between S(t) and the one it is compared with."""

_HALF_LIFE: Final = 960
_ONE: Final = 1 << 20
_FIRST: Final = -(SPAN + DELTA)
_GROWTH: Final = tuple(round(_ONE * 2 ** (k / _HALF_LIFE)) for k in range(_FIRST, DAY))


def grown(ws: int, minute: int, day: int) -> int:
    """Return what the Σws of a minute adds, as of the beginning of a day since the epoch.

    The minute lies in that day, or at most `SPAN` + `DELTA` minutes before it.
    """
    return ws * _GROWTH[minute - day * DAY - _FIRST]


def level(total: int, minute: int, day: int) -> float:
    """Return S at the end of a minute, in full texts, from what was added as of a day."""
    age = minute - day * DAY
    return total / (_ONE * MILLION * MILLION) * math.pow(2.0, -age / _HALF_LIFE)
