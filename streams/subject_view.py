"""Where a subject stands, on one screen: asked of the gateway, drawn for a terminal.

The numbers are those of the window record, rounded; nothing is computed anew.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Final
from urllib.parse import quote

import aiohttp
import orjson
from pydantic import ValidationError
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.core.errors import ConfigurationError, GatewayUnreachable
from streams.core.records import Move, Window, WindowValues
from streams.deadletters import printable
from streams.gateway.shapes import MINUTE_MS, HistoryPoint, SubjectDetail

EVERY: Final = {"5m": 1, "30m": 5, "8h": 30, "24h": 60}
"""Minutes from one point of the sparkline to the next, by window."""

POINTS: Final = 48
BAR_CELLS: Final = 41
"""Cells of the bar from -1 to 1, an odd number so that zero has one."""

STATES: Final = {
    "ok": "enough texts and history to judge",
    "thin": "thin: under three effective texts, so the index says little",
    "feed_hole": "feed hole: the feed brings under a quarter of its usual, silence means nothing",
    "blind": "blind: under five days of history, so nothing to compare with",
}

_SPARKS: Final = "▁▂▃▄▅▆▇█"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)


async def fetch_subject(gateway: str, subject: str, window: str) -> bytes:
    """Return what a gateway knows of a subject, as it answered (JSON).

    Args:
        gateway: Its address, such as http://127.0.0.1:8080.
        subject: Such as ticker:AAPL.
        window: The window of the history.

    Raises:
        GatewayUnreachable: nobody answers there.
        ConfigurationError: the subject is not known, or the address is of something else.
    """
    address = f"{gateway.rstrip('/')}/v1/subjects/{quote(subject, safe='')}"
    query = {"window": window, "points": str(POINTS), "every": str(EVERY[window])}
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(address, params=query) as response,
        ):
            body = await response.read()
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise ConfigurationError(f"--url {gateway} is no http address") from error
    except (aiohttp.ClientError, OSError) as error:
        raise GatewayUnreachable(
            f"no gateway answers at {gateway}: start `tickertone up` (or `tickertone gateway`), or "
            "name its address with --url"
        ) from error
    if response.status == 200:
        return body
    try:
        detail = orjson.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = f"what answers at {gateway} is no gateway of Tickertone (HTTP {response.status})"
    raise ConfigurationError(str(detail))


def parse_subject(body: bytes) -> SubjectDetail:
    """Read the gateway's answer.

    Raises:
        ConfigurationError: it is something else.
    """
    try:
        return SubjectDetail.model_validate_json(body)
    except ValidationError as error:
        raise ConfigurationError("the answer is not that of a gateway of this version") from error


def draw_subject(detail: SubjectDetail, window: str) -> Panel:
    """Return one window of a subject as a panel."""
    latest = detail.latest
    values = latest.windows.get(window) if latest else None
    title = f"{printable(detail.name)} · {printable(detail.id)} · {window}"
    if latest is None or values is None:
        waiting = "texts have come, and no minute of them is closed yet"
        return Panel(waiting, title=Text(title), title_align="left")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for label, what in _lines(latest, values):
        grid.add_row(label, Text(what))
    history = detail.history
    if spark := sparkline(history.items, history.every):
        grid.add_row(f"last {_length(POINTS * history.every)}", Text(spark))
    if detail.open_alerts:
        grid.add_row("alerts", Text(f"{detail.open_alerts} open", style="bold"))
    return Panel(
        Group(grid, *([_evidence(latest, values)] if values.evidence else [])),
        title=Text(title),
        title_align="left",
        border_style=_colour(values),
    )


def _lines(latest: Window, values: WindowValues) -> Iterator[tuple[str, str]]:
    """Yield (label, what it says), without what nothing is known of."""
    end = _clock((latest.minute + 1) * MINUTE_MS)
    complete = f"texts complete to {_near(latest.watermark, end)}"
    yield "as of", f"{end}, {complete}, revision {latest.revision}, {printable(latest.model)}"
    yield "state", STATES[values.state]
    if values.index is not None:
        interval = f"[{_signed(values.low)}, {_signed(values.high)}]"
        in_full = f"{_signed(values.echo_index)} with every copy in full"
        yield "index", f"{_signed(values.index)} {interval}; {in_full}"
        yield "", interval_bar(values)
    if values.baseline is not None:
        off = "" if values.z_tone is None else f", this is {_signed(values.z_tone, 1)}σ from it"
        yield "usual tone", f"{_signed(values.baseline)}{off}"
    if latest.s_score is not None:
        delta = "" if latest.s_delta is None else f", {_signed(latest.s_delta)} in 15 min"
        yield "S-Score", f"{_signed(latest.s_score)} ({_strength(latest.s_score)}){delta}"
    yield "buzz", _buzz(values)
    yield "texts", _texts(values)
    if spread := ", ".join(_spread(values)):
        yield "spread", spread
    if values.divergence is not None:
        z = "" if values.z_divergence is None else f" ({_signed(values.z_divergence, 1)}σ)"
        yield "news", f"{_signed(values.divergence)} against social media{z}"
    if values.move:
        yield "move", _move(values.move)
    for echo in latest.echoes:
        by = _count(echo.authors, "author", "authors")
        told = f"{echo.copies:,} copies by {by}, {echo.verdict}"
        yield "told again", f"{told}: {printable(echo.snippet)}"


def _buzz(values: WindowValues) -> str:
    stories = _count(values.stories, "story", "stories")
    if values.buzz is None or values.expected is None:
        return f"{stories}; what is usual is not known yet"
    z = "" if values.z_volume is None else f" ({_signed(values.z_volume, 1)}σ)"
    rarity = values.rarity or 0.0
    rare = f", so many once in {10**rarity:,.0f} windows" if rarity >= 1 else ""
    usual = f"{values.expected:,.{1 if values.expected >= 1 else 2}f}"
    return f"{values.buzz:.1f} × usual{z}: {stories} for {usual}{rare}"


def _texts(values: WindowValues) -> str:
    sides = ", ".join(
        f"{count:,} {side}"
        for side, count in (
            ("negative", values.negative),
            ("neutral", values.neutral),
            ("positive", values.positive),
        )
        if count
    )
    split = "" if values.disagreement is None else f"; disagreement {values.disagreement:.2f}"
    return f"{values.texts:,}: {sides}{split}" if sides else "none in this window"


def _spread(values: WindowValues) -> Iterator[str]:
    if values.echo is not None:
        yield f"{values.echo:.0%} copies"
    if values.authors:
        yield _count(values.authors, "author", "authors")
    if values.channels:
        yield _count(values.channels, "channel", "channels")
    if values.dispersion is not None:
        yield f"dispersion {values.dispersion:.2f}"


def _move(move: Move) -> str:
    against = "the window before" if move.since == "window" else "its usual tone"
    total, volume, tone, novelty = (
        _signed(part / 1_000_000) for part in (move.total, move.volume, move.tone, move.novelty)
    )
    return f"{total} against {against}: volume {volume}, tone {tone}, novelty {novelty}"


def _evidence(latest: Window, values: WindowValues) -> Table:
    table = Table(
        *("when", "score", "weight", "moves", "copies", "verdict", "text"),
        box=None,
        padding=(0, 1),
        title="strongest texts",
        title_justify="left",
        title_style="dim",
    )
    end = _clock((latest.minute + 1) * MINUTE_MS)
    added = values.move.contributions if values.move else ()
    for text, part in zip_longest(values.evidence, added[: len(values.evidence)]):
        moves = "–" if part is None else _signed(part / 1_000_000, 3)
        cells = (
            _near(text.event_time, end).removesuffix(" UTC"),
            _signed(text.score),
            f"{text.weight:.2f}",
            moves,
            f"{text.copies:,}",
            text.verdict,
            printable(text.snippet),
        )
        table.add_row(*map(Text, cells))
    return table


def interval_bar(values: WindowValues) -> str:
    """Return the interval between -1 and 1: `├──●──┤`, `┊` at the usual tone, `┼` at zero."""
    cells = ["·"] * BAR_CELLS
    cells[_cell(0)] = "┼"
    if values.baseline is not None:
        cells[_cell(values.baseline)] = "┊"
    if values.low is not None and values.high is not None:
        low, high = _cell(values.low), _cell(values.high)
        cells[low : high + 1] = ["─"] * (high - low + 1)
        cells[low], cells[high] = "├", "┤"
        if values.baseline is not None and low < _cell(values.baseline) < high:
            cells[_cell(values.baseline)] = "┊"
    if values.index is not None:
        cells[_cell(values.index)] = "●"
    return f"−1 {''.join(cells)} +1"


def _cell(value: float) -> int:
    return round((min(max(value, -1.0), 1.0) + 1) / 2 * (BAR_CELLS - 1))


def sparkline(points: Sequence[HistoryPoint], every: int) -> str:
    """Return the index over time and its range, a cell per stretch of so many minutes.

    The lowest and the highest index shown are the lowest and the highest cell; a cell is blank
    where no minute was closed.
    """
    known = {point.minute // every: point.index for point in points if point.index is not None}
    if not known:
        return ""
    lowest, highest = min(known.values()), max(known.values())
    scale = (len(_SPARKS) - 1) / (highest - lowest) if highest > lowest else 0.0
    cells = (
        _SPARKS[round((known[slot] - lowest) * scale)] if slot in known else " "
        for slot in range(min(known), max(known) + 1)
    )
    return f"{''.join(cells)}  {_signed(lowest)}…{_signed(highest)}"


def _length(minutes: int) -> str:
    return f"{minutes} min" if minutes % 60 else f"{minutes // 60} h"


def _colour(values: WindowValues) -> str:
    """Red or green where the whole interval lies off the usual tone, and can be judged."""
    usual = values.baseline
    if values.state != "ok" or usual is None or values.low is None or values.high is None:
        return "dim"
    return "red" if values.high < usual else "green" if values.low > usual else "blue"


def _strength(score: float) -> str:
    """Say how unusual an S-Score is.

    Source:
        Social Market Analytics: below 1 is neutral, above 2 significant, above 3 extreme.
    """
    size = abs(score)
    if size < 1:
        return "neutral"
    return "extreme" if size > 3 else "significant" if size > 2 else "off its usual"


def _signed(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _near(milliseconds: int, clock: str) -> str:
    """Return a time, without its day where that is the one of another time."""
    found = _clock(milliseconds)
    return found[11:] if found[:10] == clock[:10] else found


def _clock(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"
