"""The figures that are easier to see than to read, as PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.evaluation.judged import CLASSES

ABSTENTION: Final = "abstention.png"
BIAS: Final = "bias.png"
_DPI: Final = 120
_DARK: Final = 0.6
_MANY: Final = 8


def draw(metrics: dict[str, Any], out: Path) -> None:
    """Draw all pictures of an evaluation into a folder."""
    for name, found in metrics["sets"].items():
        title = metrics["data"]["sets"][name]["title"]
        names = CLASSES[found["task"]]
        confusion_picture(found["confusion"], names, title, out / f"confusion-{name}.png")
    for name, found in metrics["calibration"].items():
        path = out / f"reliability-{name.replace('/', '-')}.png"
        reliability_picture(found["before"], found["after"], name, path)
    abstention_picture(metrics["abstention"], out / ABSTENTION)
    if "fairness" in metrics:
        bias_picture(metrics["fairness"]["bias"], out / BIAS)


def confusion_picture(
    table: Sequence[Sequence[int]], names: Sequence[str], title: str, path: Path
) -> None:
    """Draw a confusion matrix: colour and percentage are shares of the row, so of the truth."""
    counts = np.array(table, np.float64)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)
    many = len(names) > _MANY
    figure = Figure(figsize=(11, 9.5) if many else (5, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90 if many else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    for y, x in np.ndindex(*counts.shape):
        if counts[y, x]:
            text = f"{shares[y, x]:.0%}" if many else f"{shares[y, x]:.1%}\n{counts[y, x]:.0f}"
            colour = "white" if shares[y, x] > _DARK else "black"
            axes.text(
                x, y, text, ha="center", va="center", color=colour, fontsize=7 if many else 10
            )
    _save(figure, path)


def reliability_picture(
    before: dict[str, Any], after: dict[str, Any], title: str, path: Path
) -> None:
    """Draw accuracy over confidence, before and after the temperature."""
    figure = Figure(figsize=(8.6, 4.4), layout="constrained")
    for axes, found, label in zip(
        figure.subplots(1, 2, sharey=True),
        (before, after),
        ("as it is", "with temperature"),
        strict=True,
    ):
        x = [b["confidence"] for b in found["bins"]]
        y = [b["accuracy"] for b in found["bins"]]
        axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
        axes.plot(x, y, marker="o", color="tab:blue")
        axes.set(xlim=(0.2, 1.01), ylim=(0, 1.02), xlabel="confidence")
        axes.set_title(f"{label}: ECE {found['ece']:.3f}", fontsize=10)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy")
    figure.suptitle(f"{title} ({before['rows']} rows, {len(before['bins'])} bins of equal mass)")
    _save(figure, path)


def abstention_picture(curves: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw risk over coverage, a line per task and channel."""
    figure = Figure(figsize=(6, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, found in curves.items():
        coverage, risk = zip(*found["curve"], strict=True)
        axes.plot(coverage, risk, marker=".", label=f"{name} ({found['rows']} rows)")
    axes.set(
        xlim=(0, 1.01), xlabel="coverage: share of texts answered", ylabel="risk: share of errors"
    )
    axes.set_ylim(bottom=0)
    axes.set_title("answering only the most confident texts")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def bias_picture(bias: dict[str, dict[str, dict[str, Any]]], path: Path) -> None:
    """Draw the bias of every name with its simultaneous interval, linked and unlinked apart."""
    groups = {group: members for group, members in bias.items() if members}
    heights = [max(2, len(members)) for members in groups.values()]
    figure = Figure(figsize=(8, 1.4 + 0.17 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(groups), 1, sharex=True, height_ratios=heights, squeeze=False)
    for axes, (group, members) in zip(panels[:, 0], groups.items(), strict=True):
        ordered = sorted(members.items(), key=lambda item: item[1]["bias"])
        means = np.array([one["bias"] for _, one in ordered])
        bounds = np.array([one["interval"] for _, one in ordered]).T
        colours = ["tab:red" if one["p_holm"] < 0.05 else "tab:blue" for _, one in ordered]
        places = np.arange(len(ordered))
        axes.hlines(places, bounds[0], bounds[1], colors=colours)
        axes.scatter(means, places, c=colours, s=12, zorder=3)
        axes.axvline(0, color="grey", linewidth=1)
        axes.set_yticks(places, [f"{name} ({one['kind']})" for name, one in ordered], fontsize=7)
        axes.set_title(f"{group} names", fontsize=10)
        axes.grid(alpha=0.3, axis="x")
    panels[-1, 0].set_xlabel(
        "mean s minus that of the group's other names; red: p < 0.05 after Holm"
    )
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    # Without the library's version in it, the same figures give the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
