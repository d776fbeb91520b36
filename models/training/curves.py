"""The log of a run: written as it goes, drawn as a picture."""

import json
import time
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

LOG: Final = "log.jsonl"
CURVES: Final = "curves.png"


class RunLog(TrainerCallback):
    """Appends to `log.jsonl`, draws `curves.png` and says how long the run will still take."""

    def __init__(self, run: Path, say: Any) -> None:
        """Log into a run folder.

        Args:
            run: The folder.
            say: Called with a line for people.
        """
        self._run, self._say = run, say
        self._spent = 0.0
        self._began, self._first = time.monotonic(), 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Drop what was logged after the checkpoint that the run goes on from."""
        kept = [entry for entry in read_log(self._run) if entry["step"] <= state.global_step]
        lines = "".join(json.dumps(entry) + "\n" for entry in kept)
        (self._run / LOG).write_text(lines, encoding="utf-8")
        self._spent = kept[-1]["seconds"] if kept else 0.0
        self._began, self._first = time.monotonic(), state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Write an entry: losses and rates of a stretch of steps, or the figures of validation."""
        given = logs or {}
        entry = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        if "eval_score" in given:
            entry |= {name: given[f"eval_{name}"] for name in ("score", "valid", "loss")}
            entry["valid_loss"] = entry.pop("loss")
        elif "loss" in given:
            entry |= {name: given[name] for name in ("loss", "grad_norm", "learning_rate")}
        else:
            return
        elapsed = time.monotonic() - self._began
        entry["seconds"] = round(self._spent + elapsed, 1)
        with (self._run / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
        pace = elapsed / max(1, state.global_step - self._first)
        self._say(_line(entry, state, pace))
        if "score" in entry:
            draw(self._run)


def _line(entry: dict[str, Any], state: TrainerState, pace: float) -> str:
    place = f"epoch {entry['epoch']:.2f}/{state.num_train_epochs} step {entry['step']}"
    if "score" in entry:
        figures = ", ".join(
            f"{name} {part['macro_f1']:.3f}" for name, part in entry["valid"].items()
        )
        return f"{place} macro F1: {figures}; score {entry['score']:.4f}"
    left = pace * (state.max_steps - state.global_step) / 60
    return (
        f"{place}/{state.max_steps} loss {entry['loss']:.4f} {pace:.2f} s/step, {left:.0f} min left"
    )


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the entries of a run's log; a line cut short by a stop is left out."""
    try:
        lines = (run / LOG).read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("}\n")]


def draw(run: Path) -> None:
    """Draw losses, validation figures and learning rate by step into `curves.png`."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    entries = read_log(run)
    steps = [entry for entry in entries if "learning_rate" in entry]
    checks = [entry for entry in entries if "score" in entry]
    figure, (losses, quality, rates) = plt.subplots(3, 1, figsize=(8, 10), sharex=True)
    losses.plot([e["step"] for e in steps], [e["loss"] for e in steps], label="training")
    at = [e["step"] for e in checks]
    losses.plot(at, [e["valid_loss"] for e in checks], "o-", label="validation")
    losses.set_ylabel("loss")
    losses.legend()
    for name in checks[-1]["valid"] if checks else ():
        quality.plot(at, [e["valid"][name]["macro_f1"] for e in checks], "o-", label=name)
    quality.set_ylabel("macro F1, validation")
    if checks:
        quality.legend()
    rates.plot([e["step"] for e in steps], [e["learning_rate"] for e in steps])
    rates.set_ylabel("learning rate (first group)")
    rates.set_xlabel("step")
    figure.tight_layout()
    figure.savefig(run / CURVES, dpi=100)
    plt.close(figure)
