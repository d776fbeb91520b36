import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from models.evaluation.judged import Judged
from models.evaluation.robustness import (
    EDITS,
    capitals,
    cashtags,
    lower,
    negated,
    negation,
    robustness,
    typos,
    written_pairs,
)
from models.predict import Probabilities
from streams.core.labels import SENTIMENTS, TOPICS
from tests.models.rows import made_row

TEXT = "[T] will report stronger quarterly results than [O] $TSLA on Monday"


class ByWords:
    """Positive for "beat", turned round by "not" if it understands negation."""

    def __init__(self, *, understands: bool) -> None:
        self.understands = understands

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        classes = [self._label(text) for text in texts]
        sentiment = (0.1 + 0.7 * np.eye(3)[classes]).astype(np.float32)
        return sentiment, np.full((len(texts), len(TOPICS)), 0.05, np.float32)

    def _label(self, text: str) -> int:
        if not re.search(r"\bbeat", text):
            return 1
        turned = self.understands and re.search(r"\b(not|cannot|failed)\b", text)
        return 0 if turned else 2


def judged(texts: list[str], label: str = "positive") -> Judged:
    rows = [made_row(text, label=label, split="test") for text in texts]
    return Judged("sentiment", rows, np.eye(3)[[SENTIMENTS.index(label)] * len(rows)])


@pytest.mark.parametrize("edit", EDITS.values())
def test_edits_leave_role_tokens_alone_and_are_always_the_same(edit: Callable[[str], str]) -> None:
    edited = edit(TEXT)
    assert edited != TEXT
    assert edited.startswith("[T] ")
    assert edited.count("[O]") == 1
    assert edit(TEXT) == edited


def test_typos_break_one_word_in_six_and_nothing_else() -> None:
    for text in (
        TEXT,
        "Shares of the company jump after results beat estimates by far",
        "$AAPL 12%",
    ):
        before, after = text.split(), typos(text).split()
        assert len(before) == len(after)
        changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        long = [w for w in before if re.fullmatch("[A-Za-z]{4,}", w)]
        assert 0 < len(changed) <= -(-len(long) // 6) if long else not changed
        assert all(abs(len(a) - len(b)) <= 1 and a in long for a, b in changed)


def test_casing() -> None:
    assert lower("[T] Beats $AAPL") == "[T] beats $aapl"
    assert capitals("[O] beats [T]'s offer") == "[O] BEATS [T]'S OFFER"


def test_a_cashtag_becomes_another_and_the_same_one_the_same() -> None:
    edited = cashtags("$AAPL up, $KO down, $AAPL again, costs $5")
    first, second, third = re.findall(r"\$[A-Z]+", edited)
    assert first == third != second
    assert first != "$AAPL"
    assert edited.endswith("costs $5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Acme will beat estimates", "Acme will not beat estimates"),
        ("Sales ARE strong and costs are low", "Sales ARE not strong and costs are low"),
        ("Acme will not beat estimates", "Acme will not beat estimates"),
        ("Acme isn't growing and was hit", "Acme isn't growing and was hit"),
        ("Acme beats estimates", "Acme beats estimates"),
    ],
)
def test_the_rule_negates_the_first_auxiliary_once(text: str, expected: str) -> None:
    assert negated(text) == expected


def test_a_model_that_understands_negation_and_one_that_does_not() -> None:
    pairs = [
        ("[T] will beat estimates", "[T] will not beat estimates", "positive"),
        ("[T] managed to beat", "[T] failed to beat", "positive"),
        ("[T] will sink", "[T] will not sink", "negative"),  # not read as labelled: left out
    ]
    good = negation(ByWords(understands=True), pairs)
    assert (good["pairs"], good["read_as_labelled"]) == (3, 2)
    assert (good["weaker"], good["given_up"]) == (1, 1)
    assert good["change"] == pytest.approx(1.4)
    deaf = negation(ByWords(understands=False), pairs)
    assert (deaf["weaker"], deaf["given_up"], deaf["change"]) == (0, 0, 0)


def test_written_pairs_are_sentences_about_the_target() -> None:
    pairs = written_pairs()
    assert len(pairs) == len({plain for plain, _, _ in pairs}) == 80
    for plain, turned, label in pairs:
        assert plain.count("[T]") == turned.count("[T]") == 1
        assert plain != turned
        assert label in ("positive", "negative")


def test_flips_and_accuracy_are_counted_where_an_edit_changes_something() -> None:
    texts = ["$AAPL beat estimates", "$TSLA beat records", "they beat estimates"]
    found = robustness(ByWords(understands=True), judged(texts), {"rows": 7})
    assert found["contrast"] == {"rows": 7}
    assert found["edits"]["other cashtags"]["rows"] == 2
    assert found["edits"]["other cashtags"]["flips"] == 0
    assert found["edits"]["capitals"]["flips"] == 1  # it knows "beat" in small letters only
    assert found["edits"]["capitals"]["accuracy_before"] == 1
    assert found["edits"]["capitals"]["accuracy_after"] == 0
    assert "small letters" in found["edits"]


def test_an_edit_that_changes_no_text_is_left_out() -> None:
    found = robustness(ByWords(understands=True), judged(["12 %"]), {})
    assert found["edits"] == {}
    assert found["negation"]["by_rule"]["pairs"] == 0
