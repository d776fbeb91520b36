"""The demo: a fictitious trading day becomes alerts with their evidence, on the real parts."""

import asyncio
import json
import time
from datetime import UTC, datetime

import aiohttp
import orjson
from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from streams.connectors.replay import ReplayReport, replay
from streams.core.records import Alert
from streams.core.topics import Names
from streams.embedded.supervisor import Supervisor
from streams.ledger import check_ledger
from streams.samples import COMPANIES, STREAM
from streams.settings import Settings
from streams.up import Addresses, start_stack

_LAST_ALERTS_S = 2.0
_COLOURS = {"critical": "red", "warning": "yellow", "info": "cyan"}


async def run_demo(settings: Settings, console: Console, *, stay: bool) -> int:
    """Start everything, replay the sample day, show its alerts; return the exit code.

    Args:
        settings: As for `tickertone up`.
        console: Where to show it.
        stay: Keep the page up until Ctrl-C.

    Raises:
        ConfigurationError: a part is missing, or did not become ready.
    """
    started = time.monotonic()

    def progress(name: str, what: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:6.1f} s[/]  {name:<10} {what}")

    console.print("[bold]Tickertone demo[/]: a fictitious trading day, on a real broker and model")
    dictionaries = json.dumps([str(COMPANIES)])
    async with Supervisor(settings.run_dir) as supervisor:
        where = await start_stack(
            supervisor, settings, progress, {"TICKERTONE_SCORE__DICTIONARIES": dictionaries}
        )
        ready = time.monotonic()
        console.print(f"[green]ready[/] after {ready - started:.1f} s; page: {where.gateway}/")
        shown = asyncio.create_task(_show_alerts(where, console, ready))
        try:
            ok = await _replay_day(settings, where, console)
            await asyncio.sleep(_LAST_ALERTS_S)
            console.print(
                "The day is over: every text is accounted for."
                if ok
                else "[red]The ledger does not balance; see the run directory.[/]"
            )
            if stay and not supervisor.failure:
                console.print(f"Open {where.gateway}/ to look around; Ctrl-C stops everything.")
                code = await supervisor.run_until_stopped()
                if supervisor.failure:
                    console.print(f"[red]{supervisor.failure}[/]")
                return code
            return 0 if ok else 1
        finally:
            shown.cancel()
            for outcome in await asyncio.gather(shown, return_exceptions=True):
                if isinstance(outcome, Exception):
                    console.print(f"[red]the live stream ended: {outcome!r}[/]")


async def _replay_day(settings: Settings, where: Addresses, console: Console) -> bool:
    names = Names(settings.kafka.prefix)
    report = await replay([str(STREAM)], bootstrap=where.bootstrap, names=names)
    console.print(f"replayed {report.confirmed} texts in {report.seconds:.1f} s")
    return await _settled(where, names, console, report)


async def _settled(where: Addresses, names: Names, console: Console, report: ReplayReport) -> bool:
    """Wait until score and aggregate have caught up; whether the ledger balances then."""
    deadline = time.monotonic() + 120
    with Progress(
        TextColumn("scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("", total=report.confirmed)
        while time.monotonic() < deadline:
            ledger = await check_ledger(where.bootstrap, names)
            bar.update(task, completed=sum(p.scored + p.filtered + p.dead for p in ledger.inputs))
            if ledger.balanced:
                return True
            await asyncio.sleep(1)
    for table in ledger.tables():
        console.print(table)
    return False


async def _show_alerts(where: Addresses, console: Console, ready: float) -> None:
    """Follow the live stream, as any subscriber would."""
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{where.gateway}/v1/stream") as response,
    ):
        event = ""
        async for raw in response.content:
            line = raw.decode().strip()
            if line.startswith("event:"):
                event = line[6:].strip()
            if line.startswith("data:") and event == "alert":
                alert = Alert.model_validate(orjson.loads(line[5:])["alert"])
                console.print(render_alert(alert))
                console.print(f"[dim]{time.monotonic() - ready:.1f} s after being ready[/]")


def render_alert(alert: Alert) -> Panel:
    """Return an alert as a panel: the sentence, then the texts that made it."""
    evidence = Table("when", "tone", "copies", "text", box=None, padding=(0, 1))
    for item in alert.evidence:
        when = datetime.fromtimestamp(item.event_time / 1000, UTC)
        evidence.add_row(
            f"{when:%H:%M}", f"{item.score:+.2f}", str(item.copies), Text(item.snippet)
        )
    minute = datetime.fromtimestamp(alert.minute * 60, UTC)
    return Panel(
        Group(Text(alert.summary, style="bold"), evidence)
        if alert.state != "resolved"
        else alert.summary,
        title=f"{alert.severity} · {alert.subject} · {alert.state} · {minute:%Y-%m-%d %H:%M} UTC",
        border_style=_COLOURS[alert.severity] if alert.state != "resolved" else "green",
    )
