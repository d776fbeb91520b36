"""What the commands `tickertone models export` and `import` do."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from models.data.table import read_manifest, read_table
from models.export.check import Labelled, Progress, Report, sample_texts
from models.export.versions import CALIBRATION_TEXTS, Checkpoint, Precision, write_version
from models.export.weights import opinion_network
from models.network import MAX_TOKENS, WEIGHTS, load_network
from models.predict import TorchPredictor, file_sha256


def export_run(
    run: Path,
    repository: Path,
    *,
    precision: Precision = "int8",
    data: Path | None = None,
    on_progress: Progress = lambda *_: None,
    on_report: Callable[[Report], None] = lambda _: None,
) -> Path:
    """Write the network of a run folder as the next version; return the version folder.

    Args:
        run: A run folder.
        repository: A Triton repository.
        precision: int8, float or half.
        data: A prepared table: its training texts calibrate, its validation texts are what the
            gates are tried on. Without it, texts made up for this project are both.
        on_progress: Called with what is done, how much of it, and of how much.
        on_report: Called with the gates' figures, also where they fail.

    Raises:
        ConfigurationError: no finished run, an encoder that can't be exported, or a gate that is
            not passed; nothing was written.
    """
    network, tokenizer = load_network(run)
    state = {name: part.float().numpy() for name, part in network.state_dict().items()}
    source: dict[str, Any] = {"run": run.resolve().name, "run_sha256": file_sha256(run / WEIGHTS)}
    if data is not None:
        source["table_sha256"] = read_manifest(data)["table_sha256"]
    checkpoint = Checkpoint(
        opinion_network(state, network.encoder.config),
        Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()),
        TorchPredictor(run),
        source,
        MAX_TOKENS,
    )
    return _write(checkpoint, repository, precision, data, on_progress, on_report)


def import_checkpoint(
    where: str,
    repository: Path,
    *,
    labels: Mapping[str, str] | None = None,
    precision: Precision = "int8",
    data: Path | None = None,
    on_progress: Progress = lambda *_: None,
    on_report: Callable[[Report], None] = lambda _: None,
) -> Path:
    """Write a Hugging Face classifier as the next version; return the version folder.

    The arguments are those of `export_run`, and of `models.export.hub.load_checkpoint`.

    Raises:
        ConfigurationError: as both say.
    """
    from models.export.hub import load_checkpoint

    checkpoint = load_checkpoint(where, labels)
    return _write(checkpoint, repository, precision, data, on_progress, on_report)


def _write(
    checkpoint: Checkpoint,
    repository: Path,
    precision: Precision,
    data: Path | None,
    on_progress: Progress,
    on_report: Callable[[Report], None],
) -> Path:
    rows, calibration = trial_texts(data)
    return write_version(
        checkpoint,
        repository,
        precision=precision,
        rows=rows,
        calibration=calibration,
        on_progress=on_progress,
        on_report=on_report,
    )


def trial_texts(data: Path | None) -> tuple[list[Labelled], list[str]]:
    """Return the texts that the gates are tried on, and other texts that calibrate."""
    if data is None:
        texts = sample_texts()
        return [Labelled(text) for text in texts[::2]], texts[1::2]
    rows: list[Labelled] = []
    calibration: list[str] = []
    for row in read_table(data):
        # Rows come in the order of their ids, which are hashes: the first are a random sample.
        if row.split == "valid":
            rows.append(Labelled(row.model_text(), row.task, row.label))
        elif row.split == "train" and len(calibration) < CALIBRATION_TEXTS:
            calibration.append(row.model_text())
    return rows, calibration
