"""How rare a count is: the upper tail of the negative binomial distribution."""

import math
from typing import Final

_STEPS: Final = 20_000
_PRECISION: Final = 1e-9
_TINY: Final = 1e-300
_LARGEST: Final = 300.0


def rarity(count: int, mean: float, shape: float) -> float:
    """Return -log₁₀ P(N ≥ count) of a negative binomial N, at most 300; 0 for a count of zero.

    N is Poisson whose rate is gamma distributed: its variance is mean + mean²/shape. With
    p = mean/(mean + shape), P(N ≥ n) = I_p(n, shape), the regularised incomplete beta function.

    Sources:
        NIST Digital Library of Mathematical Functions 8.17: (v) for the tail, 8.17.22 for the
        continued fraction, which is worked out by Lentz's method.

    Args:
        count: What was counted.
        mean: What is expected, above 0.
        shape: Of the gamma distribution, above 0; the larger, the nearer to Poisson.
    """
    if count <= 0:
        return 0.0
    p = mean / (mean + shape)
    if p > (count + 1) / (count + shape + 2):
        # The continued fraction converges fast on the other side only.
        below = math.exp(_log_beta_part(1 - p, shape, count))
        return max(-math.log10(max(1 - below, _TINY)), 0.0)
    return min(-_log_beta_part(p, count, shape) / math.log(10), _LARGEST)


def _log_beta_part(x: float, a: float, b: float) -> float:
    """Return log I_x(a, b) for x below (a + 1)/(a + b + 2)."""
    if x <= 0:
        return -math.inf
    front = (
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
        - math.log(a)
    )
    return front - math.log(_fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """Return 1 + d₁/(1 + d₂/(1 + …)) of DLMF 8.17.22, by Lentz's method."""
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, _STEPS):
        half = step // 2
        if step % 2:
            part = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            part = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        d = 1 / _away_from_zero(1 + part * d)
        c = _away_from_zero(1 + part / c)
        value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
