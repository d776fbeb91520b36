"""A stream from a local server that speaks Jetstream, and fails in its ways."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import WSCloseCode, web

from streams.adapters.clock import now_ms
from streams.core.records import Text
from streams.testing import MemorySink
from tests.support.web import Site, config, ids, records, running, site, until

BEGIN_US = now_ms() * 1000 - 3_600_000_000


def post(number: int, text: str = "", **more: Any) -> dict[str, Any]:
    """Return an event, a second after the one before it."""
    record = {
        "$type": "app.bsky.feed.post",
        "createdAt": "2026-10-05T10:00:00.123Z",
        "langs": ["en"],
        "text": text or f"Nordwind Air post {number}",
        **more,
    }
    return event(number, {"record": record, "rkey": f"r{number}"})


def event(number: int, commit: dict[str, Any]) -> dict[str, Any]:
    base = {"operation": "create", "collection": "app.bsky.feed.post", "rev": "x", "cid": "y"}
    time_us = BEGIN_US + number * 1_000_000
    return {"did": "did:plc:abc", "time_us": time_us, "kind": "commit", "commit": base | commit}


def name(number: int) -> str:
    return f"at://did:plc:abc/app.bsky.feed.post/r{number}"


class Stream:
    """The server: it plays back from the cursor, then sends what is added."""

    def __init__(self, web_site: Site) -> None:
        self.events: list[Any] = []
        self.queries: list[dict[str, str]] = []
        self.agents: list[str] = []
        self.connections = 0
        self.drop_after: int | None = None
        """events after which the next connections are cut"""
        self.refuse = False
        self.hang = False
        self.close_code: int = WSCloseCode.OK
        web_site.pages["/subscribe"] = self.handle

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        self.agents.append(request.headers["User-Agent"])
        if self.refuse:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        cursor = int(request.query.get("cursor", BEGIN_US))
        at = 0
        while not socket.closed and not self.hang:
            while at < len(self.events):
                if self.drop_after is not None and at >= self.drop_after:
                    self.drop_after = None
                    await socket.close(code=self.close_code)
                    return socket
                each = self.events[at]
                at += 1
                if isinstance(each, dict) and each.get("time_us", 0) >= cursor:
                    await socket.send_str(orjson.dumps(each).decode())
                elif not isinstance(each, dict):
                    await socket.send_str(each)
            try:
                await socket.receive(timeout=0.02)
            except TimeoutError:
                continue
        if self.hang:
            await asyncio.sleep(30)
        return socket


@pytest.fixture
async def stream() -> AsyncIterator[tuple[Stream, dict[str, Any]]]:
    async with site() as made:
        url = f"ws://127.0.0.1:{made.port}/subscribe"
        yield Stream(made), {"name": "bluesky", "kind": "jetstream", "url": url}


Served = tuple[Stream, dict[str, Any]]


async def test_posts_become_text_records_at_the_servers_time(stream: Served) -> None:
    server, spec = stream
    server.events = [post(1, langs=["en-GB", "de"])]
    sink = MemorySink()
    async with running(config(spec, politeness={"user_agent": "tickertone/9 (+x@y)"}), sink):
        await until(lambda: sink.texts)
    (made,) = records(sink)
    assert made == {
        "id": name(1),
        "source": "social",
        "channel": "bluesky",
        "text": "Nordwind Air post 1",
        "url": "https://bsky.app/profile/did:plc:abc/post/r1",
        "author": "did:plc:abc",
        "lang": "en-GB",
        "published_at": 1_791_194_400_123,
        "observed_at": (BEGIN_US + 1_000_000) // 1000,
    }
    Text.model_validate_json(sink.texts[0].value or b"")
    assert sink.texts[0].topic == "texts.social.v1"
    assert server.queries == [{"wantedCollections": "app.bsky.feed.post"}]
    assert server.agents == ["tickertone/9 (+x@y)"]


async def test_only_new_posts_count_and_everything_moves_the_cursor(stream: Served) -> None:
    server, spec = stream
    account = {"did": "did:plc:abc", "time_us": BEGIN_US + 9_000_000, "kind": "account"}
    server.events = [
        event(1, {"operation": "delete", "rkey": "r0"}),
        event(2, {"collection": "app.bsky.feed.like", "rkey": "r2", "record": {}}),
        event(3, {"operation": "update", "rkey": "r3", "record": {"text": "edited"}}),
        event(4, {"rkey": "r4", "record": {"text": 7}}),
        event(5, {"rkey": "r5"}),
        post(6, "   "),
        post(7),
        account,
    ]
    sink = MemorySink()
    async with running(config(spec), sink):
        await until(lambda: sink.texts)
    assert ids(sink) == [name(7)]
    assert orjson.loads(sink.at["bluesky"])["cursor"] == account["time_us"]


async def test_posts_are_chosen_by_language_and_word(stream: Served) -> None:
    server, spec = stream
    server.events = [
        post(1, "NWA.DE is up", langs=["en-US"]),
        post(2, "nordwind air is up", langs=["de"]),
        post(3, "Nordwind Air est en hausse", langs=["fr"]),
        post(4, "Nordwind Airlines is another", langs=["en"]),
        post(5, "we like $nwa", langs=["en"]),
        post(6, "no language: Nordwind Air", langs=[]),
        post(7),
    ]
    sink = MemorySink()
    wanted = spec | {"langs": ["en", "de"], "words": ["Nordwind Air", "$NWA", "NWA.DE"]}
    async with running(config(wanted), sink):
        await until(lambda: len(sink.texts) >= 4)
    assert ids(sink) == [name(1), name(2), name(5), name(7)]


async def test_a_lost_connection_goes_on_without_loss_or_repeat(stream: Served) -> None:
    server, spec = stream
    server.events = [post(number) for number in range(1, 41)]
    server.drop_after = 20
    sink = MemorySink()
    async with running(config(spec), sink) as at_work:
        await until(lambda: len(sink.texts) == 40)
        assert at_work.failures("bluesky") == 1
    assert ids(sink) == [name(number) for number in range(1, 41)]
    assert server.connections == 2
    assert int(server.queries[1]["cursor"]) == server.events[19]["time_us"] - 5_000_000


async def test_a_restart_goes_on_without_loss_or_repeat(stream: Served) -> None:
    server, spec = stream
    sink = MemorySink()
    for step in range(4):
        server.events += [post(10 * step + number) for number in range(1, 11)]
        async with running(config(spec), sink):
            await until(lambda: len(sink.texts) == len(server.events))
    assert ids(sink) == [name(number) for number in range(1, 41)]
    assert [query.get("cursor") is None for query in server.queries] == [True, False, False, False]


async def test_posts_of_one_moment_are_told_apart(stream: Served) -> None:
    server, spec = stream
    server.events = [post(1), post(2) | {"time_us": BEGIN_US + 1_000_000}]
    server.drop_after = 1
    sink = MemorySink()
    async with running(config(spec), sink):
        await until(lambda: len(sink.texts) == 2)
    assert ids(sink) == [name(1), name(2)]


async def test_a_crash_before_the_position_repeats_posts_with_the_same_ids(stream: Served) -> None:
    server, spec = stream
    server.events = [post(1), post(2)]
    sink = MemorySink()
    sink.fail_before_position = True
    async with running(config(spec), sink):
        await until(lambda: sink.puts)
    assert ids(sink) == [name(1), name(2)] * 2


@pytest.mark.parametrize("code", [WSCloseCode.GOING_AWAY, WSCloseCode.INTERNAL_ERROR, 4000])
async def test_each_way_to_close_is_a_failure_that_is_tried_again(
    stream: Served, code: int
) -> None:
    server, spec = stream
    server.events, server.drop_after, server.close_code = [post(1)], 0, code
    sink = MemorySink()
    async with running(config(spec), sink) as at_work:
        await until(lambda: sink.texts)
        assert at_work.failures("bluesky") == 1


async def test_a_server_that_refuses_is_tried_again(stream: Served) -> None:
    server, spec = stream
    server.events, server.refuse = [post(1)], True
    sink = MemorySink()
    async with running(config(spec), sink) as at_work:
        await until(lambda: at_work.failures("bluesky") >= 2)
        server.refuse = False
        await until(lambda: sink.texts)


async def test_a_silent_connection_is_made_anew(stream: Served) -> None:
    server, spec = stream
    server.hang = True
    sink = MemorySink()
    async with running(config(spec | {"silence_s": 0.5}), sink) as at_work:
        await until(lambda: at_work.failures("bluesky"))
        server.hang, server.events = False, [post(1)]
        await until(lambda: sink.texts)


async def test_a_message_that_is_no_event_is_counted_and_passed(stream: Served) -> None:
    server, spec = stream
    server.events = ["not json", "[1, 2]", "null", '{"time_us": "soon"}', post(1)]
    sink = MemorySink()
    async with running(config(spec), sink) as at_work:
        await until(lambda: sink.texts)
        name_ = "tickertone_connect_items_skipped_total"
        assert at_work.registry.get_sample_value(name_, {"connector": "bluesky"}) == 4
        assert not at_work.failures("bluesky")


async def test_an_event_from_the_future_does_not_carry_the_cursor_away(stream: Served) -> None:
    server, spec = stream
    server.events = [post(1), post(10_000_000)]
    sink = MemorySink()
    async with running(config(spec), sink):
        await until(lambda: len(sink.texts) == 2)
    assert orjson.loads(sink.at["bluesky"])["cursor"] <= now_ms() * 1000
    assert all(each["observed_at"] <= now_ms() for each in records(sink))


async def test_a_time_that_can_not_be_true_gives_way_to_the_servers(stream: Served) -> None:
    server, spec = stream
    wrong = ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "yesterday", 5, None]
    server.events = [post(number, createdAt=value) for number, value in enumerate(wrong)]
    sink = MemorySink()
    async with running(config(spec), sink):
        await until(lambda: len(sink.texts) == len(wrong))
    assert all(each["published_at"] == each["observed_at"] for each in records(sink))


async def test_many_posts_stand_in_batches(stream: Served) -> None:
    server, spec = stream
    server.events = [post(number) for number in range(3_000)]
    sink = MemorySink()
    async with running(config(spec), sink):
        await until(lambda: len(sink.texts) == 3_000)
    assert len(set(ids(sink))) == 3_000
    assert sink.puts < 30
    assert len(orjson.loads(sink.at["bluesky"])["recent"]) == 6


async def test_playback_that_servers_no_longer_have_is_said(
    stream: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    server, spec = stream
    server.events = [post(1)]
    sink = MemorySink()
    long_ago = {"kind": "jetstream", "cursor": BEGIN_US - 3 * 86_400_000_000}
    sink.at["bluesky"] = orjson.dumps(long_ago)
    async with running(config(spec), sink):
        await until(lambda: sink.texts)
    said = capsys.readouterr()
    assert "source_gap" in said.out + said.err


async def test_a_redirect_is_not_followed(stream: Served) -> None:
    server, spec = stream
    server.events = [post(1)]
    async with site("127.0.0.2") as other:

        async def away(request: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": spec["url"].replace("ws", "http")})

        other.pages["/subscribe"] = away
        moved = spec | {"url": f"ws://127.0.0.2:{other.port}/subscribe"}
        async with running(config(moved), MemorySink()) as at_work:
            await until(lambda: at_work.failures("bluesky") >= 2)
    assert server.connections == 0
