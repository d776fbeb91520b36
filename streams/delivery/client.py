"""One guarded POST: to the addresses that were approved, without redirects, in bounded time.

aiohttp, because the service runs on it already, and because its resolver and its socket factory
are public: the first hands out the approved addresses only, the second is asked for each socket
before it connects. The certificate is checked against the URL's host all the same.
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from streams.core.errors import ContractError, TickertoneError
from streams.delivery.guard import Approved, Lookup, LookupFailed, Target, approve
from streams.settings import DeliverySettings

TIMEOUT_S: Final = 15.0
BODY_BYTES: Final = 20_000
HEADER_BYTES: Final = 4096
"""Longest line of an answer's head; more than 64 lines are refused too."""


class Trouble(StrEnum):
    """What kept a request from an answer."""

    DNS = "dns"
    CONNECTION = "connection"
    TLS = "tls"
    TIMEOUT = "timeout"
    ANSWER = "answer"
    """what came back is no HTTP, or its head is too long"""


class CallFailed(TickertoneError):
    """A receiver gave no answer."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


@dataclass(frozen=True)
class Answer:
    """What is read of a receiver's answer; its body never is."""

    status: int
    retry_after: str | None


class Client:
    """Sends requests; holds no connection open between them."""

    def __init__(
        self,
        settings: DeliverySettings,
        lookup: Lookup,
        *,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Hand in how names are looked up, and what certificates are trusted (the system's)."""
        self._settings = settings
        self._lookup = lookup
        self._tls = tls or ssl.create_default_context()
        self._timeout_s = timeout_s

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Send a body of at most 20 kB and return the status of the answer.

        The time limit covers lookup, connection, TLS, sending and the answer's head.

        Raises:
            TargetRefused: the guard does not let the request out; nothing was sent.
            CallFailed: no answer.
            ValueError: the body is too long.
        """
        if len(body) > BODY_BYTES:
            raise ValueError(f"a body of {len(body)} bytes is longer than {BODY_BYTES}")
        try:
            async with asyncio.timeout(self._timeout_s):
                approved = await approve(url, self._settings, self._lookup)
                return await self._send(approved, body, headers)
        except LookupFailed as error:
            raise CallFailed(Trouble.DNS) from error
        except TimeoutError as error:
            raise CallFailed(Trouble.TIMEOUT) from error
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise CallFailed(Trouble.TLS) from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise CallFailed(Trouble.CONNECTION) from error
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError) as error:
            raise CallFailed(Trouble.ANSWER) from error

    async def _send(self, approved: Approved, body: bytes, headers: dict[str, str]) -> Answer:
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(approved.addresses),
            use_dns_cache=False,
            force_close=True,
            ssl=self._tls,
            socket_factory=_gate(approved.addresses),
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # a proxy would connect to what it resolves itself
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),  # post has the one limit
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=64,
        )
        async with session:
            request = session.post(
                url_of(approved.target), data=body, headers=headers, allow_redirects=False
            )
            async with request as response:
                answer = Answer(response.status, response.headers.get("Retry-After"))
                response.close()  # unread: an endless body is the receiver's own affair
                return answer


def url_of(target: Target) -> URL:
    """Return what aiohttp is to call, made of the parts that the guard has read."""
    return URL.build(
        scheme=target.scheme,
        host=f"[{target.host}]" if ":" in target.host else target.host,
        port=target.port,
        path=target.path,
        query_string=target.query,
        encoded=True,
    )


class _Pinned(AbstractResolver):
    """Knows one answer, whatever it is asked."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Hold nothing."""


def _gate(addresses: tuple[str, ...]) -> aiohttp.connector.SocketFactoryType:
    approved = frozenset(addresses)

    def make(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if address[0] not in approved:
            raise ContractError(f"a connection past the guard, to {address[0]}")
        return socket.socket(family, kind, protocol)

    return make
