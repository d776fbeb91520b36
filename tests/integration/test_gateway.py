"""The gateway as it runs: a real broker, a real server, real HTTP."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from prometheus_client import CollectorRegistry

from streams.adapters.kafka_admin import ensure_topics
from streams.core.errors import ConfigurationError
from streams.core.ids import alert_id
from streams.core.records import Alert, Evidence, Origin, Window, WindowValues
from streams.gateway import app as gateway_app
from streams.gateway.app import create_app, serve
from streams.gateway.feed import Feed
from streams.settings import GatewaySettings, KafkaSettings, Settings
from streams.subject_view import draw_subject, fetch_subject, parse_subject

FIRST_MINUTE = 29_000_000


def values(**changes: Any) -> WindowValues:
    return WindowValues(
        **{
            "texts": 12, "stories": 9, "negative": 7, "neutral": 3, "positive": 2,
            "index": -0.41, "echo_index": -0.47, "low": -0.6, "high": -0.2, "effective": 8.1,
            "baseline": 0.12, "z_tone": -3.2, "z_volume": 6.4, "evidence": [],
            **changes,
        }
    )  # fmt: skip


def alert(number: int, revision: int = 0, snippet: str = "Nordwind Air grounds its fleet") -> Alert:
    evidence = Evidence(
        text_id="0" * 32, event_time=1_740_000_000_000, channel="wire",
        origin=Origin("texts.news.v1", 0, number), score=-0.8, weight=0.5, snippet=snippet,
    )  # fmt: skip
    return Alert(
        id=alert_id("negative-surge", "ticker:NWA", number), revision=revision,
        state="confirmed" if revision == 0 else "resolved", severity="warning",
        rule="negative-surge", subject="ticker:NWA", window="8h", first_minute=number,
        minute=number + revision, summary=f"Alert {number}", numbers=values(),
        evidence=[evidence], model="opinion/1", stages={"published": 1, "alerted": 2},
    )  # fmt: skip


@pytest.fixture
def settings(any_broker: tuple[str, KafkaSettings]) -> Settings:
    ensure_topics(any_broker[1])
    return Settings(kafka=any_broker[1], gateway=GatewaySettings(port=0))


@asynccontextmanager
async def running(settings: Settings, ready: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway and yield a client of it."""
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    assert settings.kafka.bootstrap
    server = asyncio.create_task(
        serve(settings, settings.kafka.bootstrap, stop=stop, started=url.set_result)
    )
    try:
        async with httpx.AsyncClient(base_url=await url, timeout=10) as client:
            if ready:
                await until(lambda: client.get("/readyz"), lambda answer: answer.status_code == 200)
            yield client
    finally:
        stop.set()
        await server


async def until(ask: Callable[[], Any], enough: Callable[[Any], bool], within_s: float = 15) -> Any:
    """Ask again until the answer is enough."""
    deadline = time.monotonic() + within_s
    while not enough(answer := await ask()):
        assert time.monotonic() < deadline, f"not in time: {answer}"
        await asyncio.sleep(0.05)
    return answer


@asynccontextmanager
async def producing(settings: Settings) -> AsyncIterator[Callable[..., Any]]:
    """Yield a function that writes records to a topic of ours."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
    await producer.start()

    async def write(topic: str, *records: Any) -> None:
        for record in records:
            value = record.model_dump_json().encode()
            await producer.send(settings.kafka.prefix + topic, value, key=b"k")
        await producer.flush()

    try:
        yield write
    finally:
        await producer.stop()


async def events(
    client: httpx.AsyncClient, count: int, after: int | None = None, **parameters: Any
) -> list[tuple[int, str, dict[str, Any]]]:
    """Return so many events of the stream as (id, event id, alert)."""
    headers = {} if after is None else {"last-event-id": str(after)}
    got: list[tuple[int, str, dict[str, Any]]] = []
    async with (
        asyncio.timeout(20),
        client.stream("GET", "/v1/stream", headers=headers, params=parameters) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        offset = -1
        async for line in answer.aiter_lines():
            field, _, rest = line.partition(": ")
            if field == "id":
                offset = int(rest)
            elif field == "data":
                payload = json.loads(rest)
                got.append((offset, payload["event_id"], payload["alert"]))
                if len(got) == count:
                    return got
    return got


async def test_posted_text_lies_on_its_topic(settings: Settings) -> None:
    text = {"text": "Nordwind Air sinks", "published_at": "2025-02-20T10:00:00Z", "mine": {"a": 1}}
    async with running(settings) as client:
        answer = await client.post("/v1/texts", json=[text, {**text, "source": "news"}])
        assert answer.status_code == 202, answer.text
        social, news = answer.json()["items"]
        assert (social["topic"], news["topic"]) == tuple(
            settings.kafka.prefix + name for name in ("texts.social.v1", "texts.news.v1")
        )
        body = "\n".join(json.dumps({**text, "id": str(n)}) for n in range(3))
        headers = {"content-type": "application/x-ndjson"}
        answer = await client.post("/v1/texts", content=body, headers=headers)
        assert len({item["id"] for item in answer.json()["items"]}) == 3
    consumer = AIOKafkaConsumer(
        social["topic"], bootstrap_servers=settings.kafka.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(10):
            records = [await consumer.getone() for _ in range(4)]
    finally:
        await consumer.stop()
    (record,) = [r for r in records if r.key == social["id"].encode()]
    assert (record.partition, record.offset) == (social["partition"], social["offset"])
    sent = json.loads(record.value)
    assert abs(sent.pop("observed_at") - time.time() * 1000) < 60_000
    assert sent == text


async def test_faulty_posts_say_what_is_wrong(settings: Settings) -> None:
    good = {"text": "x", "published_at": 1_740_000_000_000}
    async with running(settings) as client:
        answer = await client.post("/v1/texts", json=[good, {"text": 5}, {**good, "source": "tv"}])
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        faults = {(fault["index"], fault["field"]) for fault in answer.json()["errors"]}
        assert faults == {(1, "text"), (1, "published_at"), (2, "source")}

        async def status(**request: Any) -> int:
            answer = await client.post("/v1/texts", **request)
            assert answer.json()["type"].startswith("urn:tickertone:problem:")
            return answer.status_code

        as_json = {"content-type": "application/json"}
        assert await status(content=b"{", headers=as_json) == 400
        assert await status(content=b"{}", headers={"content-type": "text/plain"}) == 415
        assert await status(json=[good] * 501) == 422
        assert await status(json={**good, "text": "x" * (1 << 20)}) == 413
        foreign = {"host": "evil.example", **as_json}
        assert await status(content=b"{}", headers=foreign) == 421


async def test_alerts_come_out_and_resume_across_a_restart(settings: Settings) -> None:
    async with producing(settings) as write:
        async with running(settings) as client:
            live = asyncio.create_task(events(client, 3))
            await until(
                lambda: client.get("/metrics"),
                lambda answer: "tickertone_gateway_stream_clients 1.0" in answer.text,
            )
            await write("alerts.v1", alert(1), alert(2), alert(1, revision=1))
            got = await live
            assert [offset for offset, _, _ in got] == [0, 1, 2]
            assert [event for _, event, _ in got] == [
                f"{alert(1).id}.0", f"{alert(2).id}.0", f"{alert(1).id}.1",
            ]  # fmt: skip
            assert [offset for offset, *_ in await events(client, 2, after=0)] == [1, 2]
            (last,) = await events(client, 1, last_event_id=f"{alert(2).id}.0")
            assert last[0] == 2
        await write("alerts.v1", alert(2), alert(3))  # offset 3 repeats a revision
        async with running(settings, ready=False) as client:
            got = await events(client, 3, after=0)
            assert [offset for offset, *_ in got] == [1, 2, 4]
            everything = await events(client, 4, last_event_id=-1)
            assert [offset for offset, *_ in everything] == [0, 1, 2, 4]

            page = (await client.get("/v1/alerts")).json()["items"]
            assert [item["summary"] for item in page] == ["Alert 3", "Alert 1", "Alert 2"]
            detail = (await client.get(f"/v1/alerts/{alert(1).id}")).json()
            assert [item["revision"] for item in detail["revisions"]] == [0, 1]
            assert detail["alert"]["evidence"][0]["snippet"] == "Nordwind Air grounds its fleet"


async def test_only_committed_alerts_come_out_of_apache_kafka(on_kafka: KafkaSettings) -> None:
    await asyncio.to_thread(ensure_topics, on_kafka)
    settings = Settings(kafka=on_kafka, gateway=GatewaySettings(port=0))
    producer = AIOKafkaProducer(
        bootstrap_servers=on_kafka.bootstrap, transactional_id=f"{on_kafka.prefix}alerts"
    )
    await producer.start()

    async def write(*numbers: int) -> None:
        for number in numbers:
            value = alert(number).model_dump_json().encode()
            await producer.send_and_wait(f"{on_kafka.prefix}alerts.v1", value, partition=0)

    try:
        async with producer.transaction():
            await write(1, 2)
        await producer.begin_transaction()
        await write(3)
        await producer.abort_transaction()
        async with running(settings) as client:  # ready, though the log ends in control records
            assert [offset for offset, *_ in await events(client, 2, after=-1)] == [0, 1]
            await producer.begin_transaction()
            await write(4)
            posted = {"text": "Nordwind Air sinks", "published_at": 1_740_000_000_000}
            assert (await client.post("/v1/texts", json=posted)).status_code == 202
        async with running(settings) as client:  # ready, though a transaction is open
            live = asyncio.create_task(events(client, 1, after=1))
            await until(
                lambda: client.get("/metrics"),
                lambda answer: "tickertone_gateway_stream_clients 1.0" in answer.text,
            )
            await producer.commit_transaction()
            ((offset, _, found),) = await live
            assert (offset > 3, found["summary"]) == (True, "Alert 4")
    finally:
        await producer.stop()


async def test_stream_reads_what_memory_has_forgotten_from_the_broker(settings: Settings) -> None:
    assert settings.kafka.bootstrap
    app = create_app(settings, settings.kafka.bootstrap, feed=Feed(tail=4))
    async with producing(settings) as write, serving(app) as client:
        await write("alerts.v1", *(alert(number) for number in range(20)))
        await until(
            lambda: client.get("/v1/alerts"), lambda answer: len(answer.json()["items"]) == 20
        )
        assert app.state.gateway.feed.first > 10
        got = await events(client, 17, after=2)
        assert [offset for offset, *_ in got] == list(range(3, 20))


async def test_offset_of_another_log_is_told_and_everything_sent(settings: Settings) -> None:
    async with producing(settings) as write, running(settings) as client:
        await write("alerts.v1", alert(1), alert(2))
        headers = {"last-event-id": "999"}
        lines: list[str] = []
        async with (
            asyncio.timeout(10),
            client.stream("GET", "/v1/stream", headers=headers) as answer,
        ):
            async for line in answer.aiter_lines():
                lines.append(line)
                if line == "id: 1":
                    break
        assert lines[0].startswith(": ")
        named = [line for line in lines if line.startswith(("event: ", "id: "))]
        assert named == ["event: reset", "id: 0", "event: alert", "id: 1"]


async def test_slow_client_is_dropped_and_another_gets_everything(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.gateway.sse._SEND_TIMEOUT_S", 1.0)
    assert settings.kafka.bootstrap
    total = 400
    app = create_app(settings, settings.kafka.bootstrap, feed=Feed(backlog=50, patience_s=0.3))
    async with producing(settings) as write, serving(app) as client:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((client.base_url.host, client.base_url.port))
        slow.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        quick = asyncio.create_task(events(client, total))
        feed = app.state.gateway.feed

        async def listening() -> int:
            return len(feed.cursors)

        await until(listening, lambda count: count == 2)
        for number in range(total):
            fat = alert(number, snippet=f"{number} " + "long story " * 3000)
            await write("alerts.v1", fat)
        got = await quick
        slow.close()
        assert [offset for offset, *_ in got] == list(range(total))
        page = (await client.get("/metrics")).text
        assert "tickertone_gateway_stream_clients_dropped_total 1.0" in page


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run an app of one's own behind a real server."""
    sock = gateway_app._bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    stop = asyncio.Event()
    server = asyncio.create_task(gateway_app._Server(app, url, stop, None).serve(sockets=[sock]))
    try:
        async with httpx.AsyncClient(base_url=url, timeout=10) as client:
            await until(lambda: client.get("/readyz"), lambda answer: answer.status_code == 200)
            yield client
    finally:
        stop.set()
        await server


async def test_windows_and_subjects_are_read_back(settings: Settings) -> None:
    def window(minute: int, revision: int = 0, index: float = 0.1) -> Window:
        return Window(
            subject="ticker:BRK/B", minute=minute, revision=revision, watermark=0, closed_at=0,
            model="opinion/1", windows={"24h": values(index=index), "8h": values()},
        )  # fmt: skip

    async with producing(settings) as write, running(settings) as client:
        many = [window(FIRST_MINUTE + n) for n in range(5)]
        await write("windows.v1", *many, window(FIRST_MINUTE + 1, 2, -0.5), many[1])
        answer = await until(
            lambda: client.get("/v1/subjects/ticker%3ABRK%2FB/windows"),
            lambda answer: answer.status_code == 200 and len(answer.json()["items"]) == 5,
        )
        await until(
            lambda: client.get("/v1/subjects/ticker:BRK/B/windows?limit=4"),
            lambda answer: answer.json()["items"][0]["windows"]["24h"]["index"] == -0.5,
        )
        assert answer.json()["items"][0]["end"] == (FIRST_MINUTE + 1) * 60_000
        between = {"from": (FIRST_MINUTE + 2) * 60_000, "to": (FIRST_MINUTE + 4) * 60_000}
        answer = await client.get("/v1/subjects/ticker:BRK/B/windows", params=between)
        assert [item["minute"] - FIRST_MINUTE for item in answer.json()["items"]] == [1, 2]
        answer = await client.get("/v1/subjects", params={"q": "brk"})
        assert [item["id"] for item in answer.json()["items"]] == ["ticker:BRK/B"]
        assert (await client.get("/v1/subjects/ticker:NONE/windows")).status_code == 404


async def test_a_subject_shows_its_newest_record_and_a_short_history(settings: Settings) -> None:
    def window(minute: int, revision: int = 1) -> Window:
        strongest = alert(minute, snippet=f"in minute {minute}").evidence
        return Window(
            subject="ticker:NWA", minute=FIRST_MINUTE + minute, revision=revision, watermark=minute,
            closed_at=revision, model="opinion/1",
            windows={"24h": values(evidence=strongest), "8h": values(index=minute / 1000)},
        )  # fmt: skip

    newest = window(100, revision=2)
    async with producing(settings) as write, running(settings) as client:
        await write("windows.v1", *(window(n) for n in range(0, 101, 5)), newest, window(95))
        answer = await until(
            lambda: client.get("/v1/subjects/ticker:NWA?points=3&every=10"),
            lambda answer: answer.status_code == 200 and answer.json()["latest"]["revision"] == 2,
        )
        shown = answer.json()
        assert Window.model_validate(shown["latest"], extra="forbid") == newest
        assert (shown["id"], shown["kind"], shown["open_alerts"]) == ("ticker:NWA", "ticker", 0)
        assert [
            (point["minute"] - FIRST_MINUTE, point["index"]) for point in shown["history"]["items"]
        ] == [(85, 0.085), (95, 0.095), (100, 0.1)]
        day = (await client.get("/v1/subjects/ticker:NWA?window=24h&every=1")).json()["history"]
        assert (day["window"], day["items"][-1]["low"]) == ("24h", -0.6)
        assert (await client.get("/v1/subjects/ticker%3ANWA?window=5m")).json()["history"][
            "items"
        ] == []
        unknown = await client.get("/v1/subjects/ticker:NAW")
        assert unknown.status_code == 404
        assert unknown.json()["detail"].endswith("Near: ticker:NWA.")

        gateway = str(client.base_url)
        said = await asyncio.to_thread(run, "subject", "$nwa", "--url", gateway, "--json")
        asked = await client.get("/v1/subjects/ticker:NWA?points=48&every=30")
        assert (said.returncode, json.loads(said.stdout)) == (0, asked.json())
        panel = draw_subject(parse_subject(await fetch_subject(gateway, "ticker:NWA", "8h")), "8h")
        assert str(panel.title) == "NWA · ticker:NWA · 8h"
        with pytest.raises(
            ConfigurationError, match=r"'ticker:NAW' has come yet\. Near: ticker:NWA"
        ):
            await fetch_subject(gateway, "ticker:NAW", "8h")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line, far from settings and running stacks."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("TICKERTONE")}
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *words],
        env=plain,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


async def test_without_a_broker_it_says_so(unused_tcp_port_factory: Callable[[], int]) -> None:
    kafka = KafkaSettings(bootstrap=f"127.0.0.1:{unused_tcp_port_factory()}", transactions=False)
    alone = Settings(kafka=kafka, gateway=GatewaySettings(port=0))
    async with running(alone, ready=False) as client:
        assert (await client.get("/healthz")).status_code == 200
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        text = {"text": "x", "published_at": 1_740_000_000_000}
        answer = await client.post("/v1/texts", json=text)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "tickertone_gateway_ready_ratio 0.0" in (await client.get("/metrics")).text
        assert (await client.get("/")).status_code == 200


async def test_refuses_other_hosts_and_taken_ports() -> None:
    settings = Settings()
    for host in ("0.0.0.0", "example.com", "10.0.0.1"):
        beyond = settings.model_copy(update={"gateway": GatewaySettings(host=host, port=0)})
        with pytest.raises(ConfigurationError, match="access tokens"):
            await serve(beyond, "127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = GatewaySettings(port=taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match="TICKERTONE_GATEWAY__PORT"):
            await serve(settings.model_copy(update={"gateway": port}), "127.0.0.1:1")


def test_metrics_go_to_the_registry_that_is_given() -> None:
    registry = CollectorRegistry()
    create_app(Settings(), "127.0.0.1:1", registry=registry)
    name = "tickertone_gateway_records_read_total"
    assert registry.get_sample_value(name, {"topic": "alerts.v1"}) == 0
