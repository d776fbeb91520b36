import numpy as np
import pytest

from models.evaluation.calibration import (
    abstention,
    at_temperature,
    cross_fitted,
    ece,
    fit_temperature,
    reliability,
    summary,
)


def honest(rows: int, seed: int, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, and labels drawn from them: calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (rows, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (p.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    return p, truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    p, truth = honest(10_000, 1, spread=1.0)
    too_sure = at_temperature(p, 1 / temperature)
    assert fit_temperature(too_sure, truth) == pytest.approx(temperature, rel=0.05)
    assert at_temperature(too_sure, temperature) == pytest.approx(p, abs=1e-6)


def test_a_temperature_changes_no_class() -> None:
    p, _ = honest(500, 2)
    for temperature in (0.3, 4.0):
        scaled = at_temperature(p, temperature)
        assert (scaled.argmax(axis=1) == p.argmax(axis=1)).all()
        assert scaled.sum(axis=1) == pytest.approx(1)


def test_calibration_error_counted_by_hand() -> None:
    # Ten texts at 0.6 of which seven are right, ten at 0.9 of which six are.
    p = np.array([[0.6, 0.4]] * 10 + [[0.9, 0.1]] * 10)
    truth = np.array([0] * 7 + [1] * 3 + [0] * 6 + [1] * 4)
    assert ece(p, truth, bins=2) == pytest.approx((0.1 + 0.3) / 2)
    assert ece(p, truth, bins=1) == pytest.approx(abs(0.75 - 0.65))
    assert [b["rows"] for b in reliability(p, truth, bins=2)] == [10, 10]


def test_a_perfect_and_a_hopeless_model() -> None:
    sure = np.eye(3)[np.array([0, 1, 2] * 10)]
    right = np.array([0, 1, 2] * 10)
    assert ece(sure, right) == 0
    assert ece(sure, (right + 1) % 3) == 1
    assert summary(sure, right)["brier"] == 0


def test_bins_hold_equally_many_rows() -> None:
    p, truth = honest(1000, 3)
    rows = [b["rows"] for b in reliability(p, truth)]
    assert len(rows) == 15
    assert sum(rows) == 1000
    assert max(rows) - min(rows) <= 1


def test_cross_fitting_mends_what_is_too_sure_about_as_well_as_fitting() -> None:
    p, truth = honest(4000, 4)
    too_sure = at_temperature(p, 0.4)
    crossed = cross_fitted(too_sure, truth, range(4000))
    assert ece(crossed, truth) < 0.025 < 0.08 < ece(too_sure, truth)


def test_a_row_never_helps_to_fit_its_own_temperature() -> None:
    p, truth = honest(300, 5)
    docs = [i // 3 for i in range(300)]
    before = cross_fitted(p, truth, docs)
    # Wrong labels for one document move the others' temperatures, not its own.
    changed = truth.copy()
    changed[:3] = (truth[:3] + 1) % 3
    after = cross_fitted(p, changed, docs)
    assert (after[:3] == before[:3]).all()
    assert (after[3:] != before[3:]).any()


def test_risk_falls_where_doubtful_texts_are_left_out() -> None:
    # Two of ten are wrong, and the model doubts just these.
    p = np.array([[0.9, 0.1]] * 8 + [[0.55, 0.45]] * 2)
    truth = np.array([0] * 8 + [1] * 2)
    curve = dict(abstention(p, truth)["curve"])
    assert curve[0.8] == 0
    assert curve[0.9] == pytest.approx(1 / 9)
    assert curve[1.0] == pytest.approx(0.2)
    assert abstention(p, truth)["area"] == pytest.approx((1 / 9 + 2 / 10) / 10)
