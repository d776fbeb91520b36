"""The panel of `tickertone subject`: the record's numbers, rounded, and nothing that steers."""

import asyncio
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from streams import cli
from streams.core.errors import ConfigurationError, GatewayUnreachable
from streams.core.records import EchoStory, Evidence, Move, Origin, Window, WindowValues
from streams.gateway.shapes import History, HistoryPoint, SubjectDetail
from streams.settings import GatewaySettings, Settings
from streams.subject_view import (
    BAR_CELLS,
    EVERY,
    STATES,
    draw_subject,
    fetch_subject,
    interval_bar,
    parse_subject,
    sparkline,
)
from streams.terminal import gateway_url

MINUTE = 29_867_890  # closed at 2026-10-15 14:11 UTC


def values(**changes: Any) -> WindowValues:
    text = Evidence(
        text_id="a" * 32, event_time=MINUTE * 60_000, channel="wire", score=-0.97, weight=0.9,
        origin=Origin("texts.news.v1", 0, 1), story="f", copies=3, authors=2,
        verdict="coordinated", snippet="Ampervale shares tumble \x1b[31mafter a fire",
    )  # fmt: skip
    move = Move(
        since="window", before=-100_000, now=-560_000, total=-460_000, volume=-200_000,
        tone=-240_000, novelty=-20_000, contributions=(-81_234,), remainder=-378_766,
        remaining_texts=37,
    )  # fmt: skip
    fields = {
        "texts": 40, "stories": 13, "negative": 31, "neutral": 6, "positive": 3, "index": -0.56,
        "echo_index": -0.61, "low": -0.73, "high": -0.38, "effective": 11.2, "baseline": 0.03,
        "z_tone": -4.2, "z_volume": 16.0, "echo": 0.675, "authors": 25, "channels": 4,
        "dispersion": 0.62, "disagreement": 0.18, "divergence": -0.31, "z_divergence": -1.2,
        "expected": 3.1, "buzz": 3.75, "rarity": 3.0, "move": move, "evidence": [text],
    }  # fmt: skip
    return WindowValues(**{**fields, **changes})


def detail(latest: WindowValues | None, **changes: Any) -> SubjectDetail:
    echo = EchoStory(
        story="f", copies=9, authors=3, channels=1, reposts=6, verdict="coordinated",
        text_id="b" * 32, snippet="Ampervale fire",
    )  # fmt: skip
    window = Window(
        subject="ticker:AMPV", minute=MINUTE, revision=2, windows={"8h": latest or values()},
        s_score=-2.31, s_delta=-0.42, echoes=[echo], watermark=MINUTE * 60_000 + 90_000,
        model="opinion/1", closed_at=0,
    )  # fmt: skip
    return SubjectDetail(
        id="ticker:AMPV",
        kind="ticker",
        name="Ampervale",
        open_alerts=1,
        latest=window if latest else None,
        history=History(window="8h", every=30, items=[point(30 * n, n / 10) for n in range(3)]),
        **changes,
    )


def point(minute: int, index: float | None) -> HistoryPoint:
    return HistoryPoint(minute=minute, end=0, index=index, low=None, high=None, texts=1)


def drawn(what: SubjectDetail, window: str = "8h", width: int = 120) -> str:
    shown = io.StringIO()
    Console(file=shown, width=width).print(draw_subject(what, window))
    return shown.getvalue()


def test_every_number_of_the_window_is_on_the_screen() -> None:
    shown = drawn(detail(values()))
    for said in (
        "Ampervale · ticker:AMPV · 8h",
        "2026-10-15 14:11 UTC, texts complete to 14:11 UTC, revision 2, opinion/1",
        STATES["ok"],
        "−0.56 [−0.73, −0.38]; −0.61 with every copy in full",
        "+0.03, this is −4.2σ from it",
        "−2.31 (significant), −0.42 in 15 min",
        "3.8 × usual (+16.0σ): 13 stories for 3.1, so many once in 1,000 windows",
        "40: 31 negative, 6 neutral, 3 positive; disagreement 0.18",
        "68% copies, 25 authors, 4 channels, dispersion 0.62",
        "−0.31 against social media (−1.2σ)",
        "−0.46 against the window before: volume −0.20, tone −0.24, novelty −0.02",
        "9 copies by 3 authors, coordinated: Ampervale fire",
        "▁▅█  +0.00…+0.20",
        "1 open",
    ):
        assert said in shown, shown
    (row,) = (line for line in shown.splitlines() if "tumble" in line)
    assert row.strip("│ ").split()[:6] == ["14:10", "−0.97", "0.90", "−0.081", "3", "coordinated"]


def test_days_are_told_apart_and_what_is_usual_is_not_called_rare() -> None:
    old = values().evidence[0].model_copy(update={"event_time": (MINUTE - 1440) * 60_000})
    shown = drawn(detail(values(evidence=[old], rarity=0.4, expected=0.02, stories=1, authors=1)))
    assert "2026-10-14 14:10" in shown
    assert ": 1 story for 0.02 " in shown
    assert "1 author," in shown


def test_texts_cannot_steer_the_terminal() -> None:
    shown = drawn(detail(values()), width=200)
    assert "\x1b" not in shown
    assert r"tumble \x1b[31mafter" in shown


@pytest.mark.parametrize("state", ["thin", "feed_hole", "blind"])
def test_what_cannot_be_judged_is_said_in_words(state: str) -> None:
    nothing = dict.fromkeys(
        ("index", "echo_index", "low", "high", "baseline", "z_tone", "echo", "dispersion", "buzz",
         "disagreement", "divergence", "expected", "rarity", "move")
    )  # fmt: skip
    silent = {**nothing, "state": state, "texts": 0, "stories": 0, "evidence": [], "authors": 0}
    counts = dict.fromkeys(("negative", "neutral", "positive", "channels"), 0)
    shown = drawn(detail(values(**silent, **counts)))
    assert STATES[state] in shown
    assert "none in this window" in shown
    assert "0 stories; what is usual is not known yet" in shown
    assert "None" not in shown


def test_a_subject_without_a_closed_minute_is_waited_for() -> None:
    assert "no minute of them is closed yet" in drawn(detail(None))
    assert "no minute of them is closed yet" in drawn(detail(values()), "24h")


def test_the_bar_shows_index_interval_and_usual_tone() -> None:
    bar = interval_bar(values(index=0.0, low=-0.5, high=0.5, baseline=0.25))
    assert bar == f"−1 {'·' * 10}├{'─' * 9}●{'─' * 4}┊{'─' * 4}┤{'·' * 10} +1"
    edge = interval_bar(values(index=-1.0, low=-1.0, high=1.0, baseline=None))
    assert edge == f"−1 ●{'─' * (BAR_CELLS - 2)}┤ +1"
    none = interval_bar(values(index=None, low=None, high=None, baseline=-1.0))
    assert none == f"−1 ┊{'·' * 19}┼{'·' * 20} +1"


def test_the_sparkline_leaves_silent_stretches_blank() -> None:
    points = [point(0, -0.5), point(30, 0.5), point(90, 0.0), point(120, None)]
    assert sparkline(points, 30) == "▁█ ▅  −0.50…+0.50"
    assert sparkline([point(7, 0.2)], 5) == "▁  +0.20…+0.20"
    assert sparkline([], 5) == sparkline([point(0, None)], 5) == ""


def test_every_window_has_a_history() -> None:
    from streams.core.windows import WINDOWS

    assert EVERY.keys() == WINDOWS.keys()


async def test_without_a_gateway_it_says_how_to_start_one(unused_tcp_port: int) -> None:
    with pytest.raises(GatewayUnreachable, match="start `tickertone up`"):
        await fetch_subject(f"http://127.0.0.1:{unused_tcp_port}", "market", "8h")
    with pytest.raises(ConfigurationError, match="is no http address"):
        await fetch_subject("nonsense", "market", "8h")


async def test_another_server_is_not_taken_for_a_gateway(unused_tcp_port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", unused_tcp_port)
    async with server:
        with pytest.raises(ConfigurationError, match="is no gateway of Tickertone"):
            await fetch_subject(f"http://127.0.0.1:{unused_tcp_port}", "market", "8h")
    with pytest.raises(ConfigurationError, match="not that of a gateway"):
        parse_subject(b"[]")


def test_the_gateway_of_a_running_stack_is_asked_first(tmp_path: Path) -> None:
    settings = Settings(run_dir=tmp_path, gateway=GatewaySettings(host="::1", port=7))
    assert gateway_url(settings) == "http://[::1]:7"
    stack = {"pid": os.getpid(), "gateway": "http://127.0.0.1:9"}
    (tmp_path / "stack.json").write_text(json.dumps(stack))
    assert gateway_url(settings) == "http://127.0.0.1:9"


def test_nobody_there_is_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise GatewayUnreachable("no gateway")

    monkeypatch.setattr(cli, "entry_points", lambda group: [])
    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
