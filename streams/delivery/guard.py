"""The guard against server-side request forgery: where a receiver's URL may lead.

A subscriber names the URL and this service calls it, from inside the network of whoever runs it.
So a URL is read by one strict grammar, its name is looked up once, every address of the answer
must be allowed, and the connection goes to those addresses and no others
(`streams/delivery/client.py`). What a name resolves to later changes nothing.

What the grammar refuses is what readers of URLs are known to disagree about: user info, other
scripts, white space, backslashes, addresses in other forms than the usual, trailing dots.
"""

import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

import aiodns

from streams.core.addresses import Address, Refusal, address_refusal
from streams.core.errors import TickertoneError
from streams.settings import DeliverySettings

MAX_URL: Final = 2048
_LOOKUP_S: Final = 3.0
_LOOKUPS: Final = 2

_PORTS: Final = {"http": 80, "https": 443}
_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<path>/[^?]*)?"
    r"(?:\?(?P<query>.*))?"
)
_CHARACTERS: Final = re.compile(r"""[^A-Za-z0-9:/?\[\]@!$&'()*+,;=._~%#-]|%(?![0-9A-Fa-f]{2})""")
_NAME: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AUTHORITY: Final = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?")


class TargetRefused(TickertoneError):
    """A receiver's URL, or what its name resolves to, may not be called."""

    def __init__(self, reason: Refusal, what: str = "") -> None:
        """Keep the reason; the message names it, and of the URL only `what`."""
        super().__init__(f"{what + ': ' if what else ''}{reason.meaning} ({reason.value})")
        self.reason = reason

    @property
    def lasting(self) -> bool:
        """Whether the URL itself is wrong, so that no later lookup can mend it."""
        return self.reason in _OF_THE_URL


_OF_THE_URL: Final = frozenset(
    {
        Refusal.FORM,
        Refusal.CHARACTERS,
        Refusal.SCHEME,
        Refusal.USER_INFO,
        Refusal.HOST,
        Refusal.ADDRESS_FORM,
        Refusal.ZONE,
        Refusal.PORT,
    }
)


class LookupFailed(TickertoneError):
    """A name could not be resolved."""


@dataclass(frozen=True)
class Target:
    """A URL that was read: what is called, and what for."""

    scheme: str
    host: str
    """in lower case; a literal IPv6 address without brackets"""
    port: int
    path: str
    query: str
    address: Address | None
    """where the host is a literal address"""


@dataclass(frozen=True)
class Approved:
    """A target with the only addresses that may be connected to."""

    target: Target
    addresses: tuple[str, ...]


Lookup = Callable[[str], Awaitable[tuple[str, ...]]]
"""Name → addresses; raises LookupFailed."""


def parse_target(url: str, settings: DeliverySettings) -> Target:
    """Return the parts of a URL; where its host is an address, that address is allowed.

    Raises:
        TargetRefused: with the first reason found.
    """
    if len(url) > MAX_URL or "#" in url:
        raise TargetRefused(Refusal.FORM)
    if _CHARACTERS.search(url):
        raise TargetRefused(Refusal.CHARACTERS)
    parts = _URL.fullmatch(url)
    if parts is None:
        raise TargetRefused(Refusal.FORM)
    scheme = parts["scheme"].lower()
    if scheme not in settings.schemes:
        raise TargetRefused(Refusal.SCHEME, scheme)
    if "@" in parts["authority"]:
        raise TargetRefused(Refusal.USER_INFO)
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        raise TargetRefused(Refusal.HOST)
    host, address = _host(authority["name"], authority["six"])
    port = _port(authority["port"], scheme, settings)
    if address is not None:
        _check(address, settings)
    return Target(scheme, host, port, parts["path"] or "/", parts["query"] or "", address)


async def approve(url: str, settings: DeliverySettings, lookup: Lookup) -> Approved:
    """Read a URL, look its name up once, and return the addresses that may be connected to.

    One address that is not allowed refuses the whole answer: such a name is a mistake or a trick.

    Raises:
        TargetRefused: the URL, or one of the addresses.
        LookupFailed: the name has no address.
    """
    target = parse_target(url, settings)
    if target.address is not None:
        return Approved(target, (str(target.address),))
    found = tuple(dict.fromkeys(await lookup(target.host)))
    if not found:
        raise LookupFailed("the name has no address")
    for each in found:
        _check(ip_address(each), settings)
    return Approved(target, found)


class Dns:
    """Looks names up without a thread that a slow name server could hold (aiodns).

    Hosts files and search domains count, as for every program of the machine: what is found is
    checked, wherever it comes from.
    """

    def __init__(self, nameserver: tuple[str, int] | None = None) -> None:
        """Ask the machine's name servers, or the one given by address and port.

        Must be made inside the event loop.
        """
        where: dict[str, Any] = {}
        if nameserver:
            host, port = nameserver
            where = {"nameservers": [host], "udp_port": port, "tcp_port": port}
        self._dns = aiodns.DNSResolver(timeout=_LOOKUP_S, tries=_LOOKUPS, **where)

    async def __call__(self, name: str) -> tuple[str, ...]:
        """Return the addresses of a name, IPv4 and IPv6.

        Raises:
            LookupFailed: no name server knows it, or none answers.
        """
        try:
            answer = await self._dns.getaddrinfo(name, socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except (aiodns.error.DNSError, UnicodeError) as error:
            raise LookupFailed(f"the name can't be resolved: {error.args[-1]}") from error
        return tuple(_text(node.addr) for node in answer.nodes)

    async def close(self) -> None:
        """Give the name servers' sockets back."""
        await self._dns.close()


def _text(address: tuple[bytes | str, *tuple[int, ...]]) -> str:
    host = address[0]
    text = host.decode("ascii") if isinstance(host, bytes) else host
    scope = address[3] if len(address) > 3 else 0
    return f"{text}%{scope}" if scope else text


def _port(given: str | None, scheme: str, settings: DeliverySettings) -> int:
    if given is None:
        port = _PORTS[scheme]
    elif given.isdigit() and not given.startswith("0") and len(given) <= 5:
        port = int(given)
    else:
        raise TargetRefused(Refusal.PORT)
    if port not in settings.ports:
        raise TargetRefused(Refusal.PORT, str(port))
    return port


def _host(name: str | None, six: str | None) -> tuple[str, Address | None]:
    if six is not None:
        if "%" in six:
            raise TargetRefused(Refusal.ZONE)
        try:
            address = IPv6Address(six)
        except ValueError:
            raise TargetRefused(Refusal.HOST) from None
        return str(address), address
    host = (name or "").lower()
    last = host.removesuffix(".").rpartition(".")[2]
    if _NUMBER.fullmatch(last):
        # What ends in a number is an address to some readers, in decimal, octal or hex.
        try:
            return host, IPv4Address(host)
        except ValueError:
            raise TargetRefused(Refusal.ADDRESS_FORM) from None
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise TargetRefused(Refusal.HOST)
    return host, None


def _check(address: Address, settings: DeliverySettings) -> None:
    reason = address_refusal(address, settings.networks)
    if reason is not None:
        raise TargetRefused(reason)  # and not what a name resolves to: that maps our network
