import numpy as np
import pytest

from models.data.table import Split, TableRow
from models.evaluation.baselines import majority, word_guess, word_model
from tests.models.rows import made_row


def row(text: str, label: str, split: Split = "train") -> TableRow:
    return made_row(text, label=label, split=split)


def test_the_majority_is_the_commonest_class_of_the_rows() -> None:
    assert majority(np.array([2, 0, 2, 1, 2])).tolist() == [2] * 5


def test_the_word_model_learns_words_cashtags_and_role_tokens() -> None:
    rows = [row(f"[T] beats [O] in quarter {i}", "positive") for i in range(20)]
    rows += [row(f"[O] beats [T] in quarter {i}", "negative") for i in range(20)]
    rows += [row(f"$AAPL flat in quarter {i}", "neutral") for i in range(20)]
    model = word_model(rows, "sentiment", seed=1)
    new = [row("[T] beats [O] today", "positive"), row("[O] beats [T] today", "negative"),
           row("$AAPL today", "neutral")]  # fmt: skip
    assert word_guess(model, new).tolist() == [2, 0, 1]


def test_a_table_without_training_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="no training rows for topic"):
        word_model([row("a b", "neutral")], "topic", seed=1)
