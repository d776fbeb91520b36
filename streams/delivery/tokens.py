"""API tokens: what a client shows to the gateway, and what is kept of it.

A token is `tickertone_<id>_<secret><checksum>`, all in letters and digits: a double click selects
it whole, its beginning and its checksum tell scanners of source code that it is one, and the
checksum tells a mistyped token from one that was revoked. Of the secret only SHA-256 is kept. A
slow hash is for what people think up; 256 random bits can't be guessed at any speed.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Scope = Literal["read", "ingest", "subscribe", "admin"]

PREFIX: Final = "tickertone"
PATTERN: Final = re.compile(rf"{PREFIX}_([0-9A-Za-z]{{12}})_[0-9A-Za-z]{{49}}")
"""What scanners may look for; the last six characters are the checksum."""
OVERLAP_MS: Final = 86_400_000
"""How long the token before a change stays valid too."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID: Final = 12
_SECRET_BYTES: Final = 32
_SECRET: Final = 43
_CHECKSUM: Final = 6


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class TokenHash(_Record):
    """What is kept of one token."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    until: int | None = None
    """milliseconds since the epoch at which it ends; None for the current one"""


class TokenRecord(_Record):
    """A token of an owner (tokens.v1, key = token id)."""

    id: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{12}$")]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    """what it is for, for people"""
    owner: Annotated[str, Field(min_length=1, max_length=100)]
    """whose subscriptions it sees"""
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    """admin includes the others"""
    hashes: Annotated[tuple[TokenHash, ...], Field(min_length=1, max_length=2)]
    """of the current token and, during a change, of the one before"""
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None


@dataclass(frozen=True)
class Issued:
    """A new token: what is kept, and what is shown once."""

    record: TokenRecord
    token: SecretStr


class Denial(StrEnum):
    """Why a token does not let anyone in."""

    MALFORMED = "malformed"
    """it is none of ours, or mistyped"""
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Denied:
    """Nobody comes in with this token."""

    reason: Denial


@dataclass(frozen=True)
class Grant:
    """Who comes in, and what for."""

    token_id: str
    owner: str
    scopes: frozenset[Scope]

    def allows(self, scope: Scope) -> bool:
        """Return whether the token may be used for something."""
        return scope in self.scopes or "admin" in self.scopes


def issue(
    name: str,
    owner: str,
    scopes: tuple[Scope, ...],
    *,
    now: int,
    expires_at: int | None = None,
) -> Issued:
    """Return a new token of 256 random bits.

    Args:
        now: Milliseconds since the epoch, as all times here.
        expires_at: When it ends by itself; None for never.

    Raises:
        ValueError: it would have ended already, or a field is not valid.
    """
    if expires_at is not None and expires_at <= now:
        raise ValueError("a token can't end before it begins")
    token_id = "".join(secrets.choice(_DIGITS) for _ in range(_ID))
    token = _token(token_id)
    record = TokenRecord(
        id=token_id,
        name=name,
        owner=owner,
        scopes=tuple(dict.fromkeys(scopes)),
        hashes=(TokenHash(sha256=_sha256(token)),),
        created_at=now,
        expires_at=expires_at,
    )
    return Issued(record, SecretStr(token))


def rotated(record: TokenRecord, *, now: int, overlap_ms: int = OVERLAP_MS) -> Issued:
    """Return a new token under the same id; the one before it stays valid for a while.

    A change within a change ends the oldest token at once, so never more than two are valid.

    Raises:
        ValueError: the token was revoked or has ended.
    """
    if _ended(record, now):
        raise ValueError("a token that was revoked or has ended can't be changed: make a new one")
    token = _token(record.id)
    before = record.hashes[0].model_copy(update={"until": now + overlap_ms})
    hashes = (TokenHash(sha256=_sha256(token)), before)
    return Issued(record.model_copy(update={"hashes": hashes}), SecretStr(token))


def revoked(record: TokenRecord, *, now: int) -> TokenRecord:
    """Return the record of a token that is valid no more; the first moment counts."""
    at = now if record.revoked_at is None else min(record.revoked_at, now)
    return record.model_copy(update={"revoked_at": at})


def check(presented: str, records: Mapping[str, TokenRecord], *, now: int) -> Grant | Denied:
    """Return who comes in with what was presented.

    Digests are compared in constant time, for an unknown id too. Only who has the secret learns
    that a token has ended or was revoked.
    """
    if not is_token(presented):
        return Denied(Denial.MALFORMED)
    found = PATTERN.fullmatch(presented)
    record = records.get(found[1]) if found else None
    digest = _sha256(presented)
    hashes = record.hashes if record else (_NOBODYS,)
    valid = [
        each
        for each in hashes
        if hmac.compare_digest(each.sha256, digest) and (each.until is None or now < each.until)
    ]
    if record is None or not valid:
        return Denied(Denial.UNKNOWN)
    return _ended(record, now) or Grant(record.id, record.owner, frozenset(record.scopes))


def is_token(text: str) -> bool:
    """Return whether a text is a token of ours, by its form and checksum."""
    return bool(PATTERN.fullmatch(text)) and hmac.compare_digest(
        _checksum(text[:-_CHECKSUM]), text[-_CHECKSUM:]
    )


_NOBODYS: Final = TokenHash(sha256="0" * 64)


def _ended(record: TokenRecord, now: int) -> Denied | None:
    if record.revoked_at is not None:
        return Denied(Denial.REVOKED)
    if record.expires_at is not None and now >= record.expires_at:
        return Denied(Denial.EXPIRED)
    return None


def _token(token_id: str) -> str:
    secret = _base62(int.from_bytes(secrets.token_bytes(_SECRET_BYTES), "big"), _SECRET)
    body = f"{PREFIX}_{token_id}_{secret}"
    return body + _checksum(body)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
