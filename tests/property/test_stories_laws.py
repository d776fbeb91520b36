"""Stories, turns and distinct members: merged, taken apart, read back in any order, the same."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.counting import count_in
from streams.core.distinct import MOST, Distinct, Sample
from streams.core.fingerprint import AGREE, agreement
from streams.core.stories import Copy, Stories, Story
from streams.core.turns import Turns

HORIZON = 15
SKETCHES = st.builds(
    lambda base, one, two: base * 0x0101010101010101 ^ 1 << 8 * one ^ 1 << 8 * two,
    st.integers(1, 3),
    st.integers(0, 7),
    st.integers(0, 7),
)
COPIES = st.lists(
    st.tuples(SKETCHES, st.integers(0, 60), st.integers(0, 3), st.sampled_from("cd")), max_size=40
)
SHUFFLES = st.integers(0, 999).map(random.Random)


@settings(max_examples=200)
@given(COPIES, SHUFFLES)
def test_stories_that_were_read_back_take_copies_as_those_that_were_formed(
    copies: list[tuple[int, int, int, str]], shuffle: random.Random
) -> None:
    formed = Stories(HORIZON)
    told: list[tuple[int, Copy]] = []
    for sketch, minute, author, channel in sorted(copies, key=lambda c: c[1]):
        leader = formed.join(sketch, minute)
        assert leader == sketch or agreement(leader, sketch) >= AGREE
        copy = Copy(minute, author, channel, author)
        formed.add(leader, copy)
        told.append((leader, copy))
    shuffle.shuffle(told)
    kept = [each for each in told if each[1].minute > 20]
    for leader, copy in told:
        if copy.minute <= 20:
            formed.forget(leader, copy)
    read = Stories(HORIZON)
    for leader, copy in kept:
        read.add(leader, copy)
    assert read.said == formed.said == len(kept)
    for sketch, minute, _, _ in copies:
        later = max(minute, 20 + HORIZON)
        assert read.join(sketch, later) == formed.join(sketch, later)
        assert read.copies_since(sketch, minute) == formed.copies_since(sketch, minute)
        assert read.of(sketch) == formed.of(sketch)


@given(COPIES)
def test_the_nearest_leader_is_found_without_looking_at_all(
    copies: list[tuple[int, int, int, str]],
) -> None:
    stories = Stories(HORIZON)
    leaders: dict[int, int] = {}
    for sketch, minute, _, _ in sorted(copies, key=lambda c: c[1]):
        live = [x for x, newest in leaders.items() if newest > minute - HORIZON]
        near = [x for x in live if agreement(x, sketch) >= AGREE]
        wanted = min(near, key=lambda x: (-agreement(x, sketch), x), default=sketch)
        leader = stories.join(sketch, minute)
        assert leader == wanted
        stories.add(leader, Copy(minute, 0, "c", 0))
        leaders[leader] = max(minute, leaders.get(leader, minute))


@given(COPIES, st.integers(0, 60))
def test_a_story_counts_its_copies(copies: list[tuple[int, int, int, str]], after: int) -> None:
    stories, turns = Stories(HORIZON), Turns()
    for _, minute, author, channel in copies:
        stories.add(7, Copy(minute, author, channel, author))
        turns.add(author, minute)
    story = stories.of(7)
    assert story.copies == len(copies)
    assert story.reposts == sum(author % 2 for _, _, author, _ in copies)
    assert story.news == sum(author // 2 for _, _, author, _ in copies)
    assert story.authors.keys() == {author for _, _, author, _ in copies if author}
    assert stories.copies_since(7, after) == sum(minute > after for _, minute, _, _ in copies)
    said = Counter(author for _, minute, author, _ in copies if minute > after)
    assert all(turns.since(author, after) == said[author] for author in range(4))
    for _, minute, author, channel in copies:
        stories.forget(7, Copy(minute, author, channel, author))
        turns.forget(author, minute)
    assert stories.of(7) == Story()
    assert all(turns.since(author, -1) == 0 for author in range(4))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sets(st.integers(1, 2**32 - 1), max_size=400), max_size=6), st.data(), SHUFFLES)
def test_samples_merge_and_come_apart_in_any_order(
    minutes: list[set[int]], data: st.DataObject, shuffle: random.Random
) -> None:
    samples = []
    for members in minutes:
        sample = Sample()
        for key in shuffle.sample(sorted(members), len(members)):
            sample.add(key)
        assert len(sample.members) <= MOST
        assert (sample.members == members) == (sample.level == 0)
        assert Sample.from_row(sample.to_row()) == sample
        samples.append(sample)
    kept = [s for s in samples if data.draw(st.booleans())]
    running = Distinct(shuffle.sample(samples, len(samples)))
    for sample in samples:
        if not any(sample is k for k in kept):
            running.remove(sample)
    assert running.number == Distinct(kept).number
    if all(s.level == 0 for s in kept):
        assert running.number == len(set().union(*(s.members for s in kept)))


def test_many_members_are_estimated_within_ten_percent_in_the_mean() -> None:
    draw = random.Random(6)
    errors = []
    for _ in range(30):
        members = [draw.randrange(1, 2**32) for _ in range(5_000)]
        running = Distinct()
        for start in range(0, 5_000, 500):
            sample = Sample()
            for key in members[start : start + 500]:
                sample.add(key)
            running.add(sample)
        errors.append(running.number / 5_000 - 1)
    assert abs(sum(errors) / len(errors)) < 0.05
    assert (sum(e * e for e in errors) / len(errors)) ** 0.5 < 0.1


def test_a_count_of_nothing_is_no_entry() -> None:
    counts: dict[str, int] = {}
    assert count_in(counts, "a", 2) == 2
    assert count_in(counts, "a", -2) == 0
    assert counts == {}
