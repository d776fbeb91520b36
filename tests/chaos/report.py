"""The chaos report: a line per scenario and broker, made of the runs' own records.

`python -m tests.chaos.report` puts it into docs/chaos.md.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.support.page import write_between

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / ".chaos" / "results.jsonl"
PAGE: Final = ROOT / "docs" / "chaos.md"
_BEGIN, _END = "<!-- report:begin -->", "<!-- report:end -->"
_SUMS: Final = (
    ("texts", "texts in"),
    ("lost", "lost"),
    ("double", "double counted"),
    ("windows_wrong", "windows wrong"),
    ("windows_repeated", "windows repeated"),
    ("alerts_lost", "alerts lost"),
    ("alerts_repeated", "alerts repeated"),
    ("resent", "votes resent, dropped"),
)
COLUMNS: Final = (
    "scenario",
    "broker",
    "runs",
    "failed",
    *(title for _, title in _SUMS),
    "recovery s (median)",
    "(worst)",
)


def keep(row: Mapping[str, Any]) -> None:
    """Append one run's figures to the results."""
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def lines(rows: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Return a line of cells per scenario and broker, in the order in which they first ran."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["scenario"], row["broker"]].append(row)
    table = []
    for (scenario, broker), runs in groups.items():
        recoveries = [second for run in runs for second in run["recovery_s"]]
        times = (
            [f"{statistics.median(recoveries):.1f}", f"{max(recoveries):.1f}"]
            if recoveries
            else ["", ""]
        )
        sums = [f"{sum(run[name] for run in runs):,}" for name, _ in _SUMS]
        failed = sum(run["failed"] for run in runs)
        table.append([scenario, broker, str(len(runs)), str(failed), *sums, *times])
    return table


def table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return the report for a terminal."""
    shown = Table(title="Chaos report", title_justify="left")
    for number, title in enumerate(COLUMNS):
        shown.add_column(title, justify="left" if number < 2 else "right")
    for line in lines(rows):
        shown.add_row(*line)
    return shown


def markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the report for the docs."""
    head = "| " + " | ".join(COLUMNS) + " |"
    rule = "| --- | --- |" + " ---: |" * (len(COLUMNS) - 2)
    return "\n".join([head, rule, *("| " + " | ".join(line) + " |" for line in lines(rows))])


def main() -> None:
    """Write the results so far into the page."""
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    write_between(PAGE, _BEGIN, _END, markdown(rows))


if __name__ == "__main__":
    main()
