"""Sentences of company reports, made from templates of ours."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from models.data.contrast import VALID_SHARE
from models.data.names import invented
from models.data.statements import INSTANCES, TEMPLATES, statement_drafts
from models.evaluation.fairness import read_names
from streams.core.errors import ConfigurationError
from streams.core.labels import SENTIMENTS
from streams.core.text import with_roles

DRAFTS = statement_drafts()


def test_each_template_stands_in_one_split_and_a_share_of_each_label_is_held_out() -> None:
    split_of = {(draft.family, draft.label): draft.split for draft in DRAFTS}
    assert len(split_of) == len({draft.family for draft in DRAFTS})
    assert {(d.family, d.label): d.split for d in reversed(DRAFTS)} == split_of
    for label in SENTIMENTS:
        splits = Counter(split for (_, own), split in split_of.items() if own == label)
        assert splits["valid"] == round(VALID_SHARE * splits.total())


def test_texts_differ_and_slots_are_filled() -> None:
    assert len({draft.text for draft in DRAFTS}) == len(DRAFTS)
    assert not any("{" in draft.text for draft in DRAFTS)
    assert max(Counter(draft.family for draft in DRAFTS).values()) == INSTANCES


def test_most_companies_stand_by_name_and_some_are_the_target() -> None:
    marked = [draft for draft in DRAFTS if draft.entity]
    assert 0.1 < len(marked) / len(DRAFTS) < 0.4
    for draft in marked:
        assert "[T]" in with_roles(draft.text, draft.target)
    assert all(not draft.target for draft in DRAFTS if not draft.entity)


def test_a_profit_that_rose_ends_above_where_it_began() -> None:
    number = re.compile(r"\d+\.\d")
    rose = [draft for draft in DRAFTS if draft.family == "profit-rose"]
    assert rose
    for draft in rose:
        to, since = map(float, number.findall(draft.text))
        assert to > since


def test_the_same_templates_give_the_same_rows() -> None:
    assert statement_drafts() == DRAFTS


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ('text = "{A} {what}"\nlabel = "neutral"', "unknown slots"),
        ('text = "{A}"\nlabel = "good"', "label 'good'"),
    ],
)
def test_a_faulty_template_is_named(tmp_path: Path, template: str, message: str) -> None:
    path = tmp_path / TEMPLATES.name
    path.write_text(f"[fill]\n[template.odd]\n{template}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"odd: .*{message}"):
        statement_drafts(path)


def test_invented_names_are_none_that_the_evaluation_swaps() -> None:
    rng = random.Random(1)
    drawn = [invented(rng) for _ in range(20_000)]
    assert len(set(drawn)) > 5_000
    swapped = {name.casefold() for names in read_names().values() for name in names}
    first_words = {name.split()[0] for name in swapped}
    assert not swapped & {name.casefold() for name in drawn}
    assert not first_words & {name.casefold().split()[0] for name in drawn}
