"""When a story is called organic, coordinated or neither."""

import pytest

from streams.core.records import Verdict
from streams.core.stories import NEWS, REPOST, Copy, Stories

OTHERS = 1 << 60


def told(
    copies: int, accounts: int, marks: int = REPOST, channels: str = "x", others: int = 1000
) -> Verdict:
    stories = Stories(1440)
    for number in range(others):
        stories.add(OTHERS + number, Copy(0, 0, "x", 0))
    for number in range(copies):
        stories.add(7, Copy(0, 1 + number % accounts, channels[number % len(channels)], marks))
    story = stories.of(7)
    assert stories.spread(7).verdict == story.verdict(stories.said)
    return stories.spread(7).verdict


@pytest.mark.parametrize(
    ("verdict", "of"),
    [
        ("unconfirmed", {"copies": 1, "accounts": 1}),
        ("organic", {"copies": 1, "accounts": 1, "marks": NEWS}),
        ("organic", {"copies": 400, "accounts": 400, "channels": "xy"}),
        ("unconfirmed", {"copies": 400, "accounts": 400}),
        ("coordinated", {"copies": 300, "accounts": 300, "others": 100}),
        ("unconfirmed", {"copies": 299, "accounts": 299, "others": 100}),
        ("unconfirmed", {"copies": 19, "accounts": 19, "others": 0}),
        ("coordinated", {"copies": 40, "accounts": 10}),
        ("unconfirmed", {"copies": 40, "accounts": 11}),
        ("coordinated", {"copies": 40, "accounts": 40, "marks": 0}),
        ("unconfirmed", {"copies": 19, "accounts": 19, "marks": 0}),
        ("organic", {"copies": 40, "accounts": 40, "marks": NEWS | REPOST, "others": 0}),
    ],
)
def test_a_verdict_needs_a_reason(verdict: Verdict, of: dict[str, object]) -> None:
    assert told(**of) == verdict  # type: ignore[arg-type]
