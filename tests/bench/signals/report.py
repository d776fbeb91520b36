"""The tables of docs/analytics.md."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streams.core.stories import Story
from streams.core.sums import Sums
from tests.bench.signals.coverage import SIZES, Population, coverage, halves
from tests.bench.signals.picture import Point
from tests.support.page import table

PAGE: Final = Path("docs/analytics.md")
BEGIN: Final = "<!-- signals: begin -->"
END: Final = "<!-- signals: end -->"
LEAST_MOVE: Final = 0.05
"""Against the median stock."""

_LEAST_STORIES: Final = (1, 5, 10)
_SHOWN_EVERY: Final = 360
"""Minutes between the rows about the rumour."""
_RUMOUR_DAY: Final = "2014-05-21"


@dataclass
class Direction:
    """A day on which a price moved, and the tone of the 24 hours before its close."""

    move: float
    stories: int
    tone: float
    whole: bool
    """the whole interval lies on one side of the baseline"""

    @property
    def right(self) -> bool:
        """Whether the tone has the sign of the move."""
        return (self.tone > 0) == (self.move > 0)


@dataclass
class Measured:
    """All results."""

    command: str
    model: str
    votes: int
    said: Mapping[str, Sums]
    """of companies and of the market"""
    verdicts: Sequence[tuple[tuple[str, int], tuple[str, Story]]]
    """(subject, leader), and its story at its largest"""
    points: Mapping[str, Sequence[Point]]
    directions: Sequence[Direction]
    populations: Sequence[Population]


def markdown(measured: Measured) -> str:
    """Return the tables as Markdown."""
    parts = [
        f"`{measured.command}`: {measured.votes:,} votes about companies and the market, scored by "
        f"{measured.model} through the service's own scorer.",
        *_echoes(measured),
        "**A rumour.** The 24 hours of two companies while a false story was told:",
        _rumour(measured.points),
        "**Direction.** Days on which a price moved by "
        f"{LEAST_MOVE:.0%} or more against the median stock; tone of the 24 hours before the close "
        "against the subject's own baseline:",
        _directions(measured.directions),
        "**Intervals.** Days of a subject with 30 stories or more are populations; of each, 20 "
        "times, so many texts are drawn; how often does their interval hold the day's index?",
        _intervals(measured.populations),
    ]
    return "\n\n".join(parts)


def _echoes(measured: Measured) -> list[str]:
    rows = [
        [
            name,
            f"{group.texts:,}",
            f"{group.texts - group.stories:,}",
            _share(group.texts - group.stories, group.texts),
        ]
        for name, group in measured.said.items()
    ]
    counted = Counter(verdict for _, (verdict, _) in measured.verdicts)
    different = len({leader for (_, leader), _ in measured.verdicts})
    listed = ", ".join(f"{n} `{verdict}`" for verdict, n in counted.most_common())
    return [
        "**Echoes.** Texts that are copies of a story told before, within the subject's horizon:",
        table(("subjects", "texts", "copies", "share"), rows),
        f"{different} stories have 20 copies or more within a subject; a story counts in every "
        f"company that it names, so there are {counted.total()} verdicts: {listed}.",
    ]


def _rumour(points: Mapping[str, Sequence[Point]]) -> str:
    rows = []
    for name, series in points.items():
        for point in series:
            moment = datetime.fromtimestamp(point.minute * 60 + 60, UTC)
            day = datetime.fromtimestamp(point.minute * 60, UTC).date().isoformat()
            if day != _RUMOUR_DAY or (point.minute + 1) % _SHOWN_EVERY:
                continue
            v = point.values
            rows.append(
                [
                    name.removeprefix("ticker:"),
                    f"{moment:%H:%M}",
                    f"{v.texts:,}",
                    str(v.stories),
                    f"{point.copies}, `{point.verdict}`",
                    f"{v.index or 0:+.2f} [{v.low or 0:+.2f}, {v.high or 0:+.2f}]",
                    f"{v.echo_index or 0:+.2f}",
                    f"{v.baseline or 0:+.2f}",
                    f"{v.z_volume or 0:.1f}",
                ]
            )
    head = (
        "company",
        f"{_RUMOUR_DAY}, UTC",
        "texts",
        "stories",
        "largest story: copies, verdict",
        "index",
        "echo index",
        "baseline",
        "volume z",
    )
    return table(head, rows)


def _directions(directions: Sequence[Direction]) -> str:
    rows = []
    for least in _LEAST_STORIES:
        known = [d for d in directions if d.stories >= least]
        clear = [d for d in known if d.whole]
        right, clear_right = sum(d.right for d in known), sum(d.right for d in clear)
        share = f"{right} of {len(known)} ({_share(right, len(known))})"
        rows.append([f"{least} and more", share, f"{clear_right} of {len(clear)}"])
    head = (
        "stories",
        "sign of tone is that of the move",
        "of these, where the interval excludes the baseline",
    )
    return table(head, rows)


def _intervals(populations: Sequence[Population]) -> str:
    tuned, held = halves(populations)
    rows = []
    for size in SIZES:
        _, here, _ = coverage(tuned, size)
        _, there, width = coverage(held, size)
        rows.append([str(size), f"{here:.1%}", f"{there:.1%}", f"{width:.2f}"])
    head = (
        "texts",
        f"tuned on ({len(tuned)} days)",
        f"held out ({len(held)} days)",
        "mean width, held out",
    )
    return table(head, rows)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
