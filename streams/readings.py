"""The commands that read what the service has found out: `subject` and `export`."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streams.adapters.clock import now_ms
from streams.core.errors import ConfigurationError
from streams.core.labels import subject_named
from streams.core.records import parse_time
from streams.core.topics import Names
from streams.core.windows import WINDOWS
from streams.export.files import check_target
from streams.export.windows import SETTLED_MS, Report, Wanted, export, moment
from streams.subject_view import draw_subject, fetch_subject, parse_subject
from streams.terminal import connected, console, errors, gateway_url, load

_LENGTHS: Final = ", ".join(WINDOWS)
_WATCH_S: Final = 5.0


def show_subject(
    name: Annotated[str, typer.Argument(help="AAPL, $aapl, topic:earnings or market.")],
    window: Annotated[str, typer.Option(help=f"One of {_LENGTHS}.")] = "8h",
    url: Annotated[
        str | None,
        typer.Option(
            help="Of the gateway, such as http://127.0.0.1:8080.",
            show_default="of `tickertone up` here, else of the settings",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What the gateway answers.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again every 5 seconds, until Ctrl-C.")
    ] = False,
) -> None:
    """Show where a subject stands: index, interval, buzz, tone against its own usual, evidence.

    The bar runs from −1 to +1: the index ● in its 95 % interval, the usual tone ┊. The frame is red
    or green where the whole interval lies below or above the usual tone.
    """
    subject, (length,) = _subject(name), _windows([window])
    settings = load()
    gateway = url or gateway_url(settings)

    def ask() -> bytes:
        return asyncio.run(fetch_subject(gateway, subject, length))

    def show(body: bytes) -> None:
        if as_json:
            print(body.decode())  # noqa: T201 - as it came, without colours or folds
        else:
            console.print(draw_subject(parse_subject(body), length))

    if not watch:
        show(ask())
    elif as_json or not console.is_terminal:
        _repeat(ask, show)
    else:
        _live(ask, length)


def _repeat(ask: Callable[[], bytes], show: Callable[[bytes], None]) -> None:
    """Show every answer that differs from the one before."""
    shown = b""
    with suppress(KeyboardInterrupt):
        while True:
            answer = ask()
            if answer != shown:
                show(answer)
                shown = answer
            time.sleep(_WATCH_S)


def _live(ask: Callable[[], bytes], window: str) -> None:
    """Keep the panel on the screen; a gateway that is away is waited for."""
    panel = draw_subject(parse_subject(ask()), window)
    with suppress(KeyboardInterrupt), Live(panel, console=console, auto_refresh=False) as live:
        while True:
            time.sleep(_WATCH_S)
            try:
                panel = draw_subject(parse_subject(ask()), window)
                live.update(panel, refresh=True)
            except ConfigurationError as error:
                live.update(Group(panel, f"[yellow]waiting:[/] {error}"), refresh=True)


def export_windows(
    out: Annotated[Path, typer.Option("--out", "-o", help="FILE.csv or FILE.parquet.")],
    as_of: Annotated[
        str | None, typer.Option(help="ISO 8601, UTC without a zone.", show_default="now")
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(help="Only this one: AAPL, topic:earnings, market. May come several times."),
    ] = None,
    window: Annotated[
        list[str] | None, typer.Option(help=f"Only this one of {_LENGTHS}; several times too.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Windows that end then or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Windows that end before.")] = None,
    evidence: Annotated[
        bool,
        typer.Option("--evidence", help="Also FILE.evidence.csv: its strongest texts."),
    ] = False,
) -> None:
    """Write the windows as they were known at a time: the same time gives the same file for ever.

    Known is what the clock on the wall had seen made by then (`closed_at`), so late texts that came
    afterwards change nothing. What a replay made was known when it ran. --since and --until look at
    the time of the windows themselves.
    """
    now = now_ms()
    wanted = Wanted(
        as_of=now if as_of is None else _time(as_of, "--as-of"),
        subjects=frozenset(_subject(name) for name in subject or ()),
        windows=_windows(window),
        since=None if since is None else _time(since, "--since"),
        until=None if until is None else _time(until, "--until"),
    )
    if wanted.as_of > now:
        raise ConfigurationError(f"--as-of {as_of} lies ahead: nothing is known of it yet")
    check_target(out)
    settings = connected()
    with Progress(
        TextColumn("reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records"),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None)
        report = asyncio.run(
            export(
                settings.kafka.bootstrap or "",
                Names(settings.kafka.prefix),
                wanted,
                out,
                evidence=evidence,
                on_progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        )
    _say(report, wanted, now)


def _say(report: Report, wanted: Wanted, now: int) -> None:
    for file, count in zip(report.files, (report.rows, report.evidence), strict=False):
        console.print(
            f"{count:,} rows as known at {moment(wanted.as_of)}: {file}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    notes = []
    if report.kept_from is not None:
        notes.append(
            f"retention has removed what was made before {moment(report.kept_from)}: minutes that "
            "were closed before are missing"
        )
    if now - wanted.as_of < SETTLED_MS:
        notes.append(
            "records of the last minute may still be on their way: for a file that can be made "
            "again, ask --as-of for a time more than a minute ago"
        )
    if report.unreadable:
        notes.append(f"{report.unreadable} records are no windows and were passed over")
    for note in notes:
        errors.print(f"[yellow]note:[/] {note}", highlight=False, soft_wrap=True)


def _windows(names: list[str] | None) -> tuple[str, ...]:
    if unknown := set(names or ()) - set(WINDOWS):
        raise ConfigurationError(f"--window {', '.join(sorted(unknown))}: there are {_LENGTHS}")
    return tuple(name for name in WINDOWS if not names or name in names)


def _subject(name: str) -> str:
    try:
        return subject_named(name)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _time(given: str, option: str) -> int:
    try:
        return parse_time(int(given) if given.isdigit() else given)
    except ValueError as error:
        raise ConfigurationError(
            f"{option} {given!r} {error}; write 2026-10-15T14:00 (UTC), 2026-10-15T14:00+02:00 or "
            "milliseconds"
        ) from None
