import numpy as np
import pytest
from scipy import stats

from models.evaluation.bias import Readings, bias, holm, name_bias, swaps


def readings(score: list[list[float]], label: list[list[int]]) -> Readings:
    shape = np.array(score).shape
    return Readings(np.array(score), np.array(label), np.zeros(shape, np.bool_))


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; the last may not fall below the third.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_flips_and_differences_are_counted_over_pairs_of_names() -> None:
    found = swaps(
        readings([[0.0, 0.1, 0.5], [0.2, 0.2, 0.2]], [[1, 1, 2], [1, 1, 1]]),
        np.ones((2, 3), np.bool_),
    )
    assert found["pairs"] == 6
    assert found["flips"] == pytest.approx(2 / 6)
    assert found["any_flip"] == 0.5
    assert found["difference"] == pytest.approx((0.1 + 0.5 + 0.4) / 6)
    assert found["spread"] == pytest.approx(np.std([0.0, 0.1, 0.5]) / 2)


def test_cells_that_were_not_chosen_or_not_scored_do_not_count() -> None:
    chosen = np.array([[True, True, False], [True, True, True]])
    found = swaps(readings([[0.0, 0.1, 0.9], [0.2, np.nan, 0.2]], [[1, 1, 2], [1, -1, 1]]), chosen)
    assert found["pairs"] == 2
    assert found["flips"] == 0
    assert swaps(readings([[0.1, 0.2]], [[1, 1]]), np.zeros((1, 2), np.bool_))["flips"] is None


def test_a_shifted_name_is_found_and_chance_is_not() -> None:
    rng = np.random.default_rng(1)
    score = rng.normal(0, 0.1, (200, 20))
    score[:, 7] += 0.05
    names = [f"name {i}" for i in range(20)]
    found = name_bias(
        Readings(score, np.zeros_like(score, np.int64), np.zeros_like(score, np.bool_)),
        names,
        np.ones(20, np.bool_),
    )
    significant = [name for name, one in found.items() if one["p_holm"] < 0.05]
    assert significant == ["name 7"]
    low, high = found["name 7"]["interval"]
    assert 0 < low < 0.05 < high


def test_the_test_is_students() -> None:
    values = np.array([0.1, 0.3, -0.05, 0.2, 0.15])
    found = bias({"a": values, "b": -values})
    assert found["a"]["p"] == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert found["a"]["p_holm"] == pytest.approx(2 * found["a"]["p"])
    # Two intervals that hold at once with 95 %: each with 97.5 %.
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.975)
    assert found["a"]["interval"] == pytest.approx([interval.low, interval.high])


def test_equal_scores_are_no_bias_and_a_constant_shift_is_a_sure_one() -> None:
    found = bias({"equal": np.zeros(10), "shifted": np.full(10, 0.25)})
    assert found["equal"]["p"] == 1
    assert found["shifted"]["p"] == 0


def test_the_rounding_of_sums_is_no_bias() -> None:
    # As of linked names: each text has one score, the mean of many of it is not always the same.
    score = np.repeat(np.random.default_rng(3).uniform(-1, 1, (50, 1)), 41, axis=1).round(6)
    shape = score.shape
    found = name_bias(
        Readings(score, np.zeros(shape, np.int64), np.ones(shape, np.bool_)),
        [str(i) for i in range(41)],
        np.ones(41, np.bool_),
    )
    assert {one["bias"] for one in found.values()} == {0.0}
    assert {one["p_holm"] for one in found.values()} == {1.0}
