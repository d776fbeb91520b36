"""Who comes in with a token, and what is kept of it."""

import re
from collections import Counter

import pytest

from streams.delivery.tokens import (
    PATTERN,
    Denial,
    Denied,
    Grant,
    Issued,
    TokenRecord,
    check,
    is_token,
    issue,
    revoked,
    rotated,
)

NOW = 1_792_108_805_000
HOUR = 3_600_000


def made(**changes: int) -> Issued:
    return issue("desk", "ann", ("read", "subscribe"), now=NOW, **changes)


def text(issued: Issued) -> str:
    return issued.token.get_secret_value()


def ask(token: str, *records: TokenRecord, now: int = NOW) -> Grant | Denied:
    return check(token, {record.id: record for record in records}, now=now)


def test_a_token_lets_its_owner_in_for_its_scopes() -> None:
    one, other = made(), made()
    grant = ask(text(one), one.record, other.record)
    assert grant == Grant(one.record.id, "ann", frozenset({"read", "subscribe"}))
    assert grant.allows("read")
    assert not grant.allows("ingest")
    assert not grant.allows("admin")


def test_admin_includes_the_other_scopes() -> None:
    boss = issue("boss", "root", ("admin",), now=NOW)
    grant = ask(text(boss), boss.record)
    assert isinstance(grant, Grant)
    assert all(grant.allows(scope) for scope in ("read", "ingest", "subscribe", "admin"))


def test_nothing_of_the_secret_is_kept_or_shown() -> None:
    issued = made()
    secret = text(issued).rpartition("_")[2]
    for shown in (repr(issued), issued.record.model_dump_json(), str(issued.token)):
        assert secret[:8] not in shown
    assert TokenRecord.model_validate_json(issued.record.model_dump_json()) == issued.record


def test_a_mistyped_token_is_told_from_an_unknown_one() -> None:
    issued = made()
    token = text(issued)
    for place in range(len(token)):
        wrong = token[:place] + ("x" if token[place] != "x" else "y") + token[place + 1 :]
        assert ask(wrong, issued.record) == Denied(Denial.MALFORMED)
    for wrong in ("", token[:-1], token + "0", token.upper(), " " + token, token + "\n", "é" * 73):
        assert ask(wrong, issued.record) == Denied(Denial.MALFORMED)
    assert ask(text(made()), issued.record) == Denied(Denial.UNKNOWN)


def test_an_id_alone_is_worth_nothing() -> None:
    issued = made()
    forged = rotated(issued.record, now=NOW)  # the id is right, the secret another
    assert ask(text(forged), issued.record) == Denied(Denial.UNKNOWN)


def test_a_token_ends_at_its_moment() -> None:
    issued = made(expires_at=NOW + HOUR)
    assert isinstance(ask(text(issued), issued.record, now=NOW + HOUR - 1), Grant)
    assert ask(text(issued), issued.record, now=NOW + HOUR) == Denied(Denial.EXPIRED)
    with pytest.raises(ValueError, match="before it begins"):
        made(expires_at=NOW)


def test_a_revoked_token_lets_nobody_in_and_the_first_moment_counts() -> None:
    issued = made()
    record = revoked(revoked(issued.record, now=NOW + 5), now=NOW + 9)
    assert record.revoked_at == NOW + 5
    assert ask(text(issued), record) == Denied(Denial.REVOKED)


def test_only_who_has_the_secret_learns_that_a_token_has_ended() -> None:
    issued = made()
    forged = rotated(issued.record, now=NOW)
    assert ask(text(forged), revoked(issued.record, now=NOW)) == Denied(Denial.UNKNOWN)


def test_during_a_change_two_are_valid_and_never_three() -> None:
    first = made()
    second = rotated(first.record, now=NOW, overlap_ms=HOUR)
    assert isinstance(ask(text(first), second.record, now=NOW + HOUR - 1), Grant)
    assert ask(text(first), second.record, now=NOW + HOUR) == Denied(Denial.UNKNOWN)
    assert isinstance(ask(text(second), second.record, now=NOW + HOUR), Grant)
    third = rotated(second.record, now=NOW + 1, overlap_ms=HOUR)
    assert ask(text(first), third.record, now=NOW + 2) == Denied(Denial.UNKNOWN)
    assert isinstance(ask(text(second), third.record, now=NOW + 2), Grant)
    assert isinstance(ask(text(third), third.record, now=NOW + 2), Grant)


def test_an_ended_token_can_not_be_changed() -> None:
    for record in (
        revoked(made().record, now=NOW),
        made(expires_at=NOW + 1).record,
    ):
        with pytest.raises(ValueError, match="make a new one"):
            rotated(record, now=NOW + 1)


def test_scanners_find_a_leaked_token_in_a_file() -> None:
    token = text(made())
    leaked = f'headers = {{"Authorization": "Bearer {token}"}}  # oops'
    assert [found[0] for found in re.finditer(PATTERN, leaked)] == [token]
    assert is_token(token)


def test_secrets_use_every_digit_and_do_not_repeat() -> None:
    tokens = [text(made()) for _ in range(300)]
    assert len({token.rpartition("_")[2] for token in tokens}) == 300
    seen = Counter("".join(token.rpartition("_")[2][1:43] for token in tokens))
    mean = sum(seen.values()) / 62
    assert len(seen) == 62
    assert all(0.5 * mean < count < 1.5 * mean for count in seen.values())
