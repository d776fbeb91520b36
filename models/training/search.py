"""A small hyper-parameter search (optuna), resumable: its journal lies in the search's folder."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from models.training.config import RunConfig, Vary, parse_config, read_config
from models.training.run import Inputs, train_in
from streams.core.errors import ConfigurationError

JOURNAL: Final = "journal.log"
RESULT: Final = "search.json"


def search(
    description: Path, inputs: Inputs, out: Path, *, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run the trials that are still missing, and return the best one's settings and score.

    Trials run one after the other, each in a folder of its own. A trial that was cut short is run
    anew with the same settings. The same seed suggests the same settings in an undisturbed search.

    Args:
        description: TOML file of a run with a `[search]`.
        inputs: The data.
        out: Folder of the search.
        say: Called with lines for people.

    Raises:
        ConfigurationError: the file has no search, or varies what is not there.
    """
    config = read_config(description)
    if config.search is None:
        raise ConfigurationError(f"{description} has no [search]: say trials and what to vary")
    for vary in config.search.vary:
        for value in (vary.low, vary.high, *vary.choices):
            if value is not None:
                varied(config, {vary.name: value})
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="search",
        storage=JournalStorage(JournalFileBackend(str(out / JOURNAL))),
        direction="maximize",
        load_if_exists=True,
    )
    # A search that goes on must not draw again what it drew at its start.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.get_trials()))
    for begun in study.get_trials(states=(TrialState.RUNNING,)):
        study.enqueue_trial(begun.params)
        study.tell(begun.number, state=TrialState.FAIL)
    while (done := len(study.get_trials(states=(TrialState.COMPLETE,)))) < config.search.trials:
        trial = study.ask()
        settings = {vary.name: _suggest(trial, vary) for vary in config.search.vary}
        say(f"trial {done + 1} of {config.search.trials}: {settings}")
        folder = out / f"trial-{trial.number:03}"
        folder.mkdir(exist_ok=True)
        report = train_in(folder, varied(config, settings), inputs, say=say)
        study.tell(trial, report["score"])
        _write(out, study)
    return _write(out, study)


def varied(config: RunConfig, settings: dict[str, float]) -> RunConfig:
    """Return the run with some settings changed and without its search.

    Args:
        config: The run.
        settings: Values by path, such as `{"optimiser.learning_rate": 1e-4}`.

    Raises:
        ConfigurationError: there is no such setting, or the value is not allowed.
    """
    changed = config.model_dump(exclude={"search"})
    for name, value in settings.items():
        *path, last = name.split(".")
        part: Any = changed
        for step in path:
            part = part.get(step) if isinstance(part, dict) else None
        if not isinstance(part, dict) or last not in part:
            raise ConfigurationError(f"search: there is no setting {name} in this run")
        whole = isinstance(part[last], int) and not isinstance(part[last], bool)
        part[last] = round(value) if whole else value
    return parse_config(changed, "search")


def _suggest(trial: optuna.Trial, vary: Vary) -> float:
    if vary.choices:
        return float(trial.suggest_categorical(vary.name, vary.choices))
    low, high = vary.low, vary.high
    return trial.suggest_float(
        vary.name,
        -math.inf if low is None else low,
        math.inf if high is None else high,
        log=vary.log,
    )


def _write(out: Path, study: optuna.Study) -> dict[str, Any]:
    trials = study.get_trials(states=(TrialState.COMPLETE,))
    result = {
        "best": {"score": study.best_value, "settings": study.best_params},
        "trials": [
            {"number": trial.number, "score": trial.value, "settings": trial.params}
            for trial in trials
        ],
    }
    (out / RESULT).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result
