import tomllib
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from models.data.contrast import INSTANCES, TEMPLATES, VALID_SHARE, contrast_drafts
from models.data.reading import Draft
from streams.core.errors import ConfigurationError
from streams.core.text import normalise, with_roles

DRAFTS = contrast_drafts()


def by_document() -> dict[str, list[Draft]]:
    documents: dict[str, list[Draft]] = defaultdict(list)
    for draft in DRAFTS:
        documents[draft.doc].append(draft)
    return documents


def splits_by_labels() -> dict[frozenset[str], dict[str, str | None]]:
    """Split of each template, by the labels it gives."""
    result: dict[frozenset[str], dict[str, str | None]] = defaultdict(dict)
    for drafts in by_document().values():
        labels = frozenset(draft.label for draft in drafts)
        result[labels][str(drafts[0].family)] = drafts[0].split
    return result


def test_each_template_stands_in_one_split() -> None:
    splits: dict[str | None, set[str | None]] = defaultdict(set)
    for draft in DRAFTS:
        splits[draft.family].add(draft.split)
    assert {len(of_template) for of_template in splits.values()} == {1}
    assert len(DRAFTS) >= 2 * INSTANCES * len(splits)


def test_every_combination_of_labels_is_trained_and_held_out() -> None:
    for templates in splits_by_labels().values():
        held_out = sum(split == "valid" for split in templates.values())
        assert held_out == round(VALID_SHARE * len(templates))
        assert 0 < held_out < len(templates)


def test_two_companies_do_not_mean_opposite_opinions() -> None:
    kinds = {labels: len(templates) for labels, templates in splits_by_labels().items()}
    opposite = sum(n for labels, n in kinds.items() if {"positive", "negative"} <= labels)
    assert 0.4 < opposite / sum(kinds.values()) < 0.7
    assert {frozenset({"positive"}), frozenset({"negative"}), frozenset({"neutral"})} <= set(kinds)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_being_named_first_tells_little(split: str) -> None:
    first: dict[str, int] = defaultdict(int)
    for drafts in by_document().values():
        if drafts[0].split == split and {"positive", "negative"} <= {d.label for d in drafts}:
            first[min(drafts, key=lambda draft: draft.target).label] += 1
    assert 1 / 3 < first["positive"] / first["negative"] < 3


def test_every_row_marks_its_target_and_nothing_twice() -> None:
    for draft in DRAFTS:
        assert draft.text == normalise(draft.text)
        assert "{" not in draft.text
        assert draft.target
        spans = sorted([*draft.target, *draft.others])
        assert all(left[1] <= right[0] for left, right in pairwise(spans))
        assert with_roles(draft.text, draft.target, draft.others).count("[T]") >= 1


def test_companies_of_a_text_differ_and_some_stay_unlinked() -> None:
    unlinked = 0
    for drafts in by_document().values():
        assert len({draft.entity for draft in drafts}) == len(drafts) >= 2
        linked = {bool(draft.others) for draft in drafts}
        assert len(linked) == 1
        unlinked += linked == {False}
    assert 0.15 < unlinked / len(by_document()) < 0.35


def test_the_same_templates_give_the_same_rows() -> None:
    assert contrast_drafts() == DRAFTS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{A} beats {B}", "{A} beats {D}", "unknown slots"),
        ("{A} beats {B}", "{A} beats all", "do not agree"),
        ('B = "negative"', 'B = "bad"', "labels"),
        ('channel = "news"', 'channel = "radio"', "channel"),
    ],
)
def test_a_faulty_template_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = TEMPLATES.read_text(encoding="utf-8")
    assert tomllib.loads(text)["template"]["beats-rival"]["text"].startswith("{A} beats {B}")
    path = tmp_path / "contrast.toml"
    start = text.index("[template.beats-rival]")
    path.write_text(text[:start] + text[start:].replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"beats-rival: .*{message}"):
        contrast_drafts(path)
