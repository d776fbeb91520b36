"""How hosts are asked: slowly, by their rules, and never where a redirect should not lead."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from streams.connectors.answers import Ask
from streams.connectors.config import Politeness
from streams.connectors.fetch import Fetcher
from streams.core.errors import SourceUnavailable
from tests.support.web import Handler, Site, site

INSIDE = "127.0.0.3"
QUICK = Politeness(host_interval_s=0)


@pytest.fixture
async def outer() -> AsyncIterator[Site]:
    async with site() as made:
        made.pages["/feed"] = says("outer")
        yield made


@pytest.fixture
async def inner() -> AsyncIterator[Site]:
    async with site(INSIDE) as made:
        made.pages["/"] = says("inner")
        yield made


def says(text: str) -> Handler:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=text)

    return page


def leads_to(place: str, status: int = 302) -> Handler:
    async def page(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": place})

    return page


def as_if_public(address: str) -> bool:
    """Take all of loopback for public, but for one address."""
    return address != INSIDE


async def test_requests_to_one_host_keep_their_distance(outer: Site) -> None:
    async with Fetcher(Politeness(host_interval_s=0.3)) as fetcher:
        begin = time.monotonic()
        ask = Ask(f"{outer.url}/feed", robots=False)
        await asyncio.gather(*(fetcher.get(ask) for _ in range(3)))
        assert time.monotonic() - begin >= 0.6


async def test_a_crawl_delay_counts_where_it_is_longer(outer: Site) -> None:
    outer.robots = says("User-agent: *\nCrawl-delay: 0.5\n")
    async with Fetcher(QUICK) as fetcher:
        begin = time.monotonic()
        for _ in range(2):
            await fetcher.get(Ask(f"{outer.url}/feed"))
        assert time.monotonic() - begin >= 0.5
    assert outer.robots_asked == 1


async def test_robots_txt_is_obeyed_unless_it_is_switched_off(outer: Site) -> None:
    outer.robots = says("User-agent: *\nDisallow: /*eed\n")
    async with Fetcher(QUICK) as fetcher:
        with pytest.raises(SourceUnavailable, match=r"robots\.txt of .* forbids /feed"):
            await fetcher.get(Ask(f"{outer.url}/feed"))
        assert outer.asked == []
        assert (await fetcher.get(Ask(f"{outer.url}/feed", robots=False))).body == b"outer"


async def test_robots_txt_may_speak_to_us_alone(outer: Site) -> None:
    rules = "User-agent: tickertone\nAllow: /\n\nUser-agent: *\nDisallow: /\n"
    outer.robots = says(rules)
    async with Fetcher(QUICK) as fetcher:
        assert (await fetcher.get(Ask(f"{outer.url}/feed"))).body == b"outer"


@pytest.mark.parametrize(
    ("status", "allowed"), [(404, True), (403, True), (410, True), (503, False)]
)
async def test_robots_txt_that_is_refused_allows_all_and_one_that_fails_nothing(
    outer: Site, status: int, allowed: bool
) -> None:
    async def robots(request: web.Request) -> web.Response:
        return web.Response(status=status)

    outer.robots = robots
    async with Fetcher(QUICK) as fetcher:
        if allowed:
            assert (await fetcher.get(Ask(f"{outer.url}/feed"))).body == b"outer"
        else:
            with pytest.raises(SourceUnavailable):
                await fetcher.get(Ask(f"{outer.url}/feed"))
            assert outer.asked == []


async def test_we_say_who_we_are_and_keep_no_cookies(outer: Site) -> None:
    async def cookie(request: web.Request) -> web.Response:
        return web.Response(headers={"Set-Cookie": "a=b"})

    outer.pages["/feed"] = cookie
    async with Fetcher(Politeness(user_agent="tickertone/9 (+ops@desk.example)")) as fetcher:
        for _ in range(2):
            await fetcher.get(Ask(f"{outer.url}/feed", robots=False))
    for _, headers, _ in outer.asked:
        assert headers["User-Agent"] == "tickertone/9 (+ops@desk.example)"
        assert "Cookie" not in headers


async def test_redirects_are_followed(outer: Site) -> None:
    outer.pages["/old"] = leads_to("/older", 301)
    outer.pages["/older"] = leads_to("/feed", 308)
    async with Fetcher(QUICK) as fetcher:
        answer = await fetcher.get(Ask(f"{outer.url}/old", robots=False))
    assert (answer.body, answer.url) == (b"outer", f"{outer.url}/feed")


@pytest.mark.parametrize("place", ["/loop", "", "ftp://127.0.0.1/", "http://", "//"])
async def test_redirects_that_lead_nowhere_end(outer: Site, place: str) -> None:
    outer.pages["/old"] = leads_to(place)
    outer.pages["/loop"] = leads_to("/old")
    async with Fetcher(QUICK) as fetcher:
        with pytest.raises(SourceUnavailable, match="redirects"):
            await fetcher.get(Ask(f"{outer.url}/old", robots=False))


async def test_a_redirect_from_outside_to_a_private_address_is_refused(
    outer: Site, inner: Site
) -> None:
    outer.pages["/old"] = leads_to(f"{inner.url}/")
    async with Fetcher(QUICK, as_if_public) as fetcher:
        with pytest.raises(SourceUnavailable, match=f"private address {INSIDE}"):
            await fetcher.get(Ask(f"{outer.url}/old", robots=False))
        assert inner.asked == []
        allowed = Ask(f"{outer.url}/old", robots=False, allow_private_redirects=True)
        assert (await fetcher.get(allowed)).body == b"inner"


async def test_a_detour_over_a_public_host_opens_no_way_back_in(outer: Site, inner: Site) -> None:
    inner.pages["/out"] = leads_to(f"{outer.url}/old")
    outer.pages["/old"] = leads_to(f"{inner.url}/")
    async with Fetcher(QUICK, as_if_public) as fetcher:
        with pytest.raises(SourceUnavailable, match="private address"):
            await fetcher.get(Ask(f"{inner.url}/out", robots=False))
    assert inner.paths() == ["/out"]


async def test_inside_a_private_network_redirects_are_followed(inner: Site) -> None:
    inner.pages["/old"] = leads_to("/")
    async with Fetcher(QUICK, as_if_public) as fetcher:
        assert (await fetcher.get(Ask(f"{inner.url}/old", robots=False))).body == b"inner"


async def test_robots_txt_can_not_be_used_to_look_inside(outer: Site, inner: Site) -> None:
    outer.robots = leads_to(f"{inner.url}/")
    async with Fetcher(QUICK, as_if_public) as fetcher:
        with pytest.raises(SourceUnavailable, match="private address"):
            await fetcher.get(Ask(f"{outer.url}/feed"))
    assert inner.asked == []


async def test_secrets_stay_with_the_host_they_are_for(outer: Site) -> None:
    async with site("127.0.0.2") as other:
        outer.pages["/old"] = leads_to("/hop")
        outer.pages["/hop"] = leads_to(f"{other.url}/")
        other.pages["/"] = says("other")
        ask = Ask(
            f"{outer.url}/old", {"X-Api-Key": "s3cret"}, {"token": "s3cret"}, robots=False,
            allow_private_redirects=True,
        )  # fmt: skip
        async with Fetcher(QUICK) as fetcher:
            assert (await fetcher.get(ask)).body == b"other"
        for _, headers, query in outer.asked:
            assert headers["X-Api-Key"] == query["token"] == "s3cret"
        ((_, headers, query),) = other.asked
    assert "X-Api-Key" not in headers
    assert query == {}


async def test_errors_name_the_host_and_no_secret(outer: Site) -> None:
    ask = Ask(f"{outer.url}/missing", {"X-Api-Key": "s3cret"}, {"token": "s3cret"}, robots=False)
    async with Fetcher(QUICK) as fetcher:
        with pytest.raises(SourceUnavailable) as caught:
            await fetcher.get(ask)
    assert str(caught.value) == "127.0.0.1 answers 404"


async def test_a_host_that_is_not_there_is_unavailable() -> None:
    async with Fetcher(QUICK) as fetcher:
        with pytest.raises(SourceUnavailable):
            await fetcher.get(Ask("http://127.0.0.1:1/feed", params={"token": "s3cret"}))


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA\x00: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
)
async def test_a_server_that_speaks_no_http_is_unavailable_and_tells_no_secret(
    answer: bytes,
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/feed"
    ask = Ask(url, {"X-Api-Key": "s3cret"}, {"token": "s3cret"}, robots=False, timeout_s=5)
    async with Fetcher(QUICK) as fetcher:
        with pytest.raises(SourceUnavailable) as caught:
            await fetcher.get(ask)
    server.close()
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
