"""No address of a special network passes, in any form; what is opened passes, and no more."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from streams.core.addresses import METADATA, SPECIAL, address_refusal
from streams.delivery.guard import TargetRefused, parse_target
from streams.settings import DeliverySettings

FOURS = st.ip_addresses(v=4)
ANY = FOURS | st.ip_addresses(v=6)
USUAL = DeliverySettings()


@st.composite
def special(draw: st.DrawFn) -> IPv4Address | IPv6Address:
    network, _ = draw(st.sampled_from(SPECIAL))
    return draw(st.ip_addresses(network=network))


@given(special())
def test_no_special_address_passes(address: IPv4Address | IPv6Address) -> None:
    assert address_refusal(address) is not None


@given(ANY)
def test_what_passes_is_global_to_the_standard_library_too(
    address: IPv4Address | IPv6Address,
) -> None:
    if address_refusal(address) is None:
        assert address.is_global
        assert not address.is_multicast


def forms(four: IPv4Address) -> list[str]:
    """The ways of writing an IPv4 address that some reader of URLs follows."""
    number, (a, b, c, d) = int(four), four.packed
    return [
        f"{number}",
        f"0{number:o}",
        f"{number:#x}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        f"0{a:o}.{b}.{c}.{d}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"{a}.{b}.{c}.{d}.",
        f"[::ffff:{four}]",
        f"[::ffff:0:{four}]",
        f"[::{four}]",
        f"[64:ff9b::{four}]",
        f"[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1]",
    ]


@given(FOURS)
def test_no_other_form_of_an_ipv4_address_passes(four: IPv4Address) -> None:
    for form in forms(four):
        try:
            parse_target(f"https://{form}/", USUAL)
        except TargetRefused:
            continue
        raise AssertionError(form)


@given(FOURS, st.integers(1, 32), FOURS)
def test_an_open_network_opens_itself_and_nothing_else(
    inside: IPv4Address, bits: int, other: IPv4Address
) -> None:
    network = IPv4Network((int(inside), bits), strict=False)
    if inside not in METADATA:
        assert address_refusal(inside, (network,)) is None
    if other not in network:
        assert address_refusal(other, (network,)) == address_refusal(other)


CHARACTERS = st.sampled_from("a0x17.:/@[]#?%\\-_ \t\u3002\uff11é")


@given(
    st.text(CHARACTERS, max_size=30),
    st.sampled_from(["https://", "https://a.example", "https://[", ""]),
)
def test_any_text_is_read_or_refused(tail: str, head: str) -> None:
    try:
        target = parse_target(head + tail, USUAL)
    except TargetRefused:
        return
    assert target.scheme == "https"
    assert target.port == 443
    if target.address is not None:
        assert address_refusal(ip_address(target.host)) is None
