"""The hyper-parameter search."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.training import search as searching
from models.training.config import read_config
from models.training.run import Inputs
from models.training.search import search, varied
from streams.core.errors import ConfigurationError

Describe = Callable[..., Path]
SEARCH = """[search]
trials = 3
[[search.vary]]
name = "optimiser.learning_rate"
low = 1e-5
high = 1e-2
log = true
[[search.vary]]
name = "optimiser.batch"
choices = [12, 24]
"""


def quiet(line: str) -> None:
    """Take a line meant for people."""


def test_a_search_that_was_cut_short_goes_on_to_its_last_trial(
    describe: Describe, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[float, int]] = []

    class Cut(Exception):
        pass

    def trained(run: Path, config: Any, *_: Any, **__: Any) -> dict[str, float]:
        tried.append((config.optimiser.learning_rate, config.optimiser.batch))
        if len(tried) == 2:
            raise Cut
        return {"score": config.optimiser.learning_rate}

    monkeypatch.setattr(searching, "train_in", trained)
    description, out = describe(SEARCH), tmp_path / "search"
    with pytest.raises(Cut):
        search(description, Inputs(table), out, say=quiet)
    result = search(description, Inputs(table), out, say=quiet)
    assert len(tried) == 4
    assert tried[2] == tried[1]  # the trial that was cut short, anew
    finished = [tried[0], *tried[2:]]
    assert len(result["trials"]) == 3
    assert result["best"]["score"] == max(rate for rate, _ in finished)
    assert all(1e-5 <= rate <= 1e-2 and batch in (12, 24) for rate, batch in finished)
    assert json.loads((out / "search.json").read_text()) == result
    search(description, Inputs(table), out, say=quiet)
    assert len(tried) == 4


def test_a_trial_is_a_run(describe: Describe, table: Path, tmp_path: Path) -> None:
    text = SEARCH.replace("trials = 3", "trials = 1")
    result = search(describe(text), Inputs(table), tmp_path / "search", say=quiet)
    metrics = json.loads((tmp_path / "search" / "trial-000" / "metrics.json").read_text())
    assert metrics["score"] == result["best"]["score"]


def test_settings_that_are_not_there_or_not_allowed_are_refused(
    describe: Describe, table: Path, tmp_path: Path
) -> None:
    config = read_config(describe(SEARCH))
    assert varied(config, {"data.mix.topic": 0.5}).data.mix.topic == 0.5
    assert varied(config, {"optimiser.batch": 24.0}).optimiser.batch == 24
    for name in ("optimiser.rate", "optimizer.batch", "optimiser"):
        with pytest.raises(ConfigurationError, match=r"no setting|search:"):
            varied(config, {name: 1.0})
    with pytest.raises(ConfigurationError, match=r"optimiser\.layer_decay"):
        varied(config, {"optimiser.layer_decay": 3.0})
    with pytest.raises(ConfigurationError, match=r"no \[search"):
        search(describe(), Inputs(table), tmp_path / "search", say=quiet)
