"""Which addresses a receiver may have: the public internet, and what the settings name.

Sources: the IANA Special-Purpose Address Registries for IPv4 and IPv6 (RFC 6890 and its
successors), RFC 6052 (NAT64), RFC 4380 (Teredo), RFC 3056 (6to4), RFC 5214 (ISATAP), and the
clouds' own pages for their metadata addresses. `ipaddress.is_global` comes last: what it knows
differs between patch releases of Python.
"""

from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Refusal(StrEnum):
    """Why a URL may not be called."""

    FORM = "form"
    CHARACTERS = "characters"
    SCHEME = "scheme"
    USER_INFO = "user_info"
    HOST = "host"
    ADDRESS_FORM = "address_form"
    ZONE = "zone"
    PORT = "port"
    UNSPECIFIED = "unspecified"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    SHARED = "shared"
    LINK_LOCAL = "link_local"
    METADATA = "metadata"
    MULTICAST = "multicast"
    RESERVED = "reserved"
    DOCUMENTATION = "documentation"
    BENCHMARKING = "benchmarking"
    IPV4_MAPPED = "ipv4_mapped"
    IPV4_COMPATIBLE = "ipv4_compatible"
    SIX_TO_FOUR = "six_to_four"
    NAT64 = "nat64"
    TEREDO = "teredo"
    ISATAP = "isatap"

    @property
    def meaning(self) -> str:
        """What the word stands for, in a sentence's end."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Refusal.FORM: "it is not an absolute URL without a fragment, of at most 2,048 characters",
    Refusal.CHARACTERS: "it holds a character that a URL can't have; write a name of another "
    "script as xn--…, and other characters in percent form",
    Refusal.SCHEME: "the settings do not allow this scheme",
    Refusal.USER_INFO: "it holds a user name or a password",
    Refusal.HOST: "the host is not a plain DNS name or address",
    Refusal.ADDRESS_FORM: "the host is an address in another form than a.b.c.d",
    Refusal.ZONE: "the address names a network interface",
    Refusal.PORT: "the settings do not allow this port",
    Refusal.UNSPECIFIED: "the address means this machine or none",
    Refusal.LOOPBACK: "the address is this machine",
    Refusal.PRIVATE: "the address is of a private network",
    Refusal.SHARED: "the address is shared behind a provider's translation",
    Refusal.LINK_LOCAL: "the address is valid on one link only",
    Refusal.METADATA: "the address serves a cloud's metadata and credentials",
    Refusal.MULTICAST: "the address is of a group",
    Refusal.RESERVED: "the address is set aside and no receiver's",
    Refusal.DOCUMENTATION: "the address is for examples in documents",
    Refusal.BENCHMARKING: "the address is for measurements of network devices",
    Refusal.IPV4_MAPPED: "the address wraps an IPv4 address (::ffff:0:0/96)",
    Refusal.IPV4_COMPATIBLE: "the address wraps an IPv4 address (::/96)",
    Refusal.SIX_TO_FOUR: "the address wraps an IPv4 address (6to4)",
    Refusal.NAT64: "the address wraps an IPv4 address (NAT64)",
    Refusal.TEREDO: "the address wraps an IPv4 address (Teredo)",
    Refusal.ISATAP: "the address wraps an IPv4 address (ISATAP)",
}

METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # AWS ECS
        "169.254.170.23",  # AWS EKS
        "168.63.129.16",  # Azure, in a public range
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS EKS
        "fd20:ce::254",  # Google
    )
)

# The first network that holds an address gives the reason.
SPECIAL: Final[tuple[tuple[Network, Refusal], ...]] = tuple(
    (ip_network(text), reason)
    for reason, texts in (
        (Refusal.UNSPECIFIED, ("0.0.0.0/8", "::/128")),
        (Refusal.LOOPBACK, ("127.0.0.0/8", "::1/128")),
        (Refusal.PRIVATE, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
        (Refusal.PRIVATE, ("fc00::/7", "fec0::/10")),
        (Refusal.SHARED, ("100.64.0.0/10",)),
        (Refusal.LINK_LOCAL, ("169.254.0.0/16", "fe80::/10")),
        (Refusal.DOCUMENTATION, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")),
        (Refusal.DOCUMENTATION, ("2001:db8::/32", "3fff::/20")),
        (Refusal.BENCHMARKING, ("198.18.0.0/15", "2001:2::/48")),
        (Refusal.MULTICAST, ("224.0.0.0/4", "ff00::/8")),
        (Refusal.SIX_TO_FOUR, ("2002::/16", "192.88.99.0/24")),
        (Refusal.IPV4_MAPPED, ("::ffff:0:0/96", "::ffff:0:0:0/96")),
        (Refusal.IPV4_COMPATIBLE, ("::/96",)),
        (Refusal.NAT64, ("64:ff9b::/96", "64:ff9b:1::/48")),
        (Refusal.TEREDO, ("2001::/32",)),
        # 2001::/23 is for protocols; 100::/64 discards; 5f00::/16 are segments of routes.
        (Refusal.RESERVED, ("192.0.0.0/24", "240.0.0.0/4", "2001::/23", "100::/64", "5f00::/16")),
    )
    for text in texts
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")


def address_refusal(address: Address, allowed: Sequence[Network] = ()) -> Refusal | None:
    """Return why an address may not be called, or None where it may.

    Args:
        allowed: Networks that the settings open. A metadata address must be named itself, as a
            network of one. An IPv6 address that wraps an IPv4 one needs both to be reachable.
    """
    named = [network for network in allowed if address in network]
    if address in METADATA:
        alone = any(network.num_addresses == 1 for network in named)
        return None if alone else Refusal.METADATA
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return Refusal.ZONE
        wrapped = _wrapped(address)
        if wrapped and named:
            return address_refusal(wrapped, allowed)
        if not wrapped and (int(address) >> 32) & 0xFDFF_FFFF == 0x5EFE:
            return None if named else Refusal.ISATAP
    if named:
        return None
    for network, reason in SPECIAL:
        if address in network:
            return reason
    outside = isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST
    return Refusal.RESERVED if outside or not address.is_global else None


def is_public(address: str) -> bool:
    """Return whether an IP address is of the public internet. What is no address is not.

    Unlike a receiver's, it may wrap a public IPv4 address: networks without IPv4 see all of that
    through NAT64.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    reason = address_refusal(found)
    if reason in (Refusal.IPV4_MAPPED, Refusal.NAT64) and isinstance(found, IPv6Address):
        wrapped = _wrapped(found)
        return wrapped is not None and address_refusal(wrapped) is None
    return reason is None


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that the traffic to an address would reach, if it is such a form."""
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    high = int(address) >> 32
    if high in _LAST_32_BITS and int(address) > 1:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


_LAST_32_BITS: Final = frozenset(
    int(IPv6Address(prefix)) >> 32 for prefix in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::")
)
"""Networks of 96 bits behind which an IPv4 address stands."""
