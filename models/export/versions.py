"""Version folders of a Triton repository: written whole, after the gates, or not at all."""

import importlib.resources
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import onnx
from tokenizers import Tokenizer

from models.export.check import Labelled, Progress, Report, check
from models.export.graph import build
from models.export.half import half
from models.export.int8 import quantise
from models.export.pbtxt import GPU, NAME, Serving, render
from models.export.weights import Network
from models.predict import OnnxPredictor, Predictor, file_sha256
from streams.core.errors import ConfigurationError
from streams.core.labels import SENTIMENTS, TOPICS

Precision = Literal["int8", "float", "half"]
REPORT: Final = "export.json"
CALIBRATION_TEXTS: Final = 256


@dataclass(frozen=True)
class Checkpoint:
    """What is exported."""

    network: Network
    tokenizer: Tokenizer
    reference: Predictor
    """the same checkpoint in float32, in the library that it was trained with"""
    source: dict[str, Any]
    """where it comes from, for the record"""
    max_tokens: int


def write_version(
    checkpoint: Checkpoint,
    repository: Path,
    *,
    precision: Precision,
    rows: Sequence[Labelled],
    calibration: Sequence[str],
    on_progress: Progress = lambda *_: None,
    on_report: Callable[[Report], None] = lambda _: None,
) -> Path:
    """Write the next version and `config.pbtxt`; return the version folder.

    Args:
        checkpoint: Weights, tokenizer and the reference.
        repository: The Triton repository; its model `opinion` gets the version.
        precision: int8 for CPUs, float for comparison, half for GPUs.
        rows: What the gates are tried on.
        calibration: Texts whose activations decide how weights are rounded; not those of `rows`.
        on_progress: Called with what is done, how much of it, and of how much.
        on_report: Called with the gates' figures, also where they fail.

    Raises:
        ConfigurationError: a gate is not passed; nothing was written.
    """
    serving = Serving(max_tokens=checkpoint.max_tokens)
    if precision == "half":
        serving = Serving(**{**vars(GPU), "max_tokens": checkpoint.max_tokens})
    version = next_version(repository)
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / NAME
        folder = model / version
        folder.mkdir(parents=True)
        checkpoint.tokenizer.save(str(folder / "tokenizer.json"))
        _write_graph(checkpoint, folder, precision, calibration, on_progress)
        source = importlib.resources.files("models.export").joinpath("model.py")
        (folder / "model.py").write_text(_served(source.read_text(encoding="utf-8")))
        labels = {"sentiments": SENTIMENTS, "topics": _topics(checkpoint.network)}
        (folder / "labels.json").write_text(json.dumps(labels, indent=1) + "\n")
        (model / "config.pbtxt").write_text(render(serving), encoding="utf-8")
        report = check(
            checkpoint.reference,
            OnnxPredictor(folder),
            rows,
            tasks=tuple(checkpoint.network.heads),
            on_progress=on_progress,
        )
        on_report(report)
        if failures := report.failures():
            raise ConfigurationError(
                f"the {precision} version is not good enough, nothing was written: "
                + "; ".join(failures)
            )
        record = {
            "precision": precision,
            **checkpoint.source,
            "model_sha256": file_sha256(folder / _weights(precision)),
            "gates": report.as_json(),
        }
        (folder / REPORT).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        target = repository / NAME
        target.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, target / f".{version}")
        (target / f".{version}").rename(target / version)
        shutil.copyfile(model / "config.pbtxt", target / "config.pbtxt")
    return target / version


def next_version(repository: Path) -> str:
    """Return the number after the largest version of the model in the repository."""
    folder = repository / NAME
    known = [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []
    return str(max(known, default=0) + 1)


def _write_graph(
    checkpoint: Checkpoint,
    folder: Path,
    precision: Precision,
    calibration: Sequence[str],
    on_progress: Progress,
) -> None:
    network = checkpoint.network
    if precision == "half":
        graph = half(network)
    elif precision == "float":
        graph = build(network)
    else:
        tokenizer = Tokenizer.from_str(checkpoint.tokenizer.to_str())
        tokenizer.no_padding()
        tokenizer.enable_truncation(checkpoint.max_tokens)
        chosen = list(calibration)[:CALIBRATION_TEXTS]
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(chosen)]
        graph = build(*quantise(network, ids, on_progress))
    onnx.save(graph, str(folder / _weights(precision)))


def _weights(precision: Precision) -> str:
    return "model.fp16.onnx" if precision == "half" else "model.onnx"


def _topics(network: Network) -> tuple[str, ...]:
    return TOPICS if "topic" in network.heads else ()


def _served(source: str) -> str:
    """Return model.py without the comment that only our type checks need."""
    return source.replace("  # type: ignore[import-not-found]", "")
