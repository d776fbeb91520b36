"""Deterministic ids: the same thing has the same id in every run."""

import hashlib
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit


def make_id(*fields: str) -> str:
    """Return the first 128 bits of BLAKE2b over the length-prefixed UTF-8 fields, as 32 hex digits.

    The length prefixes keep ("ab", "c") and ("a", "bc") apart.
    """
    return hashlib.blake2b(_prefixed(fields), digest_size=16).hexdigest()


def text_id(
    source: str,
    channel: str,
    *,
    own_id: str | None,
    url: str | None,
    author: str | None,
    published_at: int,
    text: str,
) -> str:
    """Return a text's id: by the sender's id, else by URL (news), else by author, time and text.

    Args:
        published_at: milliseconds since the epoch, UTC.
        text: the normalised text.
    """
    if own_id:
        return make_id("id", source, channel, own_id)
    if source == "news" and url:
        return make_id("url", source, channel, canonical_url(url))
    return make_id("text", source, channel, author or "", str(published_at), text)


def vote_id(text: str, subject: str) -> str:
    """Return the id of a text's vote about a subject."""
    return make_id(text, subject)


def alert_id(rule: str, subject: str, minute: int) -> str:
    """Return the id of the alert of a rule on a subject, by the first minute over the threshold."""
    return make_id(rule, subject, str(minute))


def author_hash(key: bytes, channel: str, author: str) -> str:
    """Return the pseudonym of an author, 16 hex digits; without the key it can't be recomputed."""
    # BLAKE2b takes keys of up to 64 bytes; all of a longer one must count.
    short = key if len(key) <= 64 else hashlib.blake2b(key).digest()
    return hashlib.blake2b(_prefixed((channel, author)), digest_size=8, key=short).hexdigest()


def canonical_url(url: str) -> str:
    """Return the URL without fragment, tracking parameters, trailing slash and case of the host."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return url.strip()
    query = "&".join(
        p for p in sorted(parts.query.split("&")) if p and not p.lower().startswith("utm_")
    )
    return urlunsplit(
        (parts.scheme.lower(), parts.netloc.lower(), parts.path.rstrip("/"), query, "")
    )


def _prefixed(fields: Iterable[str]) -> bytes:
    encoded = [field.encode("utf-8", "surrogatepass") for field in fields]
    return b"".join(len(e).to_bytes(4, "big") + e for e in encoded)
