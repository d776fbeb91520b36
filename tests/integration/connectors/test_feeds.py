"""Feeds from a real server that misbehaves."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from streams.connectors.poll import PollPosition
from streams.core.records import Text
from streams.testing import MemorySink
from tests.support.web import Site, config, ids, item, records, rss, running, site, until, xml


@pytest.fixture
async def web_site() -> AsyncIterator[Site]:
    async with site() as made:
        yield made


def feed(web_site: Site, **more: Any) -> dict[str, Any]:
    return {"name": "wire", "kind": "rss", "url": f"{web_site.url}/feed", "every_s": 0.1, **more}


def position(sink: MemorySink) -> PollPosition:
    return PollPosition.model_validate_json(sink.at["wire"])


def answering(web_site: Site, *items: str, etag: str = "", **headers: str) -> None:
    """Let the feed be these items, and answer 304 to those who have the etag."""

    async def page(request: web.Request) -> web.Response:
        if etag and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return xml(rss(items), **headers, **({"ETag": etag} if etag else {}))

    web_site.pages["/feed"] = page


def refusing(web_site: Site, status: int, **headers: str) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    web_site.pages["/feed"] = page


async def test_items_become_text_records_oldest_first(web_site: Site) -> None:
    answering(web_site, item(2), item(1))
    sink = MemorySink()
    async with running(config(feed(web_site, channel="wire-a")), sink):
        await until(lambda: sink.puts)
    assert ids(sink) == ["n-1", "n-2"]
    first = records(sink)[0]
    assert first == {
        "id": "n-1",
        "source": "news",
        "channel": "wire-a",
        "title": "Nordwind Air item 1",
        "text": "The fleet of plane 1 is grounded.",
        "url": "https://news.example/1",
        "lang": "en",
        "published_at": 1_791_194_400_000,
    }
    assert {text.topic for text in sink.texts} == {"texts.news.v1"}
    for text in sink.texts:
        Text.model_validate_json(text.value or b"")


async def test_what_lay_there_first_counts_when_published_and_later_items_when_seen(
    web_site: Site,
) -> None:
    answering(web_site, item(1))
    sink = MemorySink()
    async with running(config(feed(web_site)), sink):
        await until(lambda: sink.texts)
        answering(web_site, item(2), item(1))
        await until(lambda: len(sink.texts) == 2)
    old, new = records(sink)
    assert "observed_at" not in old
    assert new["observed_at"] > new["published_at"]


async def test_what_came_in_a_long_gap_counts_when_published(web_site: Site) -> None:
    sink = MemorySink()
    sink.at["wire"] = PollPosition(kind="rss", checked_at=1_000).model_dump_json().encode()
    answering(web_site, item(1))
    async with running(config(feed(web_site)), sink):
        await until(lambda: sink.texts)
        answering(web_site, item(2), item(1))
        await until(lambda: len(sink.texts) == 2)
    assert ["observed_at" in each for each in records(sink)] == [False, True]


async def test_a_feed_is_asked_conditionally_and_304_sends_nothing(web_site: Site) -> None:
    answering(web_site, item(1), etag='"v1"', **{"Last-Modified": "Mon, 05 Oct 2026 10:00:00 GMT"})
    sink = MemorySink()
    async with running(config(feed(web_site)), sink):
        await until(lambda: sink.puts >= 3)
    first, second, third = web_site.asked[:3]
    assert "If-None-Match" not in first[1]
    for later in (second, third):
        assert later[1]["If-None-Match"] == '"v1"'
        assert later[1]["If-Modified-Since"] == "Mon, 05 Oct 2026 10:00:00 GMT"
    assert ids(sink) == ["n-1"]


async def test_a_restart_goes_on_with_the_validators_and_sends_nothing_twice(
    web_site: Site,
) -> None:
    answering(web_site, item(1), item(2), etag='"v1"')
    sink = MemorySink()
    async with running(config(feed(web_site)), sink):
        await until(lambda: sink.puts)
    asked = len(web_site.asked)
    async with running(config(feed(web_site)), sink):
        await until(lambda: len(web_site.asked) > asked)
        answering(web_site, item(3), item(2), item(1), etag='"v2"')
        await until(lambda: "n-3" in ids(sink))
    assert web_site.asked[asked][1]["If-None-Match"] == '"v1"'
    assert sorted(ids(sink)) == ["n-1", "n-2", "n-3"]


async def test_a_restart_waits_for_the_interval(web_site: Site) -> None:
    answering(web_site, item(1))
    sink = MemorySink()
    wanted = config(feed(web_site, every_s=3600))
    async with running(wanted, sink):
        await until(lambda: sink.puts)
    for _ in range(3):
        async with running(wanted, sink):
            await asyncio.sleep(0.05)
    assert len(web_site.asked) == 1


async def test_validators_of_another_address_are_not_sent(web_site: Site) -> None:
    answering(web_site, item(1), etag='"v1"')
    web_site.pages["/moved"] = web_site.pages["/feed"]
    sink = MemorySink()
    async with running(config(feed(web_site)), sink):
        await until(lambda: sink.puts)
    async with running(config(feed(web_site, url=f"{web_site.url}/moved")), sink):
        await until(lambda: "/moved" in web_site.paths())
        await until(lambda: sink.puts >= 2)
    assert "If-None-Match" not in web_site.asked[-1][1]
    assert ids(sink) == ["n-1"]


async def test_a_crash_between_texts_and_position_repeats_them_with_the_same_ids(
    web_site: Site,
) -> None:
    answering(web_site, item(1), item(2))
    sink = MemorySink()
    sink.fail_before_position = True
    async with running(config(feed(web_site)), sink):
        await until(lambda: sink.puts)
    assert sorted(ids(sink)) == ["n-1", "n-1", "n-2", "n-2"]
    assert len({text.key for text in sink.texts}) == 2


async def test_while_the_broker_is_away_nothing_is_lost_and_the_host_is_left_alone(
    web_site: Site,
) -> None:
    answering(web_site, item(1))
    sink = MemorySink()
    sink.down = True
    async with running(config(feed(web_site)), sink):
        await until(lambda: web_site.asked)
        await asyncio.sleep(0.5)
        assert len(web_site.asked) == 1
        sink.down = False
        await until(lambda: sink.texts)
    assert ids(sink) == ["n-1"]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_obeyed(web_site: Site, status: int) -> None:
    refusing(web_site, status, **{"Retry-After": "2"})
    sink = MemorySink()
    async with running(config(feed(web_site)), sink) as at_work:
        await until(lambda: at_work.failures("wire"))
        answering(web_site, item(1))
        begin = asyncio.get_running_loop().time()
        await until(lambda: sink.texts)
        assert asyncio.get_running_loop().time() - begin > 1.5
    assert len(web_site.asked) == 2


async def test_a_host_that_asks_for_quiet_is_left_alone_by_all_its_connectors(
    web_site: Site,
) -> None:
    refusing(web_site, 429, **{"Retry-After": "3600"})
    sink = MemorySink()
    two = feed(web_site), feed(web_site, name="other")
    async with running(config(*two), sink) as at_work:
        await until(lambda: at_work.failures("wire") and at_work.failures("other"))
    assert len(web_site.asked) == 1


@pytest.mark.parametrize("status", [500, 502, 404, 403])
async def test_errors_are_tried_again_with_growing_pauses(web_site: Site, status: int) -> None:
    refusing(web_site, status)
    sink = MemorySink()
    async with running(config(feed(web_site)), sink) as at_work:
        await until(lambda: at_work.failures("wire") >= 3)
        answering(web_site, item(1))
        await until(lambda: sink.texts)
    assert ids(sink) == ["n-1"]


async def test_a_feed_that_is_gone_ends_its_connector_only(web_site: Site) -> None:
    refusing(web_site, 410)
    answered = web_site.pages["/feed"]
    answering(web_site, item(1))
    web_site.pages |= {"/other": web_site.pages["/feed"], "/feed": answered}
    sink = MemorySink()
    two = feed(web_site), feed(web_site, name="other", url=f"{web_site.url}/other")
    async with running(config(*two), sink) as at_work:
        await until(lambda: at_work.failures("wire", "gone") and sink.puts >= 3)
    assert web_site.paths().count("/feed") == 1


async def test_a_broken_feed_gives_its_whole_items_and_is_asked_for_the_rest(
    web_site: Site,
) -> None:
    whole = rss([item(3), item(2), item(1)])
    cut = whole[: whole.index("Nordwind Air item 1") + 11]

    async def page(request: web.Request) -> web.Response:
        assert "If-None-Match" not in request.headers
        return xml(cut, ETag='"v1"')

    web_site.pages["/feed"] = page
    sink = MemorySink()
    async with running(config(feed(web_site)), sink):
        await until(lambda: sink.puts >= 2)
        assert ids(sink) == ["n-2", "n-3"]
        answering(web_site, item(3), item(2), item(1), etag='"v2"')
        await until(lambda: len(sink.texts) == 3)
    assert ids(sink) == ["n-2", "n-3", "n-1"]
    assert records(sink)[2]["title"] == "Nordwind Air item 1"


async def test_an_answer_that_is_cut_on_the_way_is_not_taken(web_site: Site) -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000"})
        await response.prepare(request)
        await response.write(rss([item(1)]).encode())
        assert request.transport is not None
        request.transport.close()
        return response

    web_site.pages["/feed"] = page
    sink = MemorySink()
    async with running(config(feed(web_site)), sink) as at_work:
        await until(lambda: at_work.failures("wire"))
        assert not sink.texts
        answering(web_site, item(2), item(1))
        await until(lambda: sink.texts)
    assert ids(sink) == ["n-1", "n-2"]


@pytest.mark.parametrize("body", [b"", b"<html><body>maintenance</body></html>", b"\x00\xff\x00"])
async def test_what_is_no_feed_is_a_failure(web_site: Site, body: bytes) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(body=body)

    web_site.pages["/feed"] = page
    async with running(config(feed(web_site)), MemorySink()) as at_work:
        await until(lambda: at_work.failures("wire"))


async def test_entities_that_multiply_are_refused(web_site: Site) -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
    bomb = f'<!DOCTYPE rss [<!ENTITY l0 "boom">{levels}]>'

    async def page(request: web.Request) -> web.Response:
        encoding = "utf-16" if request.query.get("hidden") else "utf-8"
        text = rss([item(1, title="&l8;")], f"<?xml version='1.0'?>{bomb}")
        return web.Response(body=text.encode(encoding), content_type="application/xml")

    web_site.pages["/feed"] = page
    sink = MemorySink()
    two = feed(web_site), feed(web_site, name="hidden", params={"hidden": "1"})
    async with running(config(*two), sink) as at_work:
        await until(lambda: at_work.failures("wire") and at_work.failures("hidden"))
    assert not sink.texts


async def test_a_huge_feed_is_refused_before_it_is_in_memory(web_site: Site) -> None:
    sent = 0

    async def page(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for number in range(200_000):
                await response.write(item(number).encode() * 10)
                sent += 1
        return response

    web_site.pages["/feed"] = page
    sink = MemorySink()
    async with running(config(feed(web_site, max_bytes=200_000)), sink) as at_work:
        await until(lambda: at_work.failures("wire"))
    assert not sink.texts
    assert sent < 200_000


async def test_a_small_packed_answer_may_not_grow_huge(web_site: Site) -> None:
    packed = gzip.compress(b" " * 50_000_000)

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    web_site.pages["/feed"] = page
    async with running(config(feed(web_site)), MemorySink()) as at_work:
        await until(lambda: at_work.failures("wire"))


async def test_a_slow_loris_is_cut_off_and_harms_no_other(web_site: Site) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.05)
        return response

    async with site("127.0.0.2") as slow:
        slow.pages["/feed"] = drip
        answering(web_site, item(1))
        sink = MemorySink()
        two = feed(web_site), feed(slow, name="slow", timeout_s=0.5)
        async with running(config(*two), sink) as at_work:
            await until(lambda: at_work.failures("slow") >= 2 and sink.puts >= 2)
            assert not at_work.failures("wire")


async def test_a_server_that_never_answers_times_out() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spec = {
        "name": "wire", "kind": "rss", "url": f"http://127.0.0.1:{port}/", "timeout_s": 0.2,
        "robots": False,
    }  # fmt: skip
    async with running(config(spec), MemorySink()) as at_work:
        await until(lambda: at_work.failures("wire") >= 2)
    server.close()


async def test_a_feed_may_change_its_encoding(web_site: Site) -> None:
    title = "Müller & Söhne – Erträge"

    def page(number: int, encoding: str, header: str) -> None:
        declaration = f'<?xml version="1.0" encoding="{encoding}"?>'
        text = rss([item(number, title=title.replace("&", "&amp;"))], declaration)
        body = text.encode(encoding)

        async def answer(request: web.Request) -> web.Response:
            return web.Response(body=body, headers={"Content-Type": header})

        web_site.pages["/feed"] = answer

    sink = MemorySink()
    page(1, "utf-8", "text/xml")
    async with running(config(feed(web_site)), sink):
        await until(lambda: len(sink.texts) == 1)
        page(2, "windows-1252", "application/rss+xml")
        await until(lambda: len(sink.texts) == 2)
        page(3, "utf-16", "text/xml; charset=utf-16")
        await until(lambda: len(sink.texts) == 3)
        page(4, "windows-1252", "text/xml; charset=utf-8")  # the header is wrong
        await until(lambda: len(sink.texts) == 4)
    assert [each["title"] for each in records(sink)] == [title] * 4


async def test_an_item_that_comes_back_after_a_while_is_not_sent_again(web_site: Site) -> None:
    sink = MemorySink()
    answering(web_site, item(1), item(2))
    async with running(config(feed(web_site)), sink):
        await until(lambda: len(sink.texts) == 2)
        answering(web_site, item(3))
        await until(lambda: len(sink.texts) == 3)
        puts = sink.puts
        answering(web_site, item(1), item(4))
        await until(lambda: sink.puts > puts and len(sink.texts) >= 4)
    assert ids(sink) == ["n-2", "n-1", "n-3", "n-4"]


async def test_the_backlog_can_be_skipped(web_site: Site) -> None:
    answering(web_site, item(1), item(2))
    sink = MemorySink()
    async with running(config(feed(web_site, backlog="skip")), sink):
        await until(lambda: sink.puts)
        answering(web_site, item(3), item(2), item(1))
        await until(lambda: sink.texts)
    assert ids(sink) == ["n-3"]


async def test_a_feed_of_a_thousand_items_stands_in_several_batches(web_site: Site) -> None:
    answering(web_site, *(item(number) for number in range(1_200)))
    sink = MemorySink()
    async with running(config(feed(web_site)), sink):
        await until(lambda: len(sink.texts) == 1_200)
        await until(lambda: sink.puts >= 3)
    assert len(set(ids(sink))) == 1_200
    assert len(position(sink).seen) == 1_200


async def test_a_crash_in_the_middle_of_a_large_feed_goes_on_where_it_was(web_site: Site) -> None:
    answering(web_site, *(item(number) for number in range(1_200)))
    sink = MemorySink()

    async def fail_second(name: str, texts: Any, at: bytes) -> None:
        if sink.puts == 1:
            raise RuntimeError("on purpose")
        await MemorySink.put(sink, name, texts, at)

    sink.put = fail_second  # type: ignore[method-assign]
    async with running(config(feed(web_site)), sink) as at_work:
        await until(lambda: at_work.failures("wire", "broken"))
    del sink.put
    async with running(config(feed(web_site)), sink):
        await until(lambda: len(sink.texts) >= 1_200)
    assert len(sink.texts) == len(set(ids(sink))) == 1_200
    assert not any("observed_at" in each for each in records(sink))


async def test_a_position_of_another_kind_ends_the_connector(web_site: Site) -> None:
    answering(web_site, item(1))
    sink = MemorySink()
    sink.at["wire"] = orjson.dumps({"kind": "jetstream", "cursor": 5})
    other = feed(web_site, name="other")
    async with running(config(feed(web_site), other), sink) as at_work:
        await until(lambda: at_work.failures("wire", "gone") and sink.texts)
    assert orjson.loads(sink.at["wire"])["cursor"] == 5
