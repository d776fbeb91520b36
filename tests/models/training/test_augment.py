"""Changes of training texts leave roles and sense."""

import random

import pytest

from models.training.augment import (
    augmented,
    mistyped,
    recased,
    renamed,
    respelt_cashtags,
    shortened,
)
from models.training.config import Augmentation

TEXT = "[T] and $AAPL gain strongly as [O] reports dreadful quarterly numbers in $tsla land"


@pytest.mark.parametrize("change", [mistyped, recased, respelt_cashtags, shortened])
def test_role_tokens_survive_every_change(change: object) -> None:
    for seed in range(200):
        text = change(TEXT, random.Random(seed))  # type: ignore[operator]
        assert text.count("[T]") == 1
        assert text.count("[O]") == 1


def test_a_typo_changes_one_word() -> None:
    changed = 0
    for seed in range(50):
        words = mistyped(TEXT, random.Random(seed)).split()
        differing = [a for a, b in zip(words, TEXT.split(), strict=True) if a != b]
        assert len(differing) <= 1  # swapping two equal letters changes nothing
        changed += len(differing)
    assert changed > 40


def test_cashtags_are_written_in_another_way_and_amounts_stay() -> None:
    seen = {respelt_cashtags("$AAPL at $150", random.Random(seed)) for seed in range(50)}
    assert seen == {"AAPL at $150", "#AAPL at $150", "$aapl at $150"}


def test_about_a_tenth_of_the_words_is_left_out_and_never_all() -> None:
    text = " ".join(["word"] * 1000)
    assert 850 < len(shortened(text, random.Random(1)).split()) < 950
    assert all(shortened("word", random.Random(seed)) == "word" for seed in range(100))


def test_without_options_nothing_changes() -> None:
    assert not Augmentation().any()
    assert augmented(TEXT, Augmentation(), random.Random(1)) == TEXT


def test_a_change_comes_with_its_probability() -> None:
    options = Augmentation(case=0.3)
    changed = sum(augmented(TEXT, options, random.Random(seed)) != TEXT for seed in range(1000))
    assert 240 < changed < 360


def test_a_name_becomes_the_same_other_name_at_all_its_places() -> None:
    text = "Norvane buys Quillon; Norvane pays cash"
    names = [(0, 7), (13, 20), (22, 29)]
    seen = set()
    for seed in range(100):
        changed = renamed(text, names, ["Helix", "Vesper"], random.Random(seed))
        first, rest = changed.split(" buys ")
        assert rest.endswith(f"; {first} pays cash")
        seen.add(first)
    assert {"Helix", "Vesper"} < seen
    assert len(seen) > 30


def test_names_change_only_where_their_places_are_known() -> None:
    options = Augmentation(names=1.0)
    assert augmented(TEXT, options, random.Random(1)) == TEXT
    assert augmented("Norvane rises", options, random.Random(1), [(0, 7)]) != "Norvane rises"
