"""HTTP requests and answers: what is asked, and what the head of an answer means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from yarl import URL

from streams.core.errors import SourceGone, SourceUnavailable

LONGEST_HOLD_S: Final = 86_400.0
"""A Retry-After or Crawl-delay beyond this is taken for this."""

MOVED: Final = (301, 302, 303, 307, 308)
SLOW_DOWN: Final = (429, 503)

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


class Refused(SourceUnavailable):
    """The host answered, with a status that is no answer."""

    def __init__(self, message: str, status: int, retry_after_s: float = 0.0) -> None:
        super().__init__(message, retry_after_s)
        self.status = status


def target_of(url: URL, response: aiohttp.ClientResponse) -> URL:
    """Return where a redirect leads.

    Raises:
        SourceUnavailable: to nothing that could be asked.
    """
    try:
        target = url.join(URL(response.headers.get("Location", "")))
        good = target.scheme in ("http", "https") and bool(target.host) and target != url
    except ValueError:
        good = False
    if not good:
        raise SourceUnavailable(f"{url.host} redirects to nowhere")
    return target.with_user(None).with_fragment(None)


def check_status(response: aiohttp.ClientResponse, name: str) -> None:
    """Return if there is something to read, or nothing new.

    Raises:
        SourceGone: it ended for good (410).
        Refused: any other status but 200 and 304.
    """
    status = response.status
    if status in (200, 304):
        return
    if status == 410:
        raise SourceGone(f"{name} says that this is gone for good (410): remove the connector")
    hint = "; look at the secret that the configuration names" if status in (401, 403) else ""
    wait_s = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    raise Refused(f"{name} answers {status}{hint}", status, wait_s)


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


async def read_body(response: aiohttp.ClientResponse, name: str, most: int) -> bytes:
    """Return the body, unpacked.

    Raises:
        SourceUnavailable: it has more than so many bytes.
    """
    parts, size = [], 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        size += len(chunk)
        if size > most:
            raise SourceUnavailable(f"{name}: the answer is larger than max_bytes ({most})")
        parts.append(chunk)
    return b"".join(parts)
