import itertools
import random

import pytest

pytest.importorskip("datasketch", reason="needs the extra train")

from models.data.duplicates import (
    THRESHOLD,
    folded,
    groups,
    jaccard,
    leaks,
    near_duplicates,
    shingles,
)

STORY = "Norvane wins order for jet engines from the rail operator of Brazil"
COPIES = [
    STORY,
    STORY.upper() + " https://t.co/abc",
    STORY + "!!! #stocks",
    STORY.replace("wins", "gets"),
]


def altered(rng: random.Random, count: int) -> list[str]:
    """Stories and copies in which more and more words are others."""
    texts: list[str] = []
    while len(texts) < count:
        story = [f"w{rng.randrange(10**6):x}" for _ in range(12)]
        for changes in range(5):
            copy = list(story)
            for at in rng.sample(range(12), changes):
                copy[at] = f"x{rng.randrange(10**6):x}"
            texts.append(" ".join(copy))
    rng.shuffle(texts)
    return texts[:count]


def test_prices_links_case_and_signs_do_not_count() -> None:
    assert folded("$NRVN up 3,5% at 12.40 — https://t.co/x") == "nrvn up 0 at 0"
    assert shingles("$NRVN +2.1%") == shingles("nrvn 14%")


def test_short_texts_have_a_shingle() -> None:
    assert shingles("up") == {"up"}
    assert shingles("!") == {""}
    assert jaccard(shingles("up"), shingles("UP!")) == 1


def test_jaccard_is_the_share_of_common_shingles() -> None:
    assert jaccard(frozenset("abc"), frozenset("bcd")) == pytest.approx(2 / 4)


def test_copies_of_a_story_are_found_and_others_are_not() -> None:
    texts = [*COPIES, "Vesper Air cancels flights to Canada after a strike of pilots"]
    pairs = near_duplicates(texts)
    assert set(pairs) == {(i, j) for i in range(4) for j in range(i)}
    assert groups(len(texts), pairs) == [0, 0, 0, 0, 4]


def test_candidates_miss_no_pair_that_comparing_all_finds() -> None:
    texts = altered(random.Random(7), 300)
    sets = [shingles(text) for text in texts]
    every = {
        (j, i)
        for i, j in itertools.combinations(range(len(texts)), 2)
        if jaccard(sets[i], sets[j]) >= THRESHOLD
    }
    assert len(every) > 50
    assert set(near_duplicates(texts)) == every


def test_groups_join_what_is_joined_by_others() -> None:
    assert groups(5, [(4, 2), (2, 1)]) == [0, 1, 1, 3, 1]


def test_progress_counts_every_text() -> None:
    seen: list[int] = []
    near_duplicates(COPIES, seen.append)
    assert seen == [1, 2, 3, 4]


def test_the_leak_check_finds_all_pairs_across_splits_and_no_other() -> None:
    rng = random.Random(3)
    texts = altered(rng, 700)
    splits = [rng.choice(("train", "train", "train", "valid", "test")) for _ in texts]
    sets = [shingles(text) for text in texts]
    every = {
        frozenset((i, j)): jaccard(sets[i], sets[j])
        for i, j in itertools.combinations(range(len(texts)), 2)
        if splits[i] != splits[j] and jaccard(sets[i], sets[j]) >= THRESHOLD
    }
    assert len(every) > 50
    found = leaks(texts, splits)
    assert {frozenset((i, j)): similarity for i, j, similarity in found} == pytest.approx(every)
    assert len(found) == len(every)


def test_within_a_split_nothing_leaks() -> None:
    assert leaks(COPIES, ["train"] * 4) == []
    assert leaks([], []) == []
    assert len(leaks(COPIES, ["train", "train", "valid", "valid"])) == 4
