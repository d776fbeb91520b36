import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from models.card import SETS, render
from models.data import LICENCES


def run(**sets: dict[str, float]) -> dict[str, Any]:
    return {"epoch": 3, "epochs": 4, "seed": 1, "valid": sets}


def test_every_set_that_trains_is_attributed_with_its_licence() -> None:
    card = render(run(), "1")
    assert SETS.keys() == LICENCES.keys()
    for name, licence in LICENCES.items():
        (row,) = (line for line in card.splitlines() if line.startswith(f"| {SETS[name][0]} |"))
        assert f"| {licence} |" in row


def test_every_figure_of_the_evaluation_is_the_runs() -> None:
    figures = {"rows": 17, "accuracy": 0.8125, "macro_f1": 0.7071}
    card = render(run(en_topic_twitter=figures), "1")
    assert "| Twitter Financial News Topic | 17 | 0.8125 | 0.7071 |" in card
    assert "epoch 3 of 4, seed 1" in card
    assert re.findall(r"\d\.\d{2,}", card) == ["0.8125", "0.7071"]


def test_figures_that_another_set_lacks_stay_empty() -> None:
    card = render(run(en_topic_twitter={"a": 1}, en_entity_sentfin={"b": 2}), "1")
    assert "| Twitter Financial News Topic | 1 |  |" in card
    assert "| SEntFiN 1.1 |  | 2 |" in card


def test_a_set_without_attribution_is_refused() -> None:
    with pytest.raises(ValueError, match="no attribution for secret_set"):
        render(run(secret_set={"rows": 1}), "1")


def test_the_card_names_the_weights_it_is_about(tmp_path: Path) -> None:
    weights = tmp_path / "model.onnx"
    weights.write_bytes(b"weights")
    assert hashlib.sha256(b"weights").hexdigest() in render(run(), "1", weights)
