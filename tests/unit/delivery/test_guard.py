"""Which URLs are refused, each with its reason, and which are not."""

import asyncio
from ipaddress import ip_network

import pytest
from yarl import URL

from streams.core.addresses import Refusal
from streams.delivery.client import url_of
from streams.delivery.guard import LookupFailed, TargetRefused, approve, parse_target
from streams.settings import DeliverySettings

USUAL = DeliverySettings()
OPEN = DeliverySettings(schemes=("https", "http"), ports=(80, 443, 8443))

HOSTILE = [
    # another form of 127.0.0.1 or of an inner address
    ("https://2130706433/", Refusal.ADDRESS_FORM),
    ("https://017700000001/", Refusal.ADDRESS_FORM),
    ("https://0x7f000001/", Refusal.ADDRESS_FORM),
    ("https://0x7f.0.0.1/", Refusal.ADDRESS_FORM),
    ("https://0177.0.0.1/", Refusal.ADDRESS_FORM),
    ("https://127.0.0.01/", Refusal.ADDRESS_FORM),
    ("https://127.1/", Refusal.ADDRESS_FORM),
    ("https://10.256/", Refusal.ADDRESS_FORM),
    ("https://0x/", Refusal.ADDRESS_FORM),
    ("https://127.0.0.1./", Refusal.ADDRESS_FORM),
    ("https://1.2.3.4.5/", Refusal.ADDRESS_FORM),
    ("https://256.256.256.256/", Refusal.ADDRESS_FORM),
    ("https://receiver.example.0x7f/", Refusal.ADDRESS_FORM),
    # plain addresses that are nobody's receiver
    ("https://0.0.0.0/", Refusal.UNSPECIFIED),
    ("https://127.0.0.1/", Refusal.LOOPBACK),
    ("https://127.255.255.254/", Refusal.LOOPBACK),
    ("https://10.0.0.1/", Refusal.PRIVATE),
    ("https://172.31.255.255/", Refusal.PRIVATE),
    ("https://192.168.0.1/", Refusal.PRIVATE),
    ("https://100.64.0.1/", Refusal.SHARED),
    ("https://169.254.1.1/", Refusal.LINK_LOCAL),
    ("https://169.254.169.254/latest/meta-data/", Refusal.METADATA),
    ("https://168.63.129.16/", Refusal.METADATA),
    ("https://100.100.100.200/", Refusal.METADATA),
    ("https://192.0.2.1/", Refusal.DOCUMENTATION),
    ("https://198.18.0.1/", Refusal.BENCHMARKING),
    ("https://192.0.0.8/", Refusal.RESERVED),
    ("https://224.0.0.1/", Refusal.MULTICAST),
    ("https://240.0.0.1/", Refusal.RESERVED),
    ("https://255.255.255.255/", Refusal.RESERVED),
    # IPv6
    ("https://[::]/", Refusal.UNSPECIFIED),
    ("https://[::1]/", Refusal.LOOPBACK),
    ("https://[0:0:0:0:0:0:0:1]/", Refusal.LOOPBACK),
    ("https://[fc00::1]/", Refusal.PRIVATE),
    ("https://[fd00:ec2::254]/", Refusal.METADATA),
    ("https://[fe80::1]/", Refusal.LINK_LOCAL),
    ("https://[fec0::1]/", Refusal.PRIVATE),
    ("https://[ff02::1]/", Refusal.MULTICAST),
    ("https://[2001:db8::1]/", Refusal.DOCUMENTATION),
    ("https://[100::1]/", Refusal.RESERVED),
    ("https://[4000::1]/", Refusal.RESERVED),
    ("https://[::ffff:127.0.0.1]/", Refusal.IPV4_MAPPED),
    ("https://[::ffff:7f00:1]/", Refusal.IPV4_MAPPED),
    ("https://[::ffff:8.8.8.8]/", Refusal.IPV4_MAPPED),
    ("https://[::ffff:0:127.0.0.1]/", Refusal.IPV4_MAPPED),
    ("https://[::127.0.0.1]/", Refusal.IPV4_COMPATIBLE),
    ("https://[2002:7f00:1::]/", Refusal.SIX_TO_FOUR),
    ("https://[64:ff9b::7f00:1]/", Refusal.NAT64),
    ("https://[64:ff9b::169.254.169.254]/", Refusal.NAT64),
    ("https://[64:ff9b:1::7f00:1]/", Refusal.NAT64),
    ("https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", Refusal.TEREDO),
    ("https://[2600::5efe:7f00:1]/", Refusal.ISATAP),
    ("https://[2600::200:5efe:7f00:1]/", Refusal.ISATAP),
    ("https://[fe80::1%25eth0]/", Refusal.ZONE),
    ("https://[::1/", Refusal.HOST),
    ("https://::1/", Refusal.HOST),
    ("https://[127.0.0.1]/", Refusal.HOST),
    ("https://[v1.fe80]/", Refusal.HOST),
    # user info
    ("https://receiver.example@127.0.0.1/", Refusal.USER_INFO),
    ("https://receiver.example:443@127.0.0.1/", Refusal.USER_INFO),
    ("https://a:b@receiver.example/", Refusal.USER_INFO),
    ("https://127.0.0.1:443@receiver.example/", Refusal.USER_INFO),
    ("https://receiver.example&@127.0.0.1/", Refusal.USER_INFO),
    # what readers of URLs disagree about
    ("https://127.0.0.1#@receiver.example/", Refusal.FORM),
    ("https://receiver.example\\@127.0.0.1/", Refusal.CHARACTERS),
    ("https:\\\\127.0.0.1/", Refusal.CHARACTERS),
    ("https://127.0.0.1 /", Refusal.CHARACTERS),
    (" https://127.0.0.1/", Refusal.CHARACTERS),
    ("https://receiver.example\t@127.0.0.1/", Refusal.CHARACTERS),
    ("https://receiver.example/\r\nHost: inner", Refusal.CHARACTERS),
    ("https://receiver.example\x00.evil.example/", Refusal.CHARACTERS),
    ("https://receiver.example/%zz", Refusal.CHARACTERS),
    ("https://127.0.0.1\u3002receiver.example/", Refusal.CHARACTERS),
    ("https://127\u30020\u30020\u30021/", Refusal.CHARACTERS),
    ("https://\u2460\u2461\u2466.0.0.1/", Refusal.CHARACTERS),
    ("https://\uff11\uff12\uff17.0.0.1/", Refusal.CHARACTERS),
    ("https://\u2113ocalhost/", Refusal.CHARACTERS),
    ("https://receiver\u00ad.example/", Refusal.CHARACTERS),
    ("https://%6c%6f%63alhost/", Refusal.HOST),
    ("https://127.0.0.1%2f.receiver.example/", Refusal.HOST),
    ("https://receiver.example./", Refusal.HOST),
    ("https://.receiver.example/", Refusal.HOST),
    ("https://receiver..example/", Refusal.HOST),
    ("https://-receiver.example/", Refusal.HOST),
    ("https://receiver_1.example/", Refusal.HOST),
    (f"https://{'a' * 64}.example/", Refusal.HOST),
    (f"https://{'a.' * 130}example/", Refusal.HOST),
    ("https:///path", Refusal.HOST),
    ("https://?q", Refusal.HOST),
    # schemes, ports, shapes
    ("http://receiver.example/", Refusal.SCHEME),
    ("ftp://receiver.example/", Refusal.SCHEME),
    ("file:///etc/passwd", Refusal.SCHEME),
    ("gopher://127.0.0.1:6379/_PING", Refusal.SCHEME),
    ("javascript://receiver.example/", Refusal.SCHEME),
    ("https://receiver.example:22/", Refusal.PORT),
    ("https://receiver.example:0/", Refusal.PORT),
    ("https://receiver.example:/", Refusal.PORT),
    ("https://receiver.example:0443/", Refusal.PORT),
    ("https://receiver.example:65979/", Refusal.PORT),
    ("https://receiver.example:+443/", Refusal.PORT),
    ("https://receiver.example:443:443/", Refusal.PORT),
    ("//receiver.example/", Refusal.FORM),
    ("https:receiver.example", Refusal.FORM),
    ("receiver.example", Refusal.FORM),
    ("", Refusal.FORM),
    ("https://receiver.example/#part", Refusal.FORM),
    (f"https://receiver.example/{'a' * 2048}", Refusal.FORM),
]

HARMLESS = [
    "https://receiver.example",
    "https://receiver.example/",
    "https://RECEIVER.example/hooks/1?token=a%20b&x=[1]",
    "https://xn--bcher-kva.example/",
    "https://receiver.example:443/hook",
    "https://a-1.b-2.receiver.example/a/../b;c=d/@e:f",
    "https://8.8.8.8/",
    "https://[2606:4700::1111]/",
    "https://1e100.example/",
    "https://0x7f.example/",
    "https://127.0.0.1.receiver.example/",
    "https://receiver/",
]

NAMES = [
    (("127.0.0.1",), Refusal.LOOPBACK),
    (("10.20.30.40",), Refusal.PRIVATE),
    (("169.254.169.254",), Refusal.METADATA),
    (("8.8.8.8", "192.168.1.1"), Refusal.PRIVATE),
    (("192.168.1.1", "8.8.8.8"), Refusal.PRIVATE),
    (("2606:4700::1111", "::1"), Refusal.LOOPBACK),
    (("::ffff:10.0.0.1",), Refusal.IPV4_MAPPED),
    (("64:ff9b::a00:1",), Refusal.NAT64),
    (("fe80::1%2",), Refusal.ZONE),
    (("0.0.0.0",), Refusal.UNSPECIFIED),
]


@pytest.mark.parametrize(("url", "reason"), HOSTILE)
def test_a_hostile_url_is_refused_with_its_reason(url: str, reason: Refusal) -> None:
    with pytest.raises(TargetRefused) as caught:
        parse_target(url, USUAL)
    assert caught.value.reason is reason
    assert reason.meaning in str(caught.value)


def test_the_table_is_as_long_as_promised() -> None:
    assert len({url for url, _ in HOSTILE}) == len(HOSTILE) >= 40
    assert {reason for _, reason in HOSTILE} == set(Refusal), "every reason is met"


@pytest.mark.parametrize("url", HARMLESS)
def test_a_harmless_url_passes_and_the_client_reads_it_alike(url: str) -> None:
    target = parse_target(url, USUAL)
    called, plain = url_of(target), URL(url, encoded=True)
    for read in (called, plain):
        assert target.host == (read.raw_host or "").lower()
        assert (target.scheme, target.port) == (read.scheme, read.port)
    assert called.raw_path_qs == plain.raw_path_qs
    assert called.raw_user is called.raw_password is None


@pytest.mark.parametrize(("addresses", "reason"), NAMES)
async def test_a_name_is_refused_for_any_of_its_addresses(
    addresses: tuple[str, ...], reason: Refusal
) -> None:
    async def lookup(name: str) -> tuple[str, ...]:
        return addresses

    with pytest.raises(TargetRefused) as caught:
        await approve("https://receiver.example/", USUAL, lookup)
    assert caught.value.reason is reason
    assert not caught.value.lasting or reason is Refusal.ZONE
    for address in addresses:
        assert address not in str(caught.value), "the answer must not map the inner network"


async def test_a_name_is_looked_up_once_and_keeps_the_addresses_of_that_answer() -> None:
    asked: list[str] = []

    async def lookup(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ("8.8.8.8", "2606:4700::1111", "8.8.8.8")

    approved = await approve("https://receiver.example/", USUAL, lookup)
    assert approved.addresses == ("8.8.8.8", "2606:4700::1111")
    assert asked == ["receiver.example"]


async def test_a_literal_address_is_not_looked_up() -> None:
    async def lookup(name: str) -> tuple[str, ...]:
        raise AssertionError(name)

    assert (await approve("https://8.8.8.8/", USUAL, lookup)).addresses == ("8.8.8.8",)


async def test_a_name_without_addresses_is_no_refusal() -> None:
    async def lookup(name: str) -> tuple[str, ...]:
        await asyncio.sleep(0)
        return ()

    with pytest.raises(LookupFailed):
        await approve("https://receiver.example/", USUAL, lookup)


def test_settings_open_schemes_ports_and_networks() -> None:
    assert parse_target("http://receiver.example/", OPEN).port == 80
    assert parse_target("https://receiver.example:8443/", OPEN).port == 8443
    inner = USUAL.model_copy(update={"networks": (ip_network("10.1.0.0/16"),)})
    assert parse_target("https://10.1.2.3/", inner).host == "10.1.2.3"
    with pytest.raises(TargetRefused):
        parse_target("https://10.2.2.3/", inner)


def test_an_open_link_does_not_open_the_metadata_on_it() -> None:
    link = USUAL.model_copy(update={"networks": (ip_network("169.254.0.0/16"),)})
    assert parse_target("https://169.254.1.1/", link)
    with pytest.raises(TargetRefused) as caught:
        parse_target("https://169.254.169.254/", link)
    assert caught.value.reason is Refusal.METADATA
    alone = USUAL.model_copy(update={"networks": (ip_network("169.254.169.254/32"),)})
    assert parse_target("https://169.254.169.254/", alone)


def test_a_wrapped_address_needs_both_to_be_reachable() -> None:
    nat64 = USUAL.model_copy(update={"networks": (ip_network("64:ff9b::/96"),)})
    assert parse_target("https://[64:ff9b::8.8.8.8]/", nat64)
    for inner, reason in (("127.0.0.1", Refusal.LOOPBACK), ("169.254.169.254", Refusal.METADATA)):
        with pytest.raises(TargetRefused) as caught:
            parse_target(f"https://[64:ff9b::{inner}]/", nat64)
        assert caught.value.reason is reason
