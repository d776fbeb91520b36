"""The rumour as a picture: original and echo index, and the copies of one story."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from streams.core.records import WindowValues


@dataclass
class Point:
    """A subject's day as of a minute."""

    minute: int
    values: WindowValues
    copies: int
    """of its largest story"""
    verdict: str


def draw(points: dict[str, list[Point]], path: Path) -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        2, len(points), figsize=(11, 5.5), sharex=True, sharey="row", squeeze=False
    )
    for column, (name, series) in enumerate(points.items()):
        times = [datetime.fromtimestamp(p.minute * 60, UTC) for p in series]
        tone, volume = panels[0][column], panels[1][column]
        tone.fill_between(
            times,
            _plotted(p.values.low for p in series),
            _plotted(p.values.high for p in series),
            alpha=0.2,
            label="95 % interval",
        )
        tone.plot(times, _plotted(p.values.index for p in series), label="original index, 24 h")
        tone.plot(
            times, _plotted(p.values.echo_index for p in series), "--", label="echo index, 24 h"
        )
        tone.plot(times, _plotted(p.values.baseline for p in series), ":", label="usual tone")
        tone.axhline(0, color="grey", linewidth=0.5)
        tone.set_title(name.removeprefix("ticker:"))
        volume.plot(times, [p.values.texts for p in series], label="texts, 24 h")
        volume.plot(times, [p.values.stories for p in series], label="stories, 24 h")
        coordinated = _plotted(p.copies if p.verdict == "coordinated" else None for p in series)
        volume.plot(times, coordinated, "r.", label="copies of the largest story, coordinated")
        volume.tick_params(axis="x", rotation=30)
    panels[0][0].set_ylabel("index")
    panels[1][0].set_ylabel("number")
    panels[0][0].legend(fontsize=7)
    panels[1][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _plotted(values: Iterable[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]
