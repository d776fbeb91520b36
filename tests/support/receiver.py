"""A webhook receiver in a process of its own, as a subscriber might run it: it verifies with the
specification's library, and answers well, slowly, badly or not at all, as the path says.

`python receiver.py HOST PORT SECRETS [CERTIFICATE KEY]`; the first line it prints is its port.
`GET /seen` tells what came.
"""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

SEEN: list[dict[str, Any]] = []
TRIES: Counter[str] = Counter()
NAMES: list[str | None] = []


def look(request: web.Request, body: bytes, secrets: list[str]) -> None:
    verified = []
    for secret in secrets:
        try:
            Webhook(secret).verify(body, dict(request.headers))
            verified.append(True)
        except (WebhookVerificationError, ValueError):
            verified.append(False)
    SEEN.append(
        {
            "path": request.path_qs,
            "host": request.headers.get("host"),
            "id": request.headers.get("webhook-id"),
            "timestamp": request.headers.get("webhook-timestamp"),
            "type": request.headers.get("content-type"),
            "signatures": len(request.headers.get("webhook-signature", "").split()),
            "verified": verified,
            "body": body.decode(),
            "server_name": NAMES[-1] if NAMES else None,
        }
    )


async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
    what, _, value = request.match_info["what"].partition("/")
    asked = {"Retry-After": request.query["after"]} if "after" in request.query else {}
    if what == "status":
        return web.Response(status=int(value), headers=asked)
    if what == "date":
        return web.Response(status=503, headers={"Retry-After": formatdate(usegmt=True)})
    if what == "flaky":
        TRIES[request.headers["webhook-id"]] += 1
        return web.Response(
            status=204 if TRIES[request.headers["webhook-id"]] > int(value) else 500
        )
    if what == "redirect":
        return web.Response(status=int(value), headers={"Location": request.query["to"]})
    if what == "slow":
        await asyncio.sleep(float(value))
    if what == "hang":
        await asyncio.sleep(3600)
    if what == "huge":
        return await endless(request, body)
    if what == "head":
        return web.Response(headers={"X-Long": "x" * int(value)})
    return web.Response(text="thank you")


async def endless(request: web.Request, chunk: bytes) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(chunk * 64)
    return response


async def raw(host: str, answers: bytes) -> int:
    """A port that answers every connection with the same bytes and then says no more."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            for byte in answers:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
            await asyncio.sleep(3600)

    server = await asyncio.start_server(on_connection, host, 0)
    return int(server.sockets[0].getsockname()[1])


async def main(host: str, port: str, secrets: str, *files: str) -> None:
    async def on_post(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        look(request, body, secrets.split())
        return await answer(request, body)

    async def on_seen(request: web.Request) -> web.Response:
        return web.json_response(SEEN)

    app = web.Application(client_max_size=1 << 20)
    app.router.add_get("/seen", on_seen)
    app.router.add_route("*", "/{what:.*}", on_post)
    context = None
    if files:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
        context.sni_callback = lambda _connection, name, _context: NAMES.append(name)
    runner = web.AppRunner(app, handle_signals=True)
    await runner.setup()
    site = web.TCPSite(runner, host, int(port), ssl_context=context)
    await site.start()
    bound = runner.addresses[0][1]
    drip = await raw(host, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 3000)
    noise = await raw(host, b"SSH-2.0-OpenSSH_9.2\r\n")
    print(json.dumps({"port": bound, "drip": drip, "noise": noise}), flush=True)
    await asyncio.Event().wait()


class Receiver:
    """The process, from the side of a test."""

    def __init__(self, process: "subprocess.Popen[str]", host: str, ports: dict[str, int]) -> None:
        self.process = process
        self.host = host
        self.ports = ports
        self.port = ports["port"]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def seen(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/seen", timeout=10) as answer:
            return list(json.load(answer))


@contextlib.contextmanager
def receiver(
    secrets: list[str], host: str = "127.0.0.1", port: int = 0, files: tuple[Path, ...] = ()
) -> Iterator[Receiver]:
    """A running receiver."""
    command = [sys.executable, __file__, host, str(port), " ".join(secrets), *map(str, files)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield Receiver(process, host, json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
