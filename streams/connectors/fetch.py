"""HTTP as a good guest: slow per host, robots.txt obeyed, bounded in time, size and redirects."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_exceptions import ClientError, ClientPayloadError
from yarl import URL

from streams.connectors.answers import (
    LONGEST_HOLD_S,
    MOVED,
    SLOW_DOWN,
    Answer,
    Ask,
    Refused,
    check_status,
    read_body,
    target_of,
)
from streams.connectors.config import Politeness
from streams.connectors.robots import Robots, parse_robots
from streams.core.addresses import is_public
from streams.core.errors import SourceGone, SourceUnavailable

MAX_REDIRECTS: Final = 5
_ROBOTS_BYTES: Final = 2 << 20
_ROBOTS_AGAIN_S: Final = 3600.0


class PrivateAddress(OSError):
    """A redirect led to an address that is not public."""


class _Host:
    """What is known about one host: whose turn it is, and when the next request may go."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.rules = asyncio.Lock()
        self.free_at = 0.0
        self.held_until = 0.0
        self.robots: Robots | None = None
        self.robots_until = 0.0


class Fetcher:
    """All HTTP of one process. Enter it; hosts are known by scheme, name and port."""

    def __init__(self, politeness: Politeness, public: Callable[[str], bool] = is_public) -> None:
        """Nothing is asked yet.

        Args:
            politeness: How hosts are treated.
            public: Tells public from private addresses.
        """
        self._politeness = politeness
        self._public = public
        self._hosts: dict[tuple[str, str, int], _Host] = {}
        self._open: aiohttp.ClientSession | None = None
        self._guarded: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._open = self._session(None)
        self._guarded = self._session(self._public_socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._open, self._guarded):
            if session is not None:
                await session.close()

    def _session(self, sockets: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=sockets),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._politeness.user_agent},
            timeout=aiohttp.ClientTimeout(),  # asyncio.timeout says it for all hops together
            trust_env=False,
        )

    async def get(self, ask: Ask) -> Answer:
        """Return the answer, after its host's turn has come.

        Raises:
            SourceUnavailable: no answer, a wrong one, too large or too slow; robots.txt or the
                host says not now.
            SourceGone: the host says that it ended (410).
        """
        if ask.robots:
            await self._obey(ask)
        return await self._get(ask)

    async def _get(self, ask: Ask) -> Answer:
        url, trusted = URL(ask.url), True
        origin = url.origin()
        for _ in range(MAX_REDIRECTS + 1):
            # The first address is the operator's choice, whatever it is. From private ones
            # redirects may stay inside; once one is public, none may go in.
            session = self._open if trusted else self._guarded
            if session is None:
                raise RuntimeError("enter the fetcher first")
            async with self._turn(url) as host:
                answer = await self._hop(session, host, url, ask, home=url.origin() == origin)
            if isinstance(answer, Answer):
                return answer
            trusted = ask.allow_private_redirects or (trusted and await self._inside(url))
            if url.scheme == "https" and answer.scheme == "http":
                raise SourceUnavailable(f"{url.host} redirects from https to http: refused")
            url = answer
        raise SourceUnavailable(f"{origin.host} redirects more than {MAX_REDIRECTS} times")

    async def _hop(
        self, session: aiohttp.ClientSession, host: _Host, url: URL, ask: Ask, *, home: bool
    ) -> Answer | URL:
        """Ask once; return the answer or where it redirects to."""
        name = url.host or ""
        try:
            async with (
                asyncio.timeout(ask.timeout_s),
                session.get(
                    url.update_query(ask.params) if home and ask.params else url,
                    headers=ask.headers if home else None,
                    allow_redirects=False,
                ) as response,
            ):
                if response.status in MOVED:
                    return target_of(url, response)
                check_status(response, name)
                if response.status == 304:
                    return Answer(unchanged=True)
                return Answer(
                    unchanged=False,
                    body=await read_body(response, name, ask.max_bytes),
                    content_type=response.headers.get("Content-Type", ""),
                    etag=response.headers.get("ETag"),
                    modified=response.headers.get("Last-Modified"),
                    url=str(url.with_query(None)),
                )
        except Refused as error:
            if error.status in SLOW_DOWN:
                # All that ask this host wait, not only the connector that was told.
                host.held_until = time.monotonic() + error.retry_after_s
            raise
        except TimeoutError:
            raise SourceUnavailable(f"{name}: no whole answer in {ask.timeout_s:g} s") from None
        except ClientPayloadError as error:
            raise SourceUnavailable(f"{name}: the answer is cut or damaged: {error}") from None
        except (ClientError, OSError, ValueError) as error:
            raise SourceUnavailable(f"{name}: {_why(error)}") from None

    @contextlib.asynccontextmanager
    async def _turn(self, url: URL) -> AsyncGenerator[_Host]:
        """Wait until a host may be asked again; one request at a time."""
        host = self._host(url)
        async with host.turn:
            now = time.monotonic()
            if host.held_until > now:
                raise SourceUnavailable(f"{url.host} asked to be left alone", host.held_until - now)
            await asyncio.sleep(max(host.free_at - now, 0))
            try:
                yield host
            finally:
                pause_s = self._politeness.host_interval_s
                if host.robots is not None:
                    pause_s = max(pause_s, host.robots.delay_s)
                host.free_at = time.monotonic() + min(pause_s, LONGEST_HOLD_S)

    def _host(self, url: URL) -> _Host:
        return self._hosts.setdefault((url.scheme, url.host or "", url.port or 0), _Host())

    async def _obey(self, ask: Ask) -> None:
        """Look at robots.txt, at most once a day, as RFC 9309 has it."""
        url = URL(ask.url)
        host = self._host(url)
        async with host.rules:
            if host.robots is None or time.monotonic() >= host.robots_until:
                host.robots = await self._rules(url, ask)
                host.robots_until = time.monotonic() + LONGEST_HOLD_S
            if not host.robots.allows(str(url)):
                host.robots_until = min(host.robots_until, time.monotonic() + _ROBOTS_AGAIN_S)
                raise SourceUnavailable(
                    f"robots.txt of {url.host} forbids {url.path}; with leave: robots: false",
                    _ROBOTS_AGAIN_S,
                )

    async def _rules(self, url: URL, ask: Ask) -> Robots:
        text = ""
        try:
            answer = await self._get(
                Ask(
                    str(url.origin() / "robots.txt"),
                    timeout_s=ask.timeout_s,
                    max_bytes=_ROBOTS_BYTES,
                    allow_private_redirects=ask.allow_private_redirects,
                )
            )
            text = answer.body.decode("utf-8", "replace")
        except SourceGone:
            pass  # none is there, so nothing is forbidden
        except Refused as error:
            if error.status == 429 or error.status >= 500:
                raise
        return parse_robots(text, self._politeness.user_agent)

    async def _inside(self, url: URL) -> bool:
        """Return whether every address of a host is private."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                url.host, url.port, type=socket.SOCK_STREAM
            )
        except OSError:
            return False
        return bool(found) and not any(self._public(str(each[4][0])) for each in found)

    def _public_socket(self, address: Any) -> socket.socket:
        """Make the socket of a connection, for public addresses only.

        Here the address is the one that is connected to, whatever a name was resolved to before.
        """
        family, kind, protocol, _, place = address
        if not self._public(str(place[0])):
            raise PrivateAddress(f"the redirect leads to the private address {place[0]}")
        return socket.socket(family=family, type=kind, proto=protocol)


def _why(error: Exception) -> str:
    cause = getattr(error, "os_error", None)
    if "private address" in str(cause):
        return f"{cause}; allow_private_redirects: true would follow it"
    if isinstance(error, aiohttp.ClientResponseError):  # what it says of itself has the whole URL
        return f"{type(error).__name__}: {error.message[:200]}"
    if isinstance(error, ValueError):
        return type(error).__name__
    return f"{type(error).__name__}: {error}"


def host_of(url: str) -> str:
    """Return the host of a URL, for logs: the rest may hold secrets."""
    return urlsplit(url).hostname or ""
