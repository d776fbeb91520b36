"""HTTP as a good guest: slow per host, robots.txt obeyed, bounded in time, size and redirects."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_exceptions import ClientError, ClientPayloadError
from yarl import URL

from streams.connectors.config import Politeness
from streams.connectors.robots import Robots, parse_robots
from streams.core.addresses import is_public
from streams.core.errors import SourceGone, SourceUnavailable

MAX_REDIRECTS: Final = 5
LONGEST_HOLD_S: Final = 86_400.0
"""A Retry-After or Crawl-delay beyond this is taken for this."""

_MOVED: Final = (301, 302, 303, 307, 308)
_SLOW_DOWN: Final = (429, 503)
_ROBOTS_BYTES: Final = 512 << 10
_ROBOTS_AGAIN_S: Final = 3600.0
_CHUNK: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Ask:
    """A request."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """sent to the host of the url only, and to no other after a redirect"""
    params: Mapping[str, str] = field(default_factory=dict)
    """likewise"""
    timeout_s: float = 30.0
    max_bytes: int = 4 << 20
    robots: bool = True
    allow_private_redirects: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: a document, or the word that nothing has changed (304)."""

    unchanged: bool
    body: bytes = b""
    content_type: str = ""
    etag: str | None = None
    modified: str | None = None
    url: str = ""
    """after redirects, without the query"""


class PrivateAddress(OSError):
    """A redirect led to an address that is not public."""


class _Host:
    """What is known about one host: whose turn it is, and when the next request may go."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.free_at = 0.0
        self.held_until = 0.0
        self.robots: Robots | None = None
        self.robots_until = 0.0


class Fetcher:
    """All HTTP of one process. Enter it; hosts are known by scheme, name and port."""

    def __init__(self, politeness: Politeness) -> None:
        self._politeness = politeness
        self._hosts: dict[tuple[str, str, int], _Host] = {}
        self._open: aiohttp.ClientSession | None = None
        self._guarded: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._open = self._session(None)
        self._guarded = self._session(_public_socket)
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
            trusted = ask.allow_private_redirects or (trusted and await _inside(url))
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
                if response.status in _MOVED:
                    return _target(url, response)
                _check_status(response, name, host)
                if response.status == 304:
                    return Answer(unchanged=True)
                return Answer(
                    unchanged=False,
                    body=await _body(response, name, ask.max_bytes),
                    content_type=response.headers.get("Content-Type", ""),
                    etag=response.headers.get("ETag"),
                    modified=response.headers.get("Last-Modified"),
                    url=str(url.with_query(None)),
                )
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
        if host.robots is None or time.monotonic() >= host.robots_until:
            request = Ask(
                str(url.origin() / "robots.txt"),
                timeout_s=ask.timeout_s,
                max_bytes=_ROBOTS_BYTES,
                robots=False,
                allow_private_redirects=ask.allow_private_redirects,
            )
            text = ""
            try:
                text = (await self._get(request)).body.decode("utf-8", "replace")
            except Refused as error:
                if error.status == 429:
                    raise
            except SourceGone:
                pass  # none is there, so nothing is forbidden
            host.robots = parse_robots(text, self._politeness.user_agent)
            host.robots_until = time.monotonic() + LONGEST_HOLD_S
        if not host.robots.allows(str(url)):
            host.robots_until = min(host.robots_until, time.monotonic() + _ROBOTS_AGAIN_S)
            raise SourceUnavailable(
                f"robots.txt of {url.host} forbids {url.path}; if you have leave, robots: false",
                _ROBOTS_AGAIN_S,
            )


class Refused(SourceUnavailable):
    """The host answered with an error of the asker (4xx)."""

    def __init__(self, message: str, status: int, retry_after_s: float = 0.0) -> None:
        super().__init__(message, retry_after_s)
        self.status = status


def _target(url: URL, response: aiohttp.ClientResponse) -> URL:
    try:
        target = url.join(URL(response.headers.get("Location", "")))
        good = target.scheme in ("http", "https") and bool(target.host) and target != url
    except ValueError:
        good = False
    if not good:
        raise SourceUnavailable(f"{url.host} redirects to nowhere")
    return target.with_user(None).with_fragment(None)


def _check_status(response: aiohttp.ClientResponse, name: str, host: _Host) -> None:
    status = response.status
    if status in (200, 304):
        return
    if status == 410:
        raise SourceGone(f"{name} says that this is gone for good (410): remove the connector")
    wait_s = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    message = f"{name} answers {status}"
    if status in _SLOW_DOWN:
        # All that ask this host wait, not only the connector that was told.
        host.held_until = time.monotonic() + wait_s
    if 400 <= status < 500:
        if status in (401, 403):
            message += "; look at the secret that the configuration names"
        raise Refused(message, status, wait_s)
    raise SourceUnavailable(message, wait_s)


def retry_after(value: str | None, now: datetime) -> float:
    """Return the seconds of a Retry-After header (seconds or a date), 0 if there are none."""
    if value is None:
        return 0.0
    try:
        seconds = float(value) if value.strip().isdigit() else _seconds_until(value, now)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_HOLD_S)


def _seconds_until(date: str, now: datetime) -> float:
    moment = parsedate_to_datetime(date)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()


async def _body(response: aiohttp.ClientResponse, name: str, most: int) -> bytes:
    parts, size = [], 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        size += len(chunk)
        if size > most:
            raise SourceUnavailable(f"{name}: the answer is larger than max_bytes ({most})")
        parts.append(chunk)
    return b"".join(parts)


def _why(error: Exception) -> str:
    cause = getattr(error, "os_error", None)
    if "private address" in str(cause):
        return f"{cause}; allow_private_redirects: true would follow it"
    return f"{type(error).__name__}: {error}"


async def _inside(url: URL) -> bool:
    """Return whether every address of a host is private."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            url.host, url.port, type=socket.SOCK_STREAM
        )
    except OSError:
        return False
    return bool(found) and not any(is_public(str(each[4][0])) for each in found)


def _public_socket(address: Any) -> socket.socket:
    """Make the socket of a connection, for public addresses only.

    Here the address is the one that is really connected to, whatever a name was resolved to before.
    """
    family, kind, protocol, _, place = address
    if not is_public(str(place[0])):
        raise PrivateAddress(f"the redirect leads to the private address {place[0]}")
    return socket.socket(family=family, type=kind, proto=protocol)


def host_of(url: str) -> str:
    """Return the host of a URL, for logs: the rest may hold secrets."""
    return urlsplit(url).hostname or ""
