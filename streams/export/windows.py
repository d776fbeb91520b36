"""Reading windows.v1 as it was at a time.

A revision was known at T if its `closed_at` is not later: the wall clock of the aggregate that
made it, part of the record. aggregate puts the same moment into the record's Kafka timestamp, but
that one changes where the broker stamps (LogAppendTime) or a topic is copied. Both lie before the
commit, by the time that a transaction takes. Event time decides nothing here: what a replay made
was known when it ran.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from streams.adapters.kafka_scan import Scan, scan
from streams.core.errors import ConfigurationError
from streams.core.topics import WINDOWS as TOPIC
from streams.core.topics import Names
from streams.core.windows import WINDOWS
from streams.export.columns import EVIDENCE_ROW, MINUTE_MS, ROW, evidence_rows, rows
from streams.export.files import all_or_nothing, check_target, write_table

SETTLED_MS: Final = 60_000
"""Records that are younger may still be in an open transaction, which the broker ends by then."""

OnProgress = Callable[[int, int], None]
"""Told how many records of how many have been passed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows."""

    as_of: int
    """milliseconds; what was known then"""
    subjects: frozenset[str] = frozenset()
    """empty: all"""
    windows: tuple[str, ...] = tuple(WINDOWS)
    since: int | None = None
    until: int | None = None
    """event time, milliseconds: since <= end of the window < until"""


@dataclass(slots=True)
class Report:
    """What was written."""

    rows: int = 0
    evidence: int | None = None
    """rows of the second file, None without one"""
    unreadable: int = 0
    """records that are not what windows.v1 promises"""
    kept_from: int | None = None
    """where retention has removed records: those made before this moment are missing"""
    files: list[Path] = field(default_factory=list)


async def export(
    bootstrap: str,
    names: Names,
    wanted: Wanted,
    out: Path,
    *,
    evidence: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Report:
    """Write the newest revision of each closed minute that was known at a time, as flat rows.

    Rows are ordered by subject, minute and window. Memory does not grow with the topic: what is
    chosen waits in a file beside the target.

    Args:
        bootstrap: Address of the broker.
        names: Prefix of the topics.
        wanted: Which rows.
        out: Target, .csv or .parquet.
        evidence: Also write the texts that weighed most, to the same name with `.evidence`
            before the suffix.
        on_progress: Told from time to time.

    Raises:
        ConfigurationError: nothing can be read or written, or there is nothing to write.
    """
    check_target(out)
    report = Report()
    with all_or_nothing(out.parent) as hidden, closing(_Chosen(hidden / ".chosen")) as chosen:
        async with scan(bootstrap, names.topic(TOPIC)) as opened:
            first = await _read(opened, wanted, evidence, chosen, report, on_progress)
            _judge(opened, wanted, first, report, names.topic(TOPIC))
        target = hidden / out.name
        report.rows = write_table(target, ROW, chosen.rows("row"))
        if not report.rows:
            raise ConfigurationError(_nothing(wanted, first))
        report.files.append(out)
        if evidence:
            beside = out.with_name(f"{out.stem}.evidence{out.suffix}")
            target = hidden / beside.name
            report.evidence = write_table(target, EVIDENCE_ROW, chosen.rows("evidence"))
            report.files.append(beside)
    return report


async def _read(
    opened: Scan,
    wanted: Wanted,
    evidence: bool,
    chosen: "_Chosen",
    report: Report,
    on_progress: OnProgress,
) -> dict[int, int]:
    """Choose among all records; return partition → `closed_at` of its first one."""
    keys = {subject.encode() for subject in wanted.subjects}
    first: dict[int, int] = {}
    done = 0
    async for partition, records in opened.batches():
        for record in records:
            begun = partition.partition in first
            if begun and keys and record.key not in keys:
                continue
            try:
                fields = orjson.loads(record.value or b"")
                closed_at = fields["closed_at"]
                if type(closed_at) is not int:
                    raise ValueError("closed_at: not integer")
                first.setdefault(partition.partition, closed_at)
                if closed_at <= wanted.as_of and _inside(fields, wanted):
                    found = list(rows(fields, wanted.windows))
                    texts = list(evidence_rows(fields, wanted.windows)) if evidence else []
                    if found:
                        chosen.offer(found, texts)
            except (ValueError, KeyError, TypeError):
                report.unreadable += 1
        chosen.flush()
        done += len(records)
        total = sum(end - opened.starts[p] for p, end in opened.ends.items())
        on_progress(done, max(done, total))
    return first


def _inside(fields: dict[str, Any], wanted: Wanted) -> bool:
    end = (fields["minute"] + 1) * MINUTE_MS
    return (
        (not wanted.subjects or fields["subject"] in wanted.subjects)
        and (wanted.since is None or wanted.since <= end)
        and (wanted.until is None or end < wanted.until)
    )


def _judge(opened: Scan, wanted: Wanted, first: dict[int, int], report: Report, topic: str) -> None:
    """Note what retention has removed.

    Raises:
        ConfigurationError: the topic is empty, or holds nothing of that time any more.
    """
    cut = {p.partition for p, start in opened.starts.items() if start > 0}
    if not first:
        why = "retention has removed every record" if cut else "aggregate has closed no minute yet"
        if report.unreadable:
            why = f"its {report.unreadable} records are no windows"
        raise ConfigurationError(f"nothing to export from {topic}: {why}")
    report.kept_from = max((first[p] for p in cut if p in first), default=None)
    if report.kept_from is not None and wanted.as_of < report.kept_from:
        raise ConfigurationError(
            f"retention has removed what was known at {moment(wanted.as_of)}: {topic} is whole "
            f"from {moment(report.kept_from)} on, so ask --as-of for that time or a later one"
        )


def _nothing(wanted: Wanted, first: dict[int, int]) -> str:
    began = min(first.values())
    if wanted.as_of < began:
        return (
            f"nothing was known at {moment(wanted.as_of)}: the first window was closed at "
            f"{moment(began)} (wall clock, also of a replay)"
        )
    about = ", ".join(sorted(wanted.subjects)) or "any subject"
    return (
        f"nothing was known at {moment(wanted.as_of)} about {about} in these windows and times; "
        "see `tickertone subject NAME`, or leave out --since and --until"
    )


def moment(milliseconds: int) -> str:
    """Return a time for people, to the second."""
    when = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


class _Chosen:
    """The newest revision of each (subject, minute) so far, on disk, in order."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA cache_size = -65536",
            "CREATE TABLE chosen (subject TEXT, minute INTEGER, revision INTEGER, row BLOB, "
            "evidence BLOB, PRIMARY KEY (subject, minute))",
            "BEGIN",
        ):
            self._database.execute(statement)
        self._waiting: list[tuple[str, int, int, bytes, bytes]] = []

    def offer(self, found: list[list[Any]], texts: list[list[Any]]) -> None:
        """Keep a minute's rows unless its revision is known: of equals, the first counts."""
        subject, minute, _, _, revision, *_ = found[0]
        self._waiting.append((subject, minute, revision, orjson.dumps(found), orjson.dumps(texts)))

    def flush(self) -> None:
        """Put what was offered on disk."""
        self._database.executemany(
            "INSERT INTO chosen VALUES (?, ?, ?, ?, ?) ON CONFLICT (subject, minute) DO UPDATE SET "
            "revision = excluded.revision, row = excluded.row, evidence = excluded.evidence "
            "WHERE excluded.revision > revision",
            self._waiting,
        )
        self._waiting.clear()

    def rows(self, what: str) -> Iterator[list[Any]]:
        """Yield the rows, or the rows of the `evidence`, by subject, minute and window."""
        statement = {
            "row": "SELECT row FROM chosen ORDER BY subject, minute",
            "evidence": "SELECT evidence FROM chosen ORDER BY subject, minute",
        }[what]
        for (cell,) in self._database.execute(statement):
            yield from orjson.loads(cell)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
