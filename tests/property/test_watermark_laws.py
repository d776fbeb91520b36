"""The watermark agrees with a word-for-word reading of the protocol, and never goes back."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.votes import Marker
from streams.core.watermark import Watermark

LATENESS_MS = 60_000
TEN_MINUTES_MS = 600_000
SOURCES = ("a/0", "a/1", "b/0")
MARKS = st.dictionaries(
    st.sampled_from(SOURCES),
    st.tuples(st.none() | st.integers(0, 500_000), st.none() | st.integers(30_000, 900_000)),
)
MARKERS = st.builds(
    Marker,
    generation=st.integers(0, 3),
    marks=MARKS,
    sources=st.lists(st.sampled_from(SOURCES), unique=True).map(tuple),
)
HISTORIES = st.lists(st.tuples(MARKERS, st.integers(0, 400_000)), max_size=25)

Said = list[tuple[Marker, int]]


def at_times(history: list[tuple[Marker, int]]) -> Said:
    at = 0
    said = []
    for marker, pause in history:
        at += pause
        said.append((marker, at))
    return said


def obeyed(said: Said) -> Said:
    """Leave out markers of a generation older than one that spoke in the last ten minutes."""
    kept: Said = []
    for marker, at in said:
        if not any(k.generation > marker.generation and at < t + TEN_MINUTES_MS for k, t in kept):
            kept.append((marker, at))
    return kept


def by_the_protocol(said: Said) -> int | None:
    """Return what the markers so far allow, as if nothing had been allowed before."""
    times: dict[str, int] = {}
    for marker, _ in said:
        for source, (event_time, _) in marker.marks.items():
            if event_time is not None:
                times[source] = max(event_time, times.get(source, event_time))
    current = obeyed(said)
    idle: dict[str, int | None] = {}
    for marker, _ in current:
        idle.update({source: mark[1] for source, mark in marker.marks.items()})
    listed = current[-1][0].sources
    counting = [source for source in listed if idle.get(source) is None]
    if counting:
        if not all(source in times for source in counting):
            return None
        return min(times[source] for source in counting) - LATENESS_MS
    largest = [times[source] for source in listed if source in times]
    if not largest:
        return None
    return max(largest) + min(idle[s] or 0 for s in listed) - LATENESS_MS


@settings(max_examples=300, deadline=None)
@given(HISTORIES)
def test_the_watermark_is_the_largest_that_the_protocol_ever_allowed(
    history: list[tuple[Marker, int]],
) -> None:
    said = at_times(history)
    mark = Watermark(LATENESS_MS)
    largest: int | None = None
    for count, (marker, at) in enumerate(said, 1):
        mark.apply(marker, at)
        allowed = by_the_protocol(said[:count])
        if allowed is not None:
            largest = allowed if largest is None else max(largest, allowed)
        assert mark.value == largest


@settings(max_examples=150, deadline=None)
@given(HISTORIES, st.integers(0, 25))
def test_a_restart_changes_no_watermark(history: list[tuple[Marker, int]], crash: int) -> None:
    one = two = Watermark(LATENESS_MS)
    for place, (marker, at) in enumerate(at_times(history)):
        if place == crash:
            two = Watermark.from_row(one.to_row(), LATENESS_MS)
        one.apply(marker, at)
        if two is not one:
            two.apply(marker, at)
        assert two.value == one.value


def mark(*markers: dict[str, Any]) -> int | None:
    watermark = Watermark(LATENESS_MS)
    for fields in markers:
        at = fields.pop("at", 0)
        watermark.apply(Marker(**{"generation": 1, "sources": ("a/0", "b/0"), **fields}), at)
    return watermark.value


def test_a_listed_source_that_never_spoke_holds() -> None:
    assert mark({"marks": {"a/0": (900_000, None)}}) is None


def test_the_slowest_source_counts() -> None:
    assert mark({"marks": {"a/0": (900_000, None), "b/0": (500_000, None)}}) == 440_000


def test_an_idle_source_leaves_the_minimum() -> None:
    assert mark({"marks": {"a/0": (900_000, None), "b/0": (None, 30_000)}}) == 840_000


def test_when_all_are_idle_time_goes_on_with_the_least_idle() -> None:
    assert mark({"marks": {"a/0": (900_000, 50_000), "b/0": (500_000, 40_000)}}) == 880_000


def test_a_source_that_is_no_longer_listed_does_not_count() -> None:
    both = {"marks": {"a/0": (900_000, None), "b/0": (500_000, None)}}
    assert mark(both, {"marks": {}, "sources": ("a/0",)}) == 840_000


def test_an_older_generation_is_heard_again_after_ten_minutes() -> None:
    both = {"generation": 2, "marks": {"a/0": (900_000, None), "b/0": (500_000, None)}}
    old = {"generation": 1, "marks": {}, "sources": ("a/0",)}
    assert mark({**both}, {**old, "at": 599_999}) == 440_000
    assert mark({**both}, {**old, "at": 600_000}) == 840_000
