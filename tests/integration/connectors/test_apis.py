"""JSON APIs from a real server: mapping, cursors, pages, faults."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from streams.core.records import Text
from streams.testing import MemorySink
from tests.support.web import Site, config, ids, records, running, site, until


@pytest.fixture
async def web_site() -> AsyncIterator[Site]:
    async with site() as made:
        yield made


def api(web_site: Site, **more: Any) -> dict[str, Any]:
    return {
        "name": "desk",
        "kind": "http",
        "url": f"{web_site.url}/v1/news",
        "every_s": 0.1,
        "items": "data.articles",
        "fields": {
            "id": "key",
            "text": "[headline, body]",
            "title": "headline",
            "url": "links.web",
            "published_at": "created",
            "author": "by",
            "lang": "language",
            "tickers": "symbols[].code",
        },
        **more,
    }


def article(number: int, **more: Any) -> dict[str, Any]:
    return {
        "key": number,
        "headline": f"Nordwind Air {number}",
        "body": "The fleet is grounded.",
        "created": f"2026-10-05T10:{number % 60:02d}:00Z",
        **more,
    }


def answering(web_site: Site, *articles: dict[str, Any], **more: Any) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.json_response({"data": {"articles": list(articles)}, **more})

    web_site.pages["/v1/news"] = page


async def test_an_item_is_mapped_field_by_field(web_site: Site) -> None:
    links = {"web": "https://desk.example/7"}
    full = article(7, links=links, by="A. Writer", language="en", symbols=[{"code": "NWA"}])
    answering(web_site, full)
    sink = MemorySink()
    async with running(config(api(web_site)), sink):
        await until(lambda: sink.texts)
    (made,) = records(sink)
    assert made == {
        "id": "7",
        "source": "news",
        "channel": "desk",
        "title": "Nordwind Air 7",
        "text": "Nordwind Air 7\nThe fleet is grounded.",
        "url": "https://desk.example/7",
        "author": "A. Writer",
        "lang": "en",
        "published_at": 1_791_194_820_000,
        "tickers": ["NWA"],
    }
    Text.model_validate_json(sink.texts[0].value or b"")


@pytest.mark.parametrize(
    ("times", "value"),
    [
        ("iso", "2026-10-05T12:07:00+02:00"),
        ("seconds", 1_791_194_820),
        ("seconds", "1791194820.0"),
        ("milliseconds", 1_791_194_820_000),
        ("rfc2822", "Mon, 05 Oct 2026 10:07:00 +0000"),
    ],
)
async def test_times_come_in_many_forms(web_site: Site, times: str, value: Any) -> None:
    answering(web_site, article(7, created=value))
    sink = MemorySink()
    async with running(config(api(web_site, times=times)), sink):
        await until(lambda: sink.texts)
    assert records(sink)[0]["published_at"] == 1_791_194_820_000


async def test_items_without_id_or_text_are_counted_and_others_go_on(web_site: Site) -> None:
    without = [{"key": 5}, {"headline": "no id"}, "no object", None, article(1)]
    answering(web_site, *without)  # type: ignore[arg-type]
    sink = MemorySink()
    async with running(config(api(web_site)), sink) as at_work:
        await until(lambda: sink.texts)
        labels = {"connector": "desk"}
        name = "tickertone_connect_items_skipped_total"
        await until(lambda: at_work.registry.get_sample_value(name, labels) >= 4)
    assert ids(sink) == ["1"]


async def test_html_becomes_plain_text(web_site: Site) -> None:
    answering(
        web_site, article(1, headline="A &amp; B", body="<p>The <b>fleet</b></p><p>stays</p>")
    )
    sink = MemorySink()
    async with running(config(api(web_site, html=True)), sink):
        await until(lambda: sink.texts)
    assert records(sink)[0]["title"] == "A & B"
    assert "fleet stays" in records(sink)[0]["text"]


async def test_the_largest_value_of_the_items_is_the_next_cursor(web_site: Site) -> None:
    answering(web_site, article(9), article(10), article(3))
    sink = MemorySink()
    spec = api(web_site, cursor={"param": "since", "newest": "key", "start": "2"})
    async with running(config(spec), sink):
        await until(lambda: len(web_site.asked) >= 3)
    assert [query.get("since") for _, _, query in web_site.asked[:3]] == ["2", "10", "10"]
    assert ids(sink) == ["9", "10", "3"]


class Pages:
    """An API that hands out its articles two at a time, by a token, up to where it hangs."""

    def __init__(self, web_site: Site) -> None:
        self.articles: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.hangs_at = 0
        web_site.pages["/v1/news"] = self.page

    async def page(self, request: web.Request) -> web.Response:
        start = int(request.query.get("page", "0"))
        if start >= self.hangs_at:
            await self.open.wait()
        run = self.articles[start : start + 2]
        answer: dict[str, Any] = {"data": {"articles": run}}
        if run:
            answer["next"] = str(start + len(run))
        return web.json_response(answer)


async def test_pages_are_read_to_the_end_and_a_restart_goes_on_there(web_site: Site) -> None:
    pages = Pages(web_site)
    pages.articles = [article(number) for number in range(7)]
    sink = MemorySink()
    spec = api(web_site, every_s=3600, cursor={"param": "page", "next": "next"})
    async with running(config(spec), sink):
        await until(lambda: len(web_site.asked) == 5)
        await until(lambda: sink.puts == 5)
    assert ids(sink) == [str(number) for number in range(7)]
    assert not any("observed_at" in each for each in records(sink))
    pages.articles += [article(number) for number in range(7, 10)]
    spec["every_s"] = 0.1
    async with running(config(spec), sink):
        await until(lambda: len(sink.texts) == 10)
    assert ids(sink) == [str(number) for number in range(10)]
    assert web_site.asked[5][2]["page"] == "7"
    assert all("observed_at" in each for each in records(sink)[7:])


async def test_a_crash_in_the_middle_of_the_pages_loses_and_repeats_nothing(
    web_site: Site,
) -> None:
    pages = Pages(web_site)
    pages.articles = [article(number) for number in range(20)]
    pages.hangs_at = 6
    pages.open.clear()
    sink = MemorySink()
    spec = api(web_site, every_s=3600, cursor={"param": "page", "next": "next"})
    async with running(config(spec), sink):
        await until(lambda: sink.puts == 3)
    pages.open.set()
    assert len(sink.texts) == 6
    async with running(config(spec), sink):  # in spite of the hour: the backlog is not finished
        await until(lambda: len(sink.texts) == 20)
    assert ids(sink) == [str(number) for number in range(20)]


async def test_a_cursor_that_never_stands_still_does_not_ask_without_end(web_site: Site) -> None:
    async def endless(request: web.Request) -> web.Response:
        number = int(request.query.get("page", "0")) + 1
        answer = {"data": {"articles": [article(number)]}, "next": str(number)}
        return web.json_response(answer)

    web_site.pages["/v1/news"] = endless
    sink = MemorySink()
    cursor = {"param": "page", "next": "next", "pages": 4}
    async with running(config(api(web_site, every_s=3600, cursor=cursor)), sink):
        await until(lambda: sink.puts == 4)
    assert len(web_site.asked) == 4


@pytest.mark.parametrize(
    "body", [b"not json", b"[]", b'{"data": {}}', b'{"data": {"articles": {"a": 1}}}', b"\xff"]
)
async def test_an_answer_without_a_list_is_a_failure_and_moves_nothing(
    web_site: Site, body: bytes
) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(body=body)

    web_site.pages["/v1/news"] = page
    sink = MemorySink()
    async with running(config(api(web_site)), sink) as at_work:
        await until(lambda: at_work.failures("desk"))
        assert not sink.at
        answering(web_site, article(1))
        await until(lambda: sink.texts)


async def test_secrets_come_from_where_the_file_says_and_may_change(
    web_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(web_site, article(1))
    monkeypatch.setenv("DESK_TOKEN", "t0ken")
    key = tmp_path / "key"
    key.write_text("old\n")
    spec = api(
        web_site,
        headers={"Authorization": {"env": "DESK_TOKEN", "prefix": "Bearer "}},
        params={"apikey": {"file": str(key)}, "limit": "5"},
    )
    async with running(config(spec), MemorySink()):
        await until(lambda: web_site.asked)
        key.write_text("new\n")
        await until(lambda: web_site.asked[-1][2]["apikey"] == "new")
    assert web_site.asked[0][1]["Authorization"] == "Bearer t0ken"
    assert web_site.asked[0][2] == {"apikey": "old", "limit": "5"}


async def test_a_secret_that_is_gone_for_a_moment_is_waited_for(
    web_site: Site, tmp_path: Path
) -> None:
    answering(web_site, article(1))
    key = tmp_path / "key"
    spec = api(web_site, params={"apikey": {"file": str(key)}})
    sink = MemorySink()
    async with running(config(spec), sink) as at_work:
        await until(lambda: at_work.failures("desk"))
        key.write_text("here")
        await until(lambda: sink.texts)


async def test_an_etag_belongs_to_one_cursor(web_site: Site) -> None:
    async def page(request: web.Request) -> web.Response:
        if "If-None-Match" in request.headers:
            return web.Response(status=304)
        since = int(request.query.get("since", "0"))
        run = [article(number) for number in range(since + 1, min(since + 3, 6))]
        return web.json_response({"data": {"articles": run}}, headers={"ETag": '"same"'})

    web_site.pages["/v1/news"] = page
    sink = MemorySink()
    spec = api(web_site, cursor={"param": "since", "newest": "key"})
    async with running(config(spec), sink):
        await until(lambda: len(sink.texts) == 5)
        await until(lambda: "If-None-Match" in web_site.asked[-1][1])
    assert web_site.asked[-1][2]["since"] == "5"
    assert orjson.loads(sink.at["desk"])["cursor"] == 5
