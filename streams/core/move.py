"""Why an index moved: what it was before, its parts, and the texts that moved it, all adding up.

Everything here is an integer of 10⁻⁶, so that sums are exact.

Three indices stand in every window: the *balance* (positive less negative texts by number), the
*echo index* (every text by relevance and confidence) and the original *index* (also by novelty
and author). The move of the index is the sum of

    volume  = change of the balance: more texts on one side than before
    tone    = change of (echo index - balance): how strongly and to the point they speak
    novelty = change of (index - echo index): how much of it is new rather than repeated

and also the sum of its texts' contributions w·(s - before)/Σw, since Σw·s/Σw - before is just that.
Those that are not shown, and what rounding leaves, are the remainder.

Source:
    Ours. Contributions to a ratio as in shift-share analysis: each element against the mean before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streams.core.records import MILLION, Move
from streams.core.sums import Sums
from streams.core.windows import Contribution


@dataclass(frozen=True, slots=True)
class Levels:
    """The three indices of a window."""

    balance: int
    echo: int
    index: int


def levels(sums: Sums) -> Levels | None:
    """Return a window's indices, None where no text weighs anything."""
    if not sums.tone.w or not sums.echo_w:
        return None
    return Levels(
        _rounded((sums.positive - sums.negative) * MILLION, sums.texts),
        _rounded(sums.echo_ws, sums.echo_w),
        _rounded(sums.tone.ws, sums.tone.w),
    )


def move(
    now: Sums, before: Sums, baseline: float | None, shown: Sequence[Contribution] = ()
) -> Move | None:
    """Return the move of a window's index; None where there is nothing to compare.

    Args:
        now: Sums of the window.
        before: Sums of the window before it.
        baseline: The subject's usual tone, which stands in where no text lies in the window before.
        shown: Texts of the window whose contributions are wanted.
    """
    after = levels(now)
    if after is None:
        return None
    earlier = levels(before)
    since: Literal["window", "baseline"] = "window"
    if earlier is None:
        if baseline is None:
            return None
        usual = round(baseline * MILLION)
        earlier, since = Levels(usual, usual, usual), "baseline"
    total = after.index - earlier.index
    parts = tuple(contribution(c, now, earlier.index) for c in shown)
    return Move(
        since=since,
        before=earlier.index,
        now=after.index,
        total=total,
        volume=after.balance - earlier.balance,
        tone=(after.echo - after.balance) - (earlier.echo - earlier.balance),
        novelty=(after.index - after.echo) - (earlier.index - earlier.echo),
        contributions=parts,
        remainder=total - sum(parts),
        remaining_texts=now.texts - len(parts),
    )


def contribution(c: Contribution, now: Sums, before: int) -> int:
    """Return what a text adds to the move of the window's index from `before`."""
    return _rounded(c.weight * (c.score - before), now.tone.w)


def _rounded(numerator: int, denominator: int) -> int:
    """Return the quotient rounded half up."""
    return (2 * numerator + denominator) // (2 * denominator)
