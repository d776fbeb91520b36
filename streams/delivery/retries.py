"""When a delivery that failed is tried again: the example schedule of Standard Webhooks.

Source: the Standard Webhooks specification, section Deliverability and reliability: ten attempts
over three days, with jitter, and `Retry-After` (RFC 9110, section 10.2.3) taken into account.
"""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

PLAN_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""The pause after each attempt that failed, in seconds."""
ATTEMPTS: Final = len(PLAN_S) + 1
JITTER: Final = 0.2
"""A pause is longer by up to this share."""
MAX_RETRY_AFTER_S: Final = 86_400


def pause_ms(attempt: int, drawn: float, retry_after: int | None = None) -> int | None:
    """Return how long to wait after a failed attempt, or None after the last one.

    Args:
        attempt: Its number, from 1.
        drawn: A number in [0, 1) drawn for this attempt.
        retry_after: Milliseconds that the receiver asked for; the longer pause counts.

    Raises:
        ValueError: an attempt below 1, or a drawn number outside [0, 1).
    """
    if attempt < 1 or not 0 <= drawn < 1:
        raise ValueError(f"attempt {attempt}, drawn {drawn}")
    if attempt >= ATTEMPTS:
        return None
    planned = round(PLAN_S[attempt - 1] * 1000 * (1 + JITTER * drawn))
    return max(planned, retry_after or 0)


def retry_after_ms(header: str | None, now: int) -> int | None:
    """Return the pause that a `Retry-After` header asks for, from 0 to a day, in milliseconds.

    Args:
        header: Seconds or an HTTP date; what is neither counts as not given.
        now: Milliseconds since the epoch.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        # A hundred digits ask for a day as well, and int() would refuse ten thousand.
        wanted = int(text) * 1000 if len(text) <= 12 else MAX_RETRY_AFTER_S * 1000
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        wanted = round(moment.timestamp() * 1000) - now
    return min(max(wanted, 0), MAX_RETRY_AFTER_S * 1000)
