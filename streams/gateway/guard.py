"""Who may ask, and what every answer carries: the ASGI layer around the app.

Without tokens the only protection is that nothing but this machine can ask. A page on the web
could still ask through a visitor's browser (DNS rebinding), so the Host header must name the
loopback; and it could not post, because application/json is not sent across origins unasked.
"""

import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.gateway.metrics import GatewayMetrics
from streams.gateway.problems import ProblemError, answer

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """Checks the Host header, adds the security headers, counts and times the requests."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                self._count(scope, message["status"], time.perf_counter() - began)
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if not is_loopback_host(host):
            problem = ProblemError(
                421,
                "wrong-host",
                "This gateway answers to localhost, 127.0.0.1 and [::1] only: it has no access "
                "tokens yet. Ask it by one of these names, through an SSH tunnel if need be.",
            )
            await answer(problem)(scope, receive, send_on)
            return
        await self._app(scope, receive, send_on)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", None) or "none"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.record_request(route, method, status, seconds)


def is_loopback_host(header: str) -> bool:
    """Return whether a Host header names this machine, with or without a port."""
    name, colon, port = header.lower().rpartition(":")
    if not colon or not port.isdigit():
        name = header.lower()
    return name in LOOPBACK_HOSTS
