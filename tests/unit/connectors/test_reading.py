"""Encodings, markup, addresses and pauses: the small parts that connectors are made of."""

import codecs
import random
import time
from datetime import UTC, datetime
from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.connectors.answers import LONGEST_HOLD_S, retry_after
from streams.connectors.config import Retry
from streams.connectors.decoding import decode_markup
from streams.connectors.markup import plain, read_feed
from streams.connectors.pauses import Pauses
from streams.connectors.secret import sounds
from streams.core.addresses import is_public
from streams.core.errors import SourceUnavailable

WORDS = "Müller & Söhne – 25 €"


def declared(name: str) -> str:
    return f'<?xml version="1.0" encoding="{name}"?><a>{WORDS}</a>'


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (declared("utf-8").encode(), "text/xml"),
        (f"<a>{WORDS}</a>".encode(), ""),
        (declared("windows-1252").encode("cp1252"), "text/xml"),
        (declared("ISO-8859-1").encode("cp1252"), "text/xml"),
        (declared("us-ascii").encode("cp1252"), "text/xml"),
        (declared("utf-8").encode("cp1252"), "text/xml; charset=windows-1252"),
        (declared("utf-8").encode("cp1252"), "text/xml"),
        (declared("no-such-charset").encode(), 'text/xml; charset="nor this"'),
        (codecs.BOM_UTF8 + declared("windows-1252").encode(), "text/xml"),
        (declared("utf-16").encode("utf-16"), "text/xml"),
        (declared("utf-32").encode("utf-32"), "text/xml; charset=utf-8"),
        (declared("utf-16").encode("utf-16-be"), "text/xml; charset=utf-16be"),
    ],
)
def test_a_document_is_read_in_its_encoding(body: bytes, header: str) -> None:
    assert decode_markup(body, header) == f"<a>{WORDS}</a>"


@pytest.mark.parametrize("charset", ["utf-7", "hex", "rot13", "unicode_escape", "idna", "zlib"])
def test_an_encoding_that_could_hide_markup_is_not_believed(charset: str) -> None:
    body = b"+ADwAIQ-ENTITY \\x3c!ENTITY"
    assert decode_markup(body, f"text/xml; charset={charset}") == body.decode()


@settings(deadline=None)
@given(st.binary(max_size=300), st.text(max_size=40))
def test_any_bytes_and_any_header_decode(body: bytes, header: str) -> None:
    decode_markup(body, header)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200), st.sampled_from(["text/xml", "application/json", ""]))
def test_any_document_is_a_feed_or_unavailable(body: bytes, header: str) -> None:
    for document in (body, b"<rss version='2.0'><channel><item><title>" + body):
        try:
            read_feed(document, header, "https://a.example/feed")
        except SourceUnavailable:
            continue


def test_atom_is_read_like_rss() -> None:
    feed = f"""<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"
      xml:lang="de"><title>Wire</title><entry><id>urn:uuid:1</id><title type="html">Nordwind
      &lt;b&gt;Air&lt;/b&gt;</title><link rel="alternate" href="/1"/>
      <summary>Short</summary><content type="html">&lt;p&gt;{WORDS.replace("&", "&amp;amp;")}
      &lt;/p&gt;&lt;script&gt;x()&lt;/script&gt;</content>
      <author><name>A. Writer</name></author><updated>2026-10-05T10:00:00Z</updated>
      </entry></feed>"""
    (item,) = read_feed(feed.encode(), "application/atom+xml", "https://a.example/feed").items
    assert (item.id, item.url) == ("urn:uuid:1", "https://a.example/1")
    assert item.text == WORDS
    assert item.title is not None
    assert item.title.split() == ["Nordwind", "Air"]
    assert (item.author, item.lang, item.published_at) == ("A. Writer", "de", 1_791_194_400_000)


def test_an_id_does_not_change_when_the_feed_moves() -> None:
    feed = (
        b"<rss version='2.0'><channel><item><guid>n-1</guid><title>A</title></item></channel></rss>"
    )
    for url in ("https://a.example/feed", "https://b.example/rss/2"):
        (item,) = read_feed(feed, "text/xml", url).items
        assert item.id == "n-1"


def test_an_item_without_an_id_is_known_by_its_link_or_its_words() -> None:
    feed = (
        b"<rss version='2.0'><channel><item><title>A</title>"
        b"<link>https://a.example/1/?utm_source=rss#top</link></item>"
        b"<item><title>B</title></item><item></item></channel></rss>"
    )
    reading = read_feed(feed, "text/xml", "https://a.example/feed")
    second, first = reading.items
    assert first.id == "https://a.example/1"
    assert len(second.id) == 32
    assert reading.skipped == 1


@pytest.mark.parametrize("evil", ["<!-- ", "<b>", "<![if ", "&", "<a href='", "<div><p>"])
def test_the_time_for_a_hostile_feed_grows_with_its_size_only(evil: str) -> None:
    """With the clean-up of feedparser, or the HTML parser of Python, it grows with its square."""

    def seconds(times: int) -> float:
        body = escape(evil * times)
        feed = f"<rss version='2.0'><channel><item><description>{body}</description></item>"
        begin = time.process_time()
        read_feed(f"{feed}</channel></rss>".encode(), "text/xml", "https://a.example/feed")
        return time.process_time() - begin

    assert seconds(40_000) < 10 * seconds(10_000) + 1


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("plain words", "plain words"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("AT&amp;T", "AT&T"),
        ("<p>one</p><p>two<br>three</p>", "one two three"),
        ("the <b>fleet</b>s stay<script>x()</script>", "the fleets stay"),
        ("<!-- no --><b>yes</b>", "yes"),
    ],
)
def test_markup_becomes_plain_text(markup: str, text: str) -> None:
    assert plain(markup) == text


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "::1", "::", "fe80::1%eth0",
        "fc00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "ff02::1", "localhost", "", "1.2.3",
    ],
)  # fmt: skip
def test_addresses_inside_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0), ("", 0), ("soon", 0), ("-5", 0), ("120", 120), ("  7 ", 7),
        ("Mon, 05 Oct 2026 10:01:30 GMT", 90), ("Mon, 05 Oct 2026 09:00:00 GMT", 0),
        ("999999999", LONGEST_HOLD_S), ("9" * 400, LONGEST_HOLD_S),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms(header: str | None, seconds: float) -> None:
    assert retry_after(header, datetime(2026, 10, 5, 10, 0, tzinfo=UTC)) == seconds


@settings(deadline=None)
@given(st.integers(1, 2_000), st.floats(0, 90_000), st.integers())
def test_a_pause_grows_to_its_limit_and_is_never_less_than_what_was_wanted(
    failures: int, wanted_s: float, seed: int
) -> None:
    pause_s = Pauses(Retry(first_s=5, longest_s=900), random.Random(seed)).after(failures, wanted_s)
    assert pause_s >= max(wanted_s, min(5 * 2 ** min(failures - 1, 10), 900) / 2)
    assert pause_s <= max(900, 1.1 * wanted_s)


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key", "apikey", "access_token", "key"])
def test_names_that_sound_like_secrets(name: str) -> None:
    assert sounds(name)


@pytest.mark.parametrize("name", ["Accept", "limit", "keywords", "monkey", "author"])
def test_names_that_do_not(name: str) -> None:
    assert not sounds(name)
