"""What people type."""

import asyncio
import getpass
import os
import signal
import socket
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from streams.adapters.actions import lost_place, read_actions, write_action
from streams.adapters.clock import now_ms
from streams.adapters.kafka_admin import apply_plan, ensure_topics, plan_apply
from streams.adapters.state_log import read_written
from streams.connect import connect
from streams.connectors.replay import ReplayReport, replay
from streams.core.actions import Action
from streams.core.entities import SHIPPED, EntityIndex
from streams.core.errors import (
    ConfigurationError,
    Reason,
    TickertoneError,
    Unreachable,
    leaves,
)
from streams.core.topics import Names
from streams.deadletters import Selection, list_dead, render, replay_dead, show_dead
from streams.demo import run_demo
from streams.embedded.supervisor import Supervisor
from streams.ledger import accepted_table, check_ledger
from streams.offline import differing, fold_votes, published_windows
from streams.readings import export_windows, show_subject
from streams.settings import Settings
from streams.settings_check import describe
from streams.terminal import answered, connected, console, errors, load
from streams.up import start_stack
from streams.worker import load_rules, run_aggregate, run_score

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Event-driven opinion monitoring: texts from Kafka become sentiment windows and alerts. "
    "Start with `tickertone demo`; `tickertone check-config` lists the TICKERTONE_… settings.",
)
ledger_app = typer.Typer(no_args_is_help=True, help="Prove that nothing was lost or counted twice.")
app.add_typer(ledger_app, name="ledger")
dead_app = typer.Typer(no_args_is_help=True, help="Texts that could not be processed, and why.")
app.add_typer(dead_app, name="dead-letters")
topics_app = typer.Typer(no_args_is_help=True, help="The topics on the broker.")
app.add_typer(topics_app, name="topics")
accept_app = typer.Typer(
    no_args_is_help=True, help="Go on in spite of a loss; kept with your name."
)
app.add_typer(accept_app, name="accept")
app.command("subject")(show_subject)
app.command("export")(export_windows)
app.command("connect")(connect)


def main() -> None:
    """Run the command line; errors are a message and an exit code, never a traceback."""
    try:
        for commands in entry_points(group="tickertone.commands"):
            app.add_typer(commands.load())
        app()
    except ConfigurationError as error:
        errors.print(f"[red]tickertone:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(3 if isinstance(error, Unreachable) else 2)
    except (TickertoneError, BaseExceptionGroup) as error:
        for one in leaves(error):
            message = f"[red]tickertone:[/] {type(one).__name__}: {one}"
            errors.print(message, highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _worker(run: Callable[[Settings], None]) -> None:
    settings = connected()
    ensure_topics(settings.kafka)
    run(settings)


@app.command()
def score() -> None:
    """Run one score worker: texts in, opinions and votes out. Start as many as you like."""
    _worker(run_score)


@app.command()
def aggregate() -> None:
    """Run one aggregate worker: votes in, windows and alerts out. Start as many as you like."""
    _worker(run_aggregate)


@app.command()
def gateway() -> None:
    """Run the gateway: REST, live stream and the page."""
    from streams.gateway.app import serve

    settings = connected()
    ensure_topics(settings.kafka)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(settings, settings.kafka.bootstrap or "", stop=stop)

    asyncio.run(run())


@app.command()
def up() -> None:
    """Run everything on this machine; broker and Triton too where the settings name none."""
    settings = answered(load())

    async def run() -> int:
        async with Supervisor(settings.run_dir) as supervisor:
            where = await start_stack(
                supervisor, settings, lambda name, what: console.print(f"{name:<10} {what}")
            )
            console.print(f"[green]ready[/]  page {where.gateway}/  broker {where.bootstrap}")
            for name, url in where.metrics.items():
                console.print(f"  {name:<10} {url}/metrics")
            console.print("  beside it, in this directory: tickertone replay FILE")
            code = await supervisor.run_until_stopped()
            if supervisor.failure:
                errors.print(f"[red]tickertone:[/] {supervisor.failure}", highlight=False)
            return code

    raise typer.Exit(asyncio.run(run()))


@app.command()
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="End after the day is shown.")] = False,
) -> None:
    """Start everything and replay a fictitious trading day until its alerts are on the screen."""
    settings = answered(load())
    raise typer.Exit(asyncio.run(run_demo(settings, console, stay=not leave)))


@app.command("replay")
def replay_command(
    files: Annotated[list[str], typer.Argument(help="JSON Lines, gzipped or not; - is stdin.")],
    speed: Annotated[
        str, typer.Option(help="Event seconds per second, or max.", metavar="N|max")
    ] = "max",
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many lines.")] = None,
) -> None:
    """Replay recorded texts with their own event times, then close all windows.

    Beside live traffic use a prefix of its own (TICKERTONE_KAFKA__PREFIX): the end record closes
    every window of the prefix.
    """
    settings = connected()
    try:
        pace = None if speed == "max" else float(speed)
    except ValueError:
        raise ConfigurationError(f"--speed is a number or max, not {speed!r}") from None
    if pace is not None and not pace > 0:
        raise ConfigurationError("--speed must be above 0")
    ensure_topics(settings.kafka)
    with Progress(
        TextColumn("replay"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[texts]} texts"),
        TimeRemainingColumn(),
        console=errors,
    ) as bar:
        task = bar.add_task("", total=None, texts=0)

        def progress(report: ReplayReport) -> None:
            bar.update(
                task,
                total=report.total_bytes,
                completed=report.read_bytes,
                texts=report.confirmed,
            )

        report = asyncio.run(
            replay(
                files,
                bootstrap=settings.kafka.bootstrap or "",
                names=Names(settings.kafka.prefix),
                speed=pace,
                limit=limit,
                idempotent=settings.kafka.transactions,
                on_progress=progress,
            )
        )
    console.print(f"{report.confirmed} texts in {report.seconds:.1f} s")


@app.command("check-config")
def check_config() -> None:
    """Print the settings in force, secrets masked; exit with 2 and all problems if any."""
    settings = load()
    table = Table("setting", "value", "meaning")
    for name, value, description in describe(settings):
        table.add_row(name, value, description)
    console.print(table)
    rules = load_rules(settings.aggregate.rules)
    names = EntityIndex.load(*SHIPPED, *settings.score.dictionaries)
    console.print(f"{len(rules)} rules, {len(names)} names of companies: all valid")


@topics_app.command("apply")
def topics_apply(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Compare the topics on the broker with what Tickertone needs, ask, and make it so.

    Makes what is missing and changes settings; deletes nothing and leaves partitions and replicas
    as they are. Exit code 2, and nothing is done, if topics contradict each other or the state.
    """
    settings = connected().kafka
    plan = plan_apply(settings, asyncio.run(read_written(settings)))
    table = Table.grid(padding=(0, 2))
    for line in plan.lines():
        table.add_row(*(Text(cell) for cell in line))
    console.print(table)
    if plan.refused:
        raise ConfigurationError("nothing was done: " + "\n".join(plan.refused))
    if not plan.to_do or dry_run:
        console.print(f"{plan.to_do} topics to be made or changed")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("nothing was done: no terminal to ask on, so add --yes")
        typer.confirm(f"Make or change {plan.to_do} topics?", abort=True)
    apply_plan(settings, plan)
    console.print(f"[green]{plan.to_do} topics made or changed[/]")


@ledger_app.command("check")
def ledger_check(
    windows: Annotated[
        bool, typer.Option("--windows", help="Also fold all votes anew and compare the windows.")
    ] = False,
) -> None:
    """Compare inputs with outputs, and votes with what was counted; exit with 1 on a difference."""
    settings = connected()
    names = Names(settings.kafka.prefix)
    report = asyncio.run(check_ledger(settings.kafka.bootstrap or "", names))
    for table in report.tables():
        console.print(table)
    for difference in report.differences:
        errors.print(f"[red]{difference}[/]", highlight=False)
    console.print("[green]balanced[/]" if report.balanced else "[red]NOT balanced[/]")
    same = not windows or _windows_stand(settings, names)
    raise typer.Exit(0 if report.balanced and same else 1)


def _windows_stand(settings: Settings, names: Names) -> bool:
    bootstrap = settings.kafka.bootstrap or ""
    rules = load_rules(settings.aggregate.rules)
    lateness_ms = round(settings.aggregate.lateness_s * 1000)
    offline = asyncio.run(fold_votes(bootstrap, names, rules, lateness_ms))
    published = asyncio.run(published_windows(bootstrap, names))
    wrong = differing(offline, published)
    console.print(
        f"{len(published)} closed minutes published, {len(offline)} by folding all votes "
        f"anew, {len(wrong)} differ"
    )
    for place in wrong[:20]:
        errors.print(f"[red]{place}[/]", highlight=False)
    return not wrong


@dead_app.command("list")
def dead_list(
    reason: Annotated[Reason | None, typer.Option(help="Only those with this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows; the newest come first.")] = 50,
) -> None:
    """List dead letters."""
    settings = connected()
    names = Names(settings.kafka.prefix)
    letters = asyncio.run(
        list_dead(settings.kafka.bootstrap or "", names, reason and reason.value, limit)
    )
    table = Table("id", "origin", "reason", "error", "bytes", "beginning")
    for letter in letters:
        origin = f"{letter.topic}/{letter.partition}/{letter.offset}"
        cells = (letter.id, origin, letter.reason, letter.error, str(letter.size_bytes))
        table.add_row(*(Text(cell) for cell in (*cells, letter.preview)))
    console.print(table)


@dead_app.command("show")
def dead_show(
    which: Annotated[str, typer.Argument(help="Its id, or TOPIC/PARTITION/OFFSET.")],
) -> None:
    """Show one dead letter whole, control characters escaped."""
    settings = connected()
    names = Names(settings.kafka.prefix)
    letter = asyncio.run(show_dead(settings.kafka.bootstrap or "", names, which))
    console.print(render(letter), markup=False, highlight=False)


@dead_app.command("replay")
def dead_replay(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Ids; none with --reason or --all.")
    ] = None,
    reason: Annotated[Reason | None, typer.Option(help="All with this reason.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    force: Annotated[bool, typer.Option(help="Also those sent back before.")] = False,
) -> None:
    """Send dead letters back to where they came from, byte for byte, after the cause is mended."""
    if not (ids or reason or everything):
        raise ConfigurationError("name ids, --reason REASON or --all")
    settings = connected()
    report = asyncio.run(
        replay_dead(
            settings.kafka.bootstrap or "",
            Names(settings.kafka.prefix),
            Selection(frozenset(ids or ()), reason and reason.value),
            force=force,
            idempotent=settings.kafka.transactions,
        )
    )
    console.print(f"{len(report.sent)} sent back")
    for why, letters in {
        "sent back before (--force sends them again)": report.already,
        "may have been sent back before (--force)": report.doubtful,
        "cut, so not whole": report.cut,
        "not found": report.absent,
    }.items():
        if letters:
            console.print(f"{len(letters)} left: {why}")


_Why = Annotated[str, typer.Option(help="What you found, for those who ask later.")]
_Who = Annotated[str, typer.Option(help="Your name.", show_default="login@host")]


@accept_app.command("hole")
def accept_hole(
    place: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION")],
    first: Annotated[int, typer.Option("--from", help="First missing offset.")],
    end: Annotated[int, typer.Option("--to", help="First offset that can be read.")],
    why: _Why,
    who: _Who = "",
) -> None:
    """Let score or aggregate pass records that retention removed before they were read.

    The worker that ended with LostRecords names the offsets; it goes on at its next start.
    """
    settings = _actionable()
    names = Names(settings.kafka.prefix)
    bootstrap = settings.kafka.bootstrap or ""
    topic, partition = asyncio.run(lost_place(bootstrap, names, place, first, end))
    _accept(
        settings,
        Action.hole(topic, partition, first, end, who=who or _login(), at=now_ms(), why=why),
    )
    console.print("The worker that ended with LostRecords passes it at its next start.")


@accept_app.command("dead-letters")
def accept_dead_letters(why: _Why, who: _Who = "") -> None:
    """Let every score worker that holds for too many dead letters go on, within seconds."""
    settings = _actionable()
    _accept(settings, Action.flood(who=who or _login(), at=now_ms(), why=why))
    console.print("Workers that hold go on within seconds; later floods hold again.")


@accept_app.command("list")
def accept_list() -> None:
    """List what was accepted: who, when, what, why."""
    settings = _actionable()
    names = Names(settings.kafka.prefix)
    actions = asyncio.run(read_actions(settings.kafka.bootstrap or "", names))
    accepted = [action for action in actions if action.accepts]
    console.print(accepted_table(accepted) if accepted else "nothing was accepted")


def _actionable() -> Settings:
    settings = connected()
    ensure_topics(settings.kafka)
    return settings


def _accept(settings: Settings, action: Action) -> None:
    if not action.why.strip():
        raise ConfigurationError("--why must say something")
    asyncio.run(write_action(settings.kafka, action))
    console.print(f"accepted by {action.who}: {action.what}", highlight=False, markup=False)


def _login() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


if __name__ == "__main__":
    main()
