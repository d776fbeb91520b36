"""Signatures verify with the specification's library, and secrets show nowhere."""

import time

import pytest
from pydantic import BaseModel, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from streams.delivery.signing import SigningSecret, new_secret, rotated, signed, stored

BODY = '{"what": "ærlig"}'.encode()


class Kept(BaseModel):
    secrets: tuple[SigningSecret, ...]


def verifies(secret: SigningSecret, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret.secret.get_secret_value()).verify(body, headers, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def test_a_signature_holds_for_this_body_id_and_time_only() -> None:
    now = int(time.time()) * 1000
    secret, other = new_secret(), new_secret()
    headers = signed([secret], "a.1", BODY, now)
    assert verifies(secret, BODY, headers)
    assert not verifies(other, BODY, headers)
    assert not verifies(secret, BODY + b" ", headers)
    assert not verifies(secret, BODY, {**headers, "webhook-id": "a.2"})
    assert not verifies(secret, BODY, {**headers, "webhook-timestamp": str(now // 1000 - 1)})


def test_an_id_with_a_full_stop_can_not_be_cut_at_another_place() -> None:
    now = int(time.time()) * 1000
    secret = new_secret()
    headers = signed([secret], "a.17", BODY, now)
    cut = {**headers, "webhook-id": "a", "webhook-timestamp": "17"}
    assert not verifies(secret, headers["webhook-timestamp"].encode() + b"." + BODY, cut)


def test_both_secrets_sign_during_a_change_and_never_more() -> None:
    now = int(time.time()) * 1000
    first, second, third = new_secret(), new_secret(), new_secret()
    during = rotated([first], second, now, overlap_ms=1000)
    headers = signed(during, "a.1", BODY, now + 999)
    assert verifies(first, BODY, headers)
    assert verifies(second, BODY, headers)
    headers = signed(during, "a.1", BODY, now + 1000)
    assert not verifies(first, BODY, headers)
    assert verifies(second, BODY, headers)
    again = rotated(during, third, now + 1, overlap_ms=1000)
    assert [each.secret for each in again] == [third.secret, second.secret]


def test_without_a_valid_secret_nothing_is_signed() -> None:
    now = int(time.time()) * 1000
    ended = new_secret().model_copy(update={"until": now})
    with pytest.raises(ValueError, match="no secret"):
        signed([ended], "a.1", BODY, now)


@pytest.mark.parametrize(
    "text",
    ["", "whsec_=", "whsec_" + "A" * 28, "whsec_" + "A" * 92, "x" * 44, "whsec_" + "ü" * 44],
)
def test_a_secret_has_the_specified_form(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SigningSecret.model_validate({"secret": text})
    assert "24 to 64 bytes" in str(caught.value)
    assert not text or text not in str(caught.value), "an error is logged, a secret is not"


def test_a_secret_is_masked_everywhere_but_on_its_topic() -> None:
    kept = Kept(secrets=(new_secret(),))
    text = kept.secrets[0].secret.get_secret_value()
    for shown in (repr(kept), str(kept), kept.model_dump_json(), str(kept.model_dump())):
        assert text not in shown
    assert text in stored(kept).decode()
    assert Kept.model_validate_json(stored(kept)) == kept


def test_secrets_are_fresh_and_of_256_bits() -> None:
    made = {new_secret().secret.get_secret_value() for _ in range(100)}
    assert len(made) == 100
    assert {len(each) for each in made} == {len("whsec_") + 44}
