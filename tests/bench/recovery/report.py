"""What was measured, as tables on the terminal, Markdown and a picture for the documents."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright
from plotly.subplots import make_subplots
from rich.console import Console
from rich.table import Table

from tests.bench.recovery.state import HISTORY_S, KINDS, ROW_LIMIT
from tests.support.page import table, write_between

TARGET: Final = 500
"""state bytes per vote that we aim at"""

_DOC: Final = Path("docs/operations.md")
_PICTURE: Final = Path("docs/recovery.png")
_BEGIN, _END = "<!-- recovery:begin -->", "<!-- recovery:end -->"
_COLOURS: Final = ("#2b6cb0", "#dd6b20", "#38a169", "#805ad5", "#718096")
_EVENTS: Final = {"join": "joins", "stop": "stops", "kill": "is killed"}

Rows = list[Sequence[str]]


def _tables(results: dict[str, Any]) -> dict[str, Rows]:
    """Return title → header and rows, for the sections that were measured."""
    made = {
        "state": _sizes,
        "read_back": _read_back,
        "transactions": _transactions,
        "rebalance": _rebalance,
    }
    tables: dict[str, Rows] = {}
    for section, make in made.items():
        if section in results:
            tables |= make(results[section], results["about"])
    return tables


def _sizes(state: list[dict[str, Any]], about: dict[str, Any]) -> dict[str, Rows]:
    at_rest: Rows = [("subjects", "kind of row", "rows", "p50, B", "p99, B", "largest, B", "MB")]
    for each in state:
        for name, label in KINDS.items():
            if row := each["sizes"]["kinds"].get(name):
                numbers = (row["rows"], row["p50"], row["p99"], row["max"])
                cells = [f"{n:,.0f}" for n in numbers]
                at_rest.append((f"{each['subjects']:,}", label, *cells, _mb(row["bytes"])))
    cost: Rows = [
        ("subjects", *KINDS.values(), "all", "as sent (gzip)", "rows a vote", "largest, kB")
    ]
    for each in state:
        found = each["written"]
        by_kind = [f"{_both(found['by_kind'], name):.0f}" for name in KINDS]
        largest, key = max(found["largest"].values())
        over = ", over the limit" if largest > ROW_LIMIT else ""
        cost.append(
            (
                f"{each['subjects']:,}",
                *by_kind,
                f"{found['bytes_per_vote']:.0f}",
                f"{_as_sent(found):.0f}",
                f"{found['rows_per_vote']:.2f}",
                f"{largest / 1000:.0f} (`{key.split('|')[0]}`{over})",
            )
        )
    held: Rows = [("subjects", "MB at rest", "MB after 49 h at this rate, computed")]
    for each in state:
        minutes = each["written"]["by_kind"]["minute"] * about["rate"] * HISTORY_S
        rest = each["sizes"]["kinds"]["subject"]["bytes"]
        held.append((f"{each['subjects']:,}", _mb(each["sizes"]["bytes"]), _mb(minutes + rest)))
    return {
        f"State at rest, {about['history']:,} votes in the last 49 h": at_rest,
        f"Bytes written per vote at {about['rate']:.0f} votes/s, deletions included": cost,
        "State of all partitions": held,
    }


def _read_back(section: list[dict[str, Any]], about: dict[str, Any]) -> dict[str, Rows]:
    rows: Rows = [
        (
            "subjects",
            "topic",
            "records",
            "MB",
            "MB stored",
            "own, s",
            "read, s",
            "restore, s",
            "in all, s",
        )
    ]
    for each in section:
        for name, label in (
            ("compacted", "compacted"),
            ("after", f"and {each['minutes']} min at full rate"),
        ):
            found = each[name]
            steps = [
                f"{median(t[step] for t in found['take_overs']):.2f}"
                for step in ("own_s", "read_s", "restore_s", "total_s")
            ]
            cells = (f"{found['records']:,}", _mb(found["bytes"]), _mb(found["stored"]), *steps)
            rows.append((f"{each['subjects']:,}", label, *cells))
    return {"Take-over of the partition with the market on it": rows}


def _transactions(section: list[dict[str, Any]], about: dict[str, Any]) -> dict[str, Rows]:
    rows: Rows = [
        (
            "votes in a batch",
            "plain, votes/s",
            "transactions, votes/s",
            "ratio",
            "plain p50 / p99, ms",
            "transactions p50 / p99, ms",
        )
    ]
    for each in section:
        plain, ours = each["plain"], each["transactional"]
        rows.append(
            (
                f"{each['batch']}",
                f"{plain['votes_s']:,.0f}",
                f"{ours['votes_s']:,.0f}",
                f"{ours['votes_s'] / plain['votes_s']:.2f}",
                *(f"{m['p50_ms']:.1f} / {m['p99_ms']:.1f}" for m in (plain, ours)),
            )
        )
    return {"One owner, batch after batch": rows}


def _rebalance(section: list[dict[str, Any]], about: dict[str, Any]) -> dict[str, Rows]:
    rows: Rows = [("workers", "one of them", "recovered after, s", "longest pause, s")]
    for (workers, event), found in _grouped(section).items():
        cells = [_spread(values) for values in zip(*found, strict=True)]
        rows.append((f"{workers}", _EVENTS[event], *cells))
    title = f"A worker joins, stops, is killed, at {about['rebalance_rate']:.0f} votes/s"
    return {title: rows}


def _grouped(section: list[dict[str, Any]]) -> dict[tuple[int, str], list[tuple[float, float]]]:
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for each in section:
        key = (each["workers"], each["event"])
        found.setdefault(key, []).append((each["recovered_s"], each["pause_s"]))
    return found


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _both(by_kind: dict[str, float], name: str) -> float:
    return by_kind.get(name, 0.0) + by_kind.get(f"{name} deleted", 0.0)


def _mb(size: float) -> str:
    return f"{size / 1e6:,.1f}"


def show(results: dict[str, Any], console: Console) -> None:
    """Print the tables."""
    for title, (header, *rows) in _tables(results).items():
        table = Table(title=title)
        for column in header:
            table.add_column(column)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _markdown(results: dict[str, Any]) -> str:
    about = results["about"]
    lines = [
        f"`python -m tests.bench.recovery measure --size {about['size']}` on {about['date']}: "
        f"{about['cores']} cores, Python {about['python']}, one node of Apache Kafka "
        f"{about['kafka']} on loopback, 4 partitions, {about['rate']:.0f} votes/s in all.",
        "",
        f"![Read-back, bytes per vote, rebalances]({_PICTURE.name})",
        "",
    ]
    for title, (header, *rows) in _tables(results).items():
        lines += [f"**{title}**", "", table(header, rows), ""]
    return "\n".join(lines)


def _as_sent(written: dict[str, Any]) -> float:
    return float(written["bytes_per_vote"] * written["gzip_ratio"])


def _figure(results: dict[str, Any]) -> go.Figure:
    titles = (
        "Take-over of a partition, seconds",
        "State bytes written per vote",
        "Longest pause of a partition, seconds",
    )
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles, horizontal_spacing=0.07)
    section = results["read_back"]
    sizes = [f"{each['subjects']:,}" for each in section]
    for number, (name, label) in enumerate(
        (("compacted", "compacted"), ("after", "not compacted"))
    ):
        seconds = [median(t["total_s"] for t in each[name]["take_overs"]) for each in section]
        figure.add_bar(
            x=sizes,
            y=seconds,
            name=label,
            marker_color=_COLOURS[number],
            legend="legend",
            col=1,
            row=1,
        )
    state = results["state"]
    sizes = [f"{each['subjects']:,}" for each in state]
    for number, (name, label) in enumerate(KINDS.items()):
        sizes_of = [_both(each["written"]["by_kind"], name) for each in state]
        if any(size >= 1 for size in sizes_of):
            figure.add_bar(
                x=sizes,
                y=sizes_of,
                name=label,
                marker_color=_COLOURS[number],
                legend="legend2",
                col=2,
                row=1,
                offsetgroup="all",
                base=[
                    sum(_both(each["written"]["by_kind"], k) for k in list(KINDS)[:number])
                    for each in state
                ],
            )
    figure.add_scatter(
        x=sizes,
        y=[_as_sent(each["written"]) for each in state],
        name="as sent (gzip)",
        mode="markers",
        marker={"color": "#1a202c", "symbol": "diamond", "size": 10},
        legend="legend2",
        col=2,
        row=1,
    )
    figure.add_hline(y=TARGET, line_dash="dot", line_color="#c53030", col=2, row=1)
    grouped = _grouped(results["rebalance"])
    for number, (event, label) in enumerate(_EVENTS.items()):
        counts = [workers for workers, what in grouped if what == event]
        figure.add_bar(
            x=[f"{count}" for count in counts],
            y=[median(pause for _, pause in grouped[count, event]) for count in counts],
            name=f"one {label}",
            marker_color=_COLOURS[number],
            legend="legend3",
            col=3,
            row=1,
        )
    for column, title in enumerate(("subjects", "subjects", "workers"), 1):
        figure.update_xaxes(title_text=title, type="category", row=1, col=column)
    legends = {
        f"legend{n}": {
            "orientation": "h",
            "font": {"size": 11},
            "entrywidth": 0,
            "x": x,
            "xanchor": "center",
            "y": -0.2,
            "yanchor": "top",
        }
        for n, x in (("", 0.14), ("2", 0.5), ("3", 0.86))
    }
    return figure.update_layout(
        template="plotly_white",
        barmode="group",
        width=1200,
        height=400,
        margin={"t": 40, "b": 100, "l": 40, "r": 40},
        **legends,
    )


def _picture(figure: go.Figure, path: Path) -> None:
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1216, "height": 416})
        page.set_content(figure.to_html(include_plotlyjs=True, config={"staticPlot": True}))
        page.wait_for_selector(".main-svg .xtick")
        page.screenshot(path=path)
        browser.close()


def render(results: dict[str, Any]) -> None:
    """Write the picture, and the tables between the markers of the document.

    Raises:
        ValueError: the document has lost its markers.
    """
    _picture(_figure(results), _PICTURE)
    write_between(_DOC, _BEGIN, _END, _markdown(results))
