"""Which network addresses are public, so that nobody on the outside can point us inside."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the global internet.

    IPv6 addresses that carry an IPv4 address (mapped, 6to4, Teredo, NAT64) are public only if both
    are. What is no IP address is not public.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = _inner(found) if isinstance(found, IPv6Address) else ()
    if inner and isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return _global(inner[0])
    return _global(found) and all(map(_global, inner))


def _global(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not address.is_multicast


def _inner(address: IPv6Address) -> tuple[IPv4Address, ...]:
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return ()
