"""Secrets of webhooks and signatures by Standard Webhooks, two while a secret is being changed."""

import base64
import secrets as random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, SecretStr
from pydantic_core.core_schema import SerializationInfo
from standardwebhooks import Webhook

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
OVERLAP_MS: Final = 86_400_000
"""How long the secret before keeps signing too."""

_STORED: Final = {"stored": True}


def _valid(secret: SecretStr) -> SecretStr:
    """The specification wants 24 to 64 bytes, which is 192 to 512 bits."""
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(f"must be {PREFIX} and 24 to 64 bytes in base64")
    return secret


def _shown(secret: SecretStr, info: SerializationInfo) -> str:
    return secret.get_secret_value() if info.context == _STORED else str(secret)


Hidden = Annotated[SecretStr, PlainSerializer(_shown, return_type=str, when_used="json")]
"""Masked wherever it is printed or dumped, except by `stored`."""

Secret = Annotated[Hidden, AfterValidator(_valid)]


class SigningSecret(BaseModel):
    """A secret shared with one receiver; masked wherever it is printed or dumped."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    secret: Secret
    until: int | None = None
    """milliseconds since the epoch at which it stops signing; None for the current one"""


def new_secret() -> SigningSecret:
    """Return a fresh secret of 256 bits."""
    key = base64.b64encode(random.token_bytes(SECRET_BYTES)).decode()
    return SigningSecret(secret=SecretStr(PREFIX + key))


def rotated(
    known: Sequence[SigningSecret], new: SigningSecret, now: int, overlap_ms: int = OVERLAP_MS
) -> tuple[SigningSecret, ...]:
    """Return the secrets after a change: the new one, and for a while the one before it.

    A change within a change drops the oldest at once, so never more than two sign.
    """
    before = [each for each in known if each.until is None]
    return (new, *(each.model_copy(update={"until": now + overlap_ms}) for each in before[:1]))


def signed(
    secrets: Sequence[SigningSecret], message_id: str, body: bytes, now: int
) -> dict[str, str]:
    """Return the headers of one attempt: id, time of the attempt, a signature by each secret.

    The specification warns of ids with a full stop, because `id.timestamp.body` could be cut at
    another place. Ours, `<alert id>.<revision>`, has one; cut there, the time would be the
    revision, a moment in 1970, which no receiver takes.

    Args:
        now: Milliseconds since the epoch.

    Raises:
        ValueError: no secret is valid now.
    """
    valid = [each.secret for each in secrets if each.until is None or now < each.until]
    if not valid:
        raise ValueError("no secret to sign with")
    moment = datetime.fromtimestamp(now // 1000, UTC)
    text = body.decode()
    signatures = (Webhook(each.get_secret_value()).sign(message_id, moment, text) for each in valid)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(now // 1000),
        "webhook-signature": " ".join(signatures),
    }


def stored(record: BaseModel) -> bytes:
    """Return a record as it is kept on its topic, secrets in clear."""
    return record.model_dump_json(context=_STORED).encode()
