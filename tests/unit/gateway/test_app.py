"""The app without a server or a broker: headers, errors, OpenAPI, files."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from streams.gateway import page
from streams.gateway.app import create_app
from streams.gateway.guard import is_loopback_host
from streams.settings import Settings


@pytest.fixture
def app() -> FastAPI:
    return create_app(Settings(), "127.0.0.1:1")


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)  # without lifespan: nothing is connected
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize(
    ("header", "ok"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("127.0.0.1:1", True),
        ("[::1]", True),
        ("[::1]:8080", True),
        ("", False),
        ("127.0.0.1.evil.example", False),
        ("localhost:evil", False),
        ("evil.example:80", False),
        ("::1", False),
    ],
)
def test_only_loopback_names_are_answered(header: str, ok: bool) -> None:
    assert is_loopback_host(header) is ok


async def test_every_answer_forbids_foreign_scripts(client: httpx.AsyncClient) -> None:
    for path in ("/", "/v1/alerts", "/nothing", "/static/app.js"):
        headers = (await client.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


async def test_errors_are_problem_details(client: httpx.AsyncClient) -> None:
    for path, status in (
        ("/nothing", 404),
        ("/v1/alerts/unknown", 404),
        ("/v1/subjects/ticker:X/texts", 404),
        ("/v1/subjects/ticker:X", 404),
        ("/v1/subjects/ticker:X?window=1h", 422),
        ("/v1/alerts?limit=0", 422),
        ("/v1/alerts?since=yesterday", 422),
        ("/v1/stream?last_event_id=x.1", 400),
        ("/static/..%2Fapp.py", 404),
    ):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (
            status,
            "application/problem+json",
        )
        body = answer.json()
        assert body["status"] == status
        assert body["type"].startswith("urn:tickertone:problem:")
    answer = await client.get("/v1/alerts?limit=0")
    assert answer.json()["errors"][0]["field"] == "limit"
    assert (await client.delete("/v1/alerts")).status_code == 405


async def test_openapi_describes_every_route(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    assert set(schema["paths"]) == {
        "/v1/subjects",
        "/v1/subjects/{subject}",
        "/v1/subjects/{subject}/windows",
        "/v1/subjects/{subject}/texts",
        "/v1/alerts",
        "/v1/alerts/{alert}",
        "/v1/stream",
        "/v1/texts",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert operation.get("description"), path
            for parameter in operation.get("parameters", []):
                assert parameter.get("description") or parameter["schema"].get("description"), path
    named = set(re.findall(r"#/components/schemas/(\w+)", str(schema)))
    assert named <= set(schema["components"]["schemas"])
    assert {"Text", "ProblemDetails", "AlertItem"} <= named


async def test_metrics_name_routes_by_template(client: httpx.AsyncClient) -> None:
    await client.get("/v1/alerts/nosuch")
    await client.get("/what/ever")
    text = (await client.get("/metrics")).text
    name = "tickertone_gateway_requests_total"
    assert f'{name}{{method="GET",route="/v1/alerts/{{alert}}",status="404"}} 1.0' in text
    assert f'{name}{{method="GET",route="none",status="404"}} 1.0' in text
    assert "nosuch" not in text
    assert 'tickertone_gateway_records_read_total{topic="alerts.v1"} 0.0' in text


async def test_files_are_revalidated(client: httpx.AsyncClient) -> None:
    answer = await client.get("/static/plotly.min.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    headers = {"if-none-match": answer.headers["etag"]}
    again = await client.get("/static/plotly.min.js", headers=headers)
    assert (again.status_code, again.content) == (304, b"")


async def test_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    html = (await client.get("/")).text
    assert "plotly-styles" not in html  # the mark was replaced
    for file in re.findall(r'(?:src|href)="([^"]+)"', html):
        assert file.startswith(("/", "#")), file
    for path in (Path(page.__file__).parent / "static").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "innerHTML" not in text, path
        outside = set(re.findall(r"https?://[\w.]+", text)) - {"http://www.w3.org"}
        assert not outside, path
