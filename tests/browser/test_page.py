"""The built-in page in a real browser, fed through a real broker and a real server.

`TICKERTONE_SCREENSHOT=docs/page.png pytest tests/browser` also writes the picture of the docs.
"""

import asyncio
import importlib
import json
import math
import os
import random
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from streams.adapters.kafka_admin import ensure_topics
from streams.core.ids import alert_id, make_id
from streams.core.labels import MARKET
from streams.core.records import (
    Alert,
    Entity,
    Evidence,
    Opinion,
    Origin,
    Sentiment,
    Window,
    WindowValues,
)
from streams.gateway.app import serve
from streams.settings import GatewaySettings, KafkaSettings, Settings
from tests.support.workers import until

REQUIRED = os.environ.get("TICKERTONE_TEST_BROWSER") == "require"
if not REQUIRED:
    pytest.importorskip("playwright", reason="LEFT OUT: playwright is not installed (extra dev)")
playwright = importlib.import_module("playwright.async_api")
CHROMIUM = os.environ.get("TICKERTONE_CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED,
    reason="LEFT OUT: there is no chromium on the PATH (Debian: apt-get install chromium)",
)

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SUBJECT = "ticker:DIS"
EVIL = "<img src=x onerror=\"document.title='owned'\">"
NEWS = [
    (-0.91, "wire", "Disney warns that park attendance fell sharply over the holidays"),
    (-0.84, "blog", "Higher prices keep families away from the Disney parks"),
    (-0.77, "wire", "Analysts cut Disney targets after weak guidance for the streaming unit"),
    (-0.62, "social", "Cancelled my family trip, prices at the parks are out of hand $DIS"),
    (-0.35, "social", "$DIS under the 50-day line again, volume four times the usual"),
    (0.08, "wire", "Disney to present at the media conference in September"),
    (0.55, "blog", "Why I still hold Disney: the film slate looks better than in years"),
]


def values(random_: random.Random, hour: float, shock: float, texts: int) -> WindowValues:
    index = 0.16 + 0.07 * math.sin(hour / 3.1) + random_.gauss(0, 0.012) - 0.58 * shock
    half = 0.09 + 0.6 / math.sqrt(texts)
    negative = round(texts * (0.2 + 0.45 * shock))
    positive = round((texts - negative) * 0.55)
    return WindowValues(
        texts=texts, stories=max(1, round(texts * 0.7)), negative=negative, positive=positive,
        neutral=texts - negative - positive, index=index, echo_index=index - 0.05 - 0.14 * shock,
        low=max(-1, index - half), high=min(1, index + half), effective=texts * 0.6, baseline=0.17,
        z_tone=-4.2 * shock + 0.2, z_volume=8.3 * shock + 0.4, evidence=[],
        state="thin" if texts < 4 else "ok", echo=0.3 + 0.3 * shock, authors=round(texts * 0.6),
        expected=texts * 0.7 / (1 + 3.4 * shock), buzz=1 + 3.4 * shock,
    )  # fmt: skip


def windows(subject: str, last: int, scale: float, size: float) -> list[Window]:
    """A day of windows, five minutes apart; `scale` of 1 lets the tone collapse six hours ago."""
    random_ = random.Random(subject)
    found = []
    for minute in range(last - 24 * 60, last + 1, 5):
        hour = (minute - last) / 60
        rise = 1 / (1 + math.exp(-(hour + 6) * 2.2))
        shock = scale * rise * math.exp(-max(0, hour + 5) / 7)
        texts = max(3, round(size * (1 + 0.3 * math.sin(hour / 4) + 3.4 * shock)))
        by_length = {
            key: values(random_, hour, shock, max(3, round(texts * part)))
            for key, part in (("30m", 0.12), ("8h", 1.0), ("24h", 2.4))
        }
        found.append(
            Window(
                subject=subject,
                minute=minute,
                revision=0,
                windows=by_length,
                closed_at=0,
                s_score=-2.4 * shock,
                s_delta=-0.1 * shock,
                watermark=(minute + 1) * 60_000,
                model="opinion/1",
            )
        )
    return found


def evidence(last: int) -> list[Evidence]:
    return [
        Evidence(
            text_id=make_id(snippet), event_time=(last - 9 * n) * 60_000, channel=channel,
            origin=Origin("texts.news.v1", 0, n), score=score, weight=0.9 - 0.1 * n,
            copies=5 if n == 0 else 1, snippet=snippet,
        )
        for n, (score, channel, snippet) in enumerate(NEWS[:4])
    ]  # fmt: skip


def alert(subject: str, name: str, last: int, ago: int, **changes: Any) -> Alert:
    first = last - ago
    fields = {
        "id": alert_id("negative-surge", subject, first), "revision": 0, "state": "confirmed",
        "severity": "warning", "rule": "negative-surge", "subject": subject, "window": "8h",
        "first_minute": first, "minute": first, "model": "opinion/1", "stages": {},
        "summary": f"{name}: 212 texts in 8 hours, 8.3σ above the usual volume, and a tone of "
        "−0.42 against the usual +0.17.",
        "numbers": values(random.Random(1), 0, 0.9, 212), "evidence": evidence(first), **changes,
    }  # fmt: skip
    return Alert(**fields)


def alerts(last: int) -> list[Alert]:
    return [
        alert(
            "ticker:BA", "Boeing", last, 900, state="resolved", severity="info", evidence=[],
            summary="Boeing: the surge of negative texts has ended after 3 hours.",
        ),
        alert("topic:legal", "Legal | Regulation", last, 640, severity="info"),
        alert("ticker:TSLA", "Tesla", last, 420),
        alert(SUBJECT, "Disney", last, 325, severity="critical"),
    ]  # fmt: skip


def opinions(last: int) -> list[Opinion]:
    found = []
    for n, (score, channel, text) in enumerate(NEWS):
        negative, positive = max(0.05, -score), max(0.05, score)
        about = Sentiment(
            negative=negative, neutral=1 - negative - positive, positive=positive, score=score
        )
        found.append(
            Opinion(
                id=make_id(text),
                outcome="scored",
                origin=Origin("texts.news.v1", 0, n),
                source="social" if channel == "social" else "news",
                channel=channel,
                lang="en",
                event_time=(last - 11 * n) * 60_000,
                text=text,
                sentiment=about,
                topic="earnings",
                url="https://example.com/story" if channel == "wire" else None,
                entities=[Entity(subject=SUBJECT, spans=[], relevance=1, sentiment=about)],
                model="opinion/1",
            )
        )
    return found


@pytest.fixture
async def write(settings: Settings) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
    await producer.start()

    async def write(topic: str, *records: Any) -> None:
        for record in records:
            await producer.send(settings.kafka.prefix + topic, record.model_dump_json().encode())
        await producer.flush()

    yield write
    await producer.stop()


@pytest.fixture
def settings(tansu: str) -> Settings:
    kafka = KafkaSettings(
        bootstrap=tansu, prefix=f"b{uuid.uuid4().hex[:8]}-", partitions=2, transactions=False
    )
    ensure_topics(kafka)
    return Settings(kafka=kafka, gateway=GatewaySettings(port=0))


@pytest.fixture
async def url(settings: Settings) -> AsyncIterator[str]:
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    assert settings.kafka.bootstrap
    server = asyncio.create_task(
        serve(settings, settings.kafka.bootstrap, stop=stop, started=started.set_result)
    )
    yield await started
    stop.set()
    await server


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


async def served(path: str, count: int) -> None:
    """Wait until a list of the API has so many items."""
    deadline = time.monotonic() + 15
    async with httpx.AsyncClient() as client:
        while len((await client.get(path)).json().get("items", [])) < count:
            assert time.monotonic() < deadline, path
            await asyncio.sleep(0.05)


async def newest(path: str) -> dict[str, Any]:
    """Return the newest window record that the gateway has of a subject."""
    async with httpx.AsyncClient() as client:
        found: dict[str, Any] = (await client.get(path)).json()["latest"]
        return found


async def open_page(browser: Any, url: str, **options: Any) -> tuple[Any, list[str]]:
    """Open the page; the list gathers what the browser complains about."""
    page = await browser.new_page(
        viewport={"width": 1360, "height": 1000}, locale="en-GB", timezone_id="UTC", **options
    )
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else 0)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(url)
    return page, complaints


async def test_page_shows_alerts_and_draws_the_chart(
    browser: Any, url: str, write: Any, settings: Settings
) -> None:
    last = int(time.time()) // 60 - 1
    for subject, scale, size in ((MARKET, 0.25, 900), (SUBJECT, 1.0, 60), ("ticker:TSLA", 0.7, 80)):
        await write("windows.v1", *windows(subject, last, scale, size))
    await write("opinions.v1", *opinions(last))
    await write("alerts.v1", *alerts(last))
    await served(f"{url}v1/alerts", 4)
    await served(f"{url}v1/subjects/{SUBJECT}/windows", 100)

    page, complaints = await open_page(browser, url)
    expect = playwright.expect
    await expect(page.get_by_role("status")).to_have_text("Live")
    await expect(page.locator(".alert")).to_have_count(4)
    first = page.locator(".alert").first
    await expect(first).to_contain_text("Disney: 212 texts in 8 hours")
    await first.get_by_text("Evidence (4 texts)").click()
    await expect(first).to_contain_text("park attendance fell sharply")
    await expect(page.get_by_role("heading", name="Disney")).to_be_visible()
    await expect(page.locator("#chart .scatterlayer .trace")).not_to_have_count(0)
    assert await page.locator("#chart .scatterlayer path.js-line").count() >= 3
    await expect(page.locator("#chart-text")).to_contain_text("1 alert in the time shown")
    shown = (await newest(f"{url}v1/subjects/{SUBJECT}"))["windows"]["8h"]
    tiles = page.locator("#tiles")
    for number in (
        f"{shown['low']:+.2f} to {shown['high']:+.2f}".replace("-", "−"),
        f"{shown['buzz']:.1f} ×",
        f"{shown['z_tone']:+.1f} σ".replace("-", "−"),
        f"{shown['authors']} authors",
    ):
        await expect(tiles).to_contain_text(number)
    await expect(page.locator("#subject-state")).to_be_hidden()
    if target := os.environ.get("TICKERTONE_SCREENSHOT"):
        await page.wait_for_timeout(500)
        await page.screenshot(path=target)
        await page.emulate_media(color_scheme="dark")
        await page.wait_for_timeout(500)
        await page.screenshot(path=Path(target).with_suffix(".dark.png"))
        await page.set_viewport_size({"width": 400, "height": 900})
        await page.wait_for_timeout(500)
        await page.screenshot(path=Path(target).with_suffix(".small.png"))
        await page.set_viewport_size({"width": 1360, "height": 1000})

    # What looks like markup is shown, not run.
    await write("alerts.v1", alert("ticker:EVIL", "x", last, 100, summary=f"Summary {EVIL}"))
    await expect(page.locator("#alert-list")).to_contain_text(EVIL)
    assert await page.locator("#alert-list img").count() == 0
    assert await page.title() == "Tickertone"

    # A new alert comes by itself, also as a revision of one that is shown.
    await write(
        "alerts.v1", alert("ticker:TSLA", "Tesla", last, 420, revision=1, severity="critical")
    )
    spread = alert("ticker:NVDA", "Nvidia", last, 1, verdict="coordinated")
    await write("alerts.v1", spread)
    await expect(page.locator(".alert").first).to_contain_text("Nvidia: 212 texts")
    await expect(page.get_by_text("coordinated", exact=True)).to_have_count(1)
    await expect(page.locator(".alert[data-severity=critical]")).to_have_count(2)

    # Another subject is found by name, with the keyboard alone.
    await page.get_by_role("combobox", name="Subject").fill("tesl")
    await expect(page.get_by_role("option")).to_have_count(1)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Tesla")).to_be_visible()
    await page.get_by_label("24 h").first.check(force=True)
    await expect(page).to_have_url(f"{url}#subject=ticker%3ATSLA&window=24h&range=24")

    # A window that nobody can judge says so.
    last_values = {name: values(random.Random(1), 0, 0, 3) for name in ("30m", "8h", "24h")}
    quiet = windows("ticker:TSLA", last, 0.7, 80)[-1]
    await write("windows.v1", quiet.model_copy(update={"revision": 1, "windows": last_values}))

    async def revised() -> bool:
        return bool((await newest(f"{url}v1/subjects/ticker:TSLA"))["revision"] == 1)

    # The alert makes the page ask, and the gateway reads each topic on its own.
    await until(revised, 60, "the gateway has the window")
    await write("alerts.v1", alert("ticker:TSLA", "Tesla", last, 420, revision=2))
    await expect(page.locator("#subject-state")).to_contain_text("under three effective texts")
    assert complaints == []


async def test_empty_page_says_what_to_do(browser: Any, url: str) -> None:
    page, complaints = await open_page(browser, url, color_scheme="dark")
    expect = playwright.expect
    await expect(page.get_by_role("status")).to_have_text("Live")
    await expect(page.locator("#alerts-empty")).to_contain_text("No alerts yet")
    await expect(page.locator("#chart-empty")).to_contain_text(f"curl {url}v1/texts")
    await expect(page.locator("#chart")).to_be_hidden()
    if target := os.environ.get("TICKERTONE_SCREENSHOT"):
        await page.screenshot(path=Path(target).with_suffix(".empty.png"))
    body = json.loads(
        (await page.locator("#chart-empty code").inner_text()).split("-d '")[1].rstrip("'")
    )
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{url}v1/texts", json=body)
    assert answer.status_code == 202
    assert complaints == []
