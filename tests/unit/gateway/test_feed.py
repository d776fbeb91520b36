"""The live feed: order, resuming, and who is dropped."""

import asyncio

import pytest

from streams.gateway.feed import FROM_START, Cursor, Event, Feed


def event(offset: int, name: str = "e") -> Event:
    return Event(offset, f"{name}{offset}.0", b"{}")


def fill(feed: Feed, *offsets: int) -> None:
    for offset in offsets:
        assert feed.append(event(offset))


def drain(cursor: Cursor) -> list[int]:
    got = []
    while (found := cursor.poll()) is not None:
        got.append(found.offset)
    return got


async def test_listener_resumes_after_its_offset_over_holes() -> None:
    feed = Feed()
    fill(feed, 0, 1, 4)
    cursor = feed.join(after=0)
    assert drain(cursor) == [1, 4]
    fill(feed, 7)
    assert drain(cursor) == [7]
    assert drain(feed.join(FROM_START)) == [0, 1, 4, 7]
    assert feed.offset_of("e4.0") == 4


async def test_listener_without_offset_hears_nothing_old() -> None:
    feed = Feed()
    early = feed.join(None)
    fill(feed, 0, 1)
    assert drain(early) == []
    feed.go_live()
    late = feed.join(None)
    fill(feed, 2)
    assert drain(early) == drain(late) == [2]


async def test_known_event_is_not_repeated() -> None:
    feed = Feed()
    fill(feed, 0, 1)
    assert not feed.append(event(1))


async def test_log_that_begins_anew_is_told() -> None:
    feed = Feed()
    fill(feed, 0, 1, 2)
    cursor = feed.join(2)
    assert feed.append(event(0, name="other"))
    assert cursor.anew
    assert drain(cursor) == [0]
    assert feed.last == 0


async def test_memory_is_bounded_and_says_what_it_forgot() -> None:
    feed = Feed(tail=8)
    fill(feed, *range(100))
    assert feed.first >= 90 - 8
    assert feed.offset_of("e0.0") is None
    assert drain(feed.join(feed.first - 1)) == list(range(feed.first, 100))


async def test_slow_listener_is_dropped_but_not_for_a_burst_or_a_long_absence() -> None:
    now = 0.0
    feed = Feed(backlog=3, patience_s=1.0, clock=lambda: now)
    fill(feed, *range(10))
    absent, slow, quick = (feed.join(after) for after in (FROM_START, 9, 9))
    drain(slow)
    drain(quick)
    fill(feed, *range(10, 20))  # a burst at one instant
    assert not slow.closed
    assert drain(quick) == list(range(10, 20))
    now = 2.0
    fill(feed, 20)
    assert slow.closed
    assert not quick.closed
    assert not absent.closed
    assert feed.dropped == 1
    assert drain(absent) == list(range(21))


@pytest.mark.parametrize("close", ["before", "after"])
async def test_closing_wakes_and_refuses(close: str) -> None:
    feed = Feed()
    if close == "before":
        feed.close()
    cursor = feed.join(None)
    feed.close()
    async with asyncio.timeout(1):
        await cursor.wait()
    assert cursor.closed
