import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from models.evaluation.metrics import (
    block,
    difference,
    from_confusion,
    per_class,
    resampled,
    scores,
)


def guesses(rows: int, right: float, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and a guess that is right with this probability."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    wrong = (truth + rng.integers(1, classes, rows)) % classes
    return truth, np.where(rng.random(rows) < right, truth, wrong)


def test_scores_are_those_counted_by_hand() -> None:
    truth = np.array([0, 0, 1, 1, 1, 2])
    guess = np.array([0, 1, 1, 1, 2, 2])
    # F1: class 0 2/3, class 1 4/6, class 2 2/3.
    assert scores(truth, guess) == pytest.approx(
        {"accuracy": 4 / 6, "macro_f1": 2 / 3, "weighted_f1": 2 / 3}
    )
    found = per_class(truth, guess, ("a", "b", "c"))
    assert found["a"] == pytest.approx({"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "rows": 2})


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_the_fast_figures_of_a_draw_are_those_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    for _ in range(20):
        truth = rng.integers(0, classes, 25)  # with 20 classes, some are missing
        guess = np.where(rng.random(25) < 0.6, truth, rng.integers(0, classes, 25))
        matrix = np.zeros((1, classes, classes))
        np.add.at(matrix[0], (truth, guess), 1)
        assert from_confusion(matrix)[0] == pytest.approx(
            [
                accuracy_score(truth, guess),
                f1_score(truth, guess, average="macro"),
                f1_score(truth, guess, average="weighted"),
            ]
        )


def test_intervals_cover_the_true_accuracy_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(120):
        truth, guess = guesses(150, 0.8, seed)
        low, high = block(truth, guess, range(150), seed=seed, resamples=200)["interval"][
            "accuracy"
        ]
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 120 <= 0.99


def test_rows_of_a_document_are_drawn_together() -> None:
    # Four copies of every row hold no more evidence than one.
    truth, guess = guesses(100, 0.7, 1)
    once = block(truth, guess, range(100), seed=3)["interval"]["accuracy"]
    copies = np.repeat(truth, 4), np.repeat(guess, 4)
    together = block(*copies, np.repeat(np.arange(100), 4).tolist(), seed=3)
    apart = block(*copies, range(400), seed=3)["interval"]["accuracy"]
    assert together["interval"]["accuracy"] == pytest.approx(once)
    assert together["documents"] == 100
    assert (apart[1] - apart[0]) < 0.7 * (once[1] - once[0])


def test_the_same_seed_gives_the_same_interval() -> None:
    truth, guess = guesses(80, 0.7, 2)
    assert block(truth, guess, range(80), seed=5) == block(truth, guess, range(80), seed=5)
    assert block(truth, guess, range(80), seed=5) != block(truth, guess, range(80), seed=6)


def test_a_paired_difference_is_sharper_than_two_intervals() -> None:
    truth, guess = guesses(400, 0.8, 4)
    better = guess.copy()
    wrong = np.flatnonzero(guess != truth)[:20]
    better[wrong] = truth[wrong]
    found = difference(truth, better, guess, range(400), seed=1)["accuracy"]
    assert found["difference"] == pytest.approx(20 / 400)
    assert 0.02 < found["interval"][0] < 0.05 < found["interval"][1] < 0.08
    same = difference(truth, guess, guess, range(400), seed=1)["macro_f1"]
    assert same == {"difference": 0.0, "interval": [0.0, 0.0]}


def test_draws_of_two_models_are_the_same_documents() -> None:
    truth, guess = guesses(50, 0.6, 7)
    first, second = resampled(truth, [guess, guess], range(50), seed=1, resamples=40)
    assert (first == second).all()
    assert len({*first[:, 0].tolist()}) > 1


def test_no_rows_are_refused() -> None:
    empty = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="no rows"):
        block(empty, empty, [], seed=1)
