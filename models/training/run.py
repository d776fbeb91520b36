"""One run: from a TOML file and a table to a folder with the trained network.

The folder holds `config.toml`, `data.json` (checksums), `model.safetensors` (moving average of the
best evaluation), `encoder.json`, `tokenizer/`, `log.jsonl`, `curves.png`, `metrics.json` and
`checkpoints/`.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from transformers import PreTrainedTokenizerFast

from models.data.table import checksum, read_manifest, read_table
from models.network import Opinion, new_network, save_network
from models.training.config import CONFIG, RunConfig, read_config
from models.training.curves import RunLog, draw, read_log
from models.training.examples import Example, Examples, examples
from models.training.modes import merged, prepare
from models.training.soft import SoftLabels
from models.training.trainer import OpinionTrainer, last_checkpoint
from models.training.tweets import tweets_with
from streams.core.errors import ConfigurationError

DATA: Final = "data.json"
METRICS: Final = "metrics.json"

_NOISE: Final[tuple[Callable[[], None], ...]] = (
    transformers.utils.logging.set_verbosity_error,
    transformers.utils.logging.disable_progress_bar,
)
"""Loading says which weights it does not need, as if that were a fault."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the data of a run lie."""

    table: Path
    """prepared folder"""
    soft: Path | None = None
    """the teacher's soft labels"""
    replay: Path | None = None
    """the file whose tweets the teacher labelled"""


def train(
    description: Path, inputs: Inputs, out: Path, *, resume: bool = False, say: Say = print
) -> dict[str, Any]:
    """Train as a TOML file says and return the figures of the best evaluation.

    Args:
        description: The TOML file.
        inputs: The data.
        out: Run folder; made.
        resume: Go on from the last checkpoint of the folder, or begin if there is none yet.
        say: Called with lines for people.

    Raises:
        ConfigurationError: settings or data are wrong, the folder has a run and `resume` is not
            given, or what is resumed was started with other settings or data.
    """
    config = read_config(description)
    _open(out, config, description, _checksums(inputs), resume)
    return train_in(out, config, inputs, resume=resume, say=say)


def train_in(
    run: Path, config: RunConfig, inputs: Inputs, *, resume: bool = False, say: Say = print
) -> dict[str, Any]:
    """Train in an existing folder, and return the figures of the best evaluation."""
    for hush in _NOISE:
        hush()
    transformers.set_seed(config.seed)
    options = config.optimiser
    network, tokenizer = new_network(
        config.encoder, dropout=options.dropout, encoder_dropout=options.encoder_dropout
    )
    prepare(network, config.mode)
    fit, valid = _sets(config, inputs, tokenizer)
    say(_summary(network, fit, valid))

    def keep_best(report: dict[str, Any]) -> None:
        save_network(run, merged(network), tokenizer)
        _write(run / METRICS, report)

    trainer = OpinionTrainer(config, run, network, fit, valid, tokenizer.pad_token_id, keep_best)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(RunLog(run, say))
    start = last_checkpoint(run) if resume else None
    if start:
        say(f"going on from {start.name}")
    trainer.train(resume_from_checkpoint=str(start) if start else None)
    draw(run)
    report: dict[str, Any] = json.loads((run / METRICS).read_text(encoding="utf-8"))
    log = read_log(run)
    report |= {"steps": trainer.state.global_step, "seconds": log[-1]["seconds"] if log else 0.0}
    _write(run / METRICS, report)
    return report


def _sets(
    config: RunConfig, inputs: Inputs, tokenizer: PreTrainedTokenizerFast
) -> tuple[Examples, Examples]:
    rows = list(read_table(inputs.table))
    fit = examples(rows, "train", config.data)
    valid = examples(rows, "valid", config.data)
    if not fit or not valid:
        raise ConfigurationError(
            f"{inputs.table} has {len(fit)} rows to train on and {len(valid)} to validate: "
            "prepare a table with both"
        )
    soft = _soft(config, inputs)
    if soft:
        fit += _unlabelled(soft, inputs.replay)
        told = sum(one.id in soft for one in fit)
        if told < len(fit):
            raise ConfigurationError(
                f"{inputs.soft} lacks {len(fit) - told} of {len(fit)} training texts: make it "
                "from this table with `tickertone models soften`"
            )
    # Sorted by length, so that validation needs little padding.
    valid.sort(key=lambda one: (len(one.text), one.id))
    return (
        Examples(fit, tokenizer, config, soft, config.augmentation),
        Examples(valid, tokenizer, config),
    )


def _soft(config: RunConfig, inputs: Inputs) -> SoftLabels | None:
    if config.distillation is None:
        if inputs.soft:
            raise ConfigurationError("--soft is given, but the run has no [distillation]")
        return None
    if inputs.soft is None:
        raise ConfigurationError(
            "the run has [distillation]: name the teacher's labels with --soft FILE "
            "(`tickertone models soften` makes them)"
        )
    return SoftLabels.load(inputs.soft)


def _unlabelled(soft: SoftLabels, replay: Path | None) -> list[Example]:
    ids = [name for name in soft.ids.tolist() if name.startswith("tweet/")]
    if not ids:
        return []
    if replay is None:
        raise ConfigurationError(
            f"the teacher has labelled {len(ids)} tweets: name their file with --replay FILE"
        )
    return tweets_with(ids, replay)


def _summary(network: Opinion, fit: Examples, valid: Examples) -> str:
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    every = sum(p.numel() for p in network.parameters())
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return (
        f"{len(fit)} training and {len(valid)} validation texts; "
        f"{trained / 1e6:.1f} of {every / 1e6:.1f} million weights are trained, on {device}"
    )


def _checksums(inputs: Inputs) -> dict[str, Any]:
    manifest = read_manifest(inputs.table)
    return {
        "table_sha256": manifest["table_sha256"],
        "may_be_given_away": manifest.get("may_be_given_away"),
        "sets": {
            name: {key: entry[key] for key in ("sha256", "licence") if key in entry}
            for name, entry in manifest["sets"].items()
        },
        "soft_sha256": checksum(inputs.soft) if inputs.soft and inputs.soft.is_file() else None,
        "replay_sha256": checksum(inputs.replay)
        if inputs.replay and inputs.replay.is_file()
        else None,
    }


def _open(
    out: Path, config: RunConfig, description: Path, data: dict[str, Any], resume: bool
) -> None:
    """Make the run folder, or check that it is of the same run."""
    if not (out / DATA).is_file():
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(description, out / CONFIG)
        _write(out / DATA, data)
        return
    if not resume:
        raise ConfigurationError(f"{out} holds a run: go on with --resume, or give another --out")
    if read_config(out / CONFIG) != config:
        raise ConfigurationError(
            f"{description} is not what {out} was started with ({out / CONFIG}): "
            "resume with that file, or give another --out"
        )
    started = json.loads((out / DATA).read_text(encoding="utf-8"))
    other = sorted(name for name in data if started.get(name) != data[name])
    if other:
        raise ConfigurationError(
            f"the data are not those that {out} was started with ({', '.join(other)}): "
            "resume with the same files, or give another --out"
        )


def _write(path: Path, content: dict[str, Any]) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
