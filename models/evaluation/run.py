"""The whole evaluation: from a table and a model to `metrics.json`, report, pictures and card.

Rows are those that trained nothing: the test split where a set has one, else its validation split.
Temperatures are fitted on validation rows; where these are the very rows that are reported, each
row's temperature comes from other documents.
"""

import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from models.data.sets import CONTRAST, WRITTEN
from models.data.table import TABLE, TableRow, read_manifest, read_table
from models.evaluation import calibration
from models.evaluation.baselines import majority, word_guess, word_model
from models.evaluation.card import render as render_card
from models.evaluation.fairness import TEXTS, fairness
from models.evaluation.judged import CLASSES, Judged, figures, judge
from models.evaluation.metrics import block, difference
from models.evaluation.pictures import draw
from models.evaluation.report import render as render_report
from models.evaluation.robustness import robustness
from models.predict import CachedPredictor, open_model
from streams.core.entities import EntityIndex
from streams.core.errors import ConfigurationError

VERSION: Final = 1
"""Version of the fields of metrics.json."""
METRICS: Final = "metrics.json"
REPORT: Final = "report.md"
CARD: Final = "README.md"
CACHE: Final = "cache"

_OF_SET: Final = ("title", "attribution", "licence", "permissive", "use", "task")

Say = Callable[[str], None]
"""Told what is being done."""
Progress = Callable[[int], None]
"""Told how many texts were just scored."""


def evaluate(
    data: Path,
    model: str,
    out: Path,
    *,
    against: str | None = None,
    run: Path | None = None,
    seed: int = 1,
    swap_texts: int = TEXTS,
    say: Say = lambda _: None,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Evaluate a model and write `metrics.json`, `report.md`, `README.md` (card) and pictures.

    Predictions are kept in `cache/` of the folder, so a second call only adds what is new.

    Args:
        data: Folder of the table (`tickertone data prepare`).
        model: Run folder, version folder or address of a Triton.
        out: Where to write.
        against: Another model, to be compared on the same rows.
        run: Folder of the run that made the model, for the card; a run folder as `model` is its
            own.
        seed: Of the bootstrap and of the word model.
        swap_texts: On how many texts names are swapped.
        say: Told what is being done.
        progress: Told how many texts were just scored.

    Returns:
        What `metrics.json` holds.

    Raises:
        ConfigurationError: no table or no model there, a table without held-out rows, or a
            folder for the result that holds a model.
    """
    if any((out / name).exists() for name in ("model.onnx", "model.safetensors")):
        raise ConfigurationError(f"{out} holds a model: give the evaluation a folder of its own")
    manifest = read_manifest(data)
    rows = [row for row in read_table(data) if row.lang == "en"]
    held_out = [row for row in rows if row.split != "train"]
    if not held_out:
        raise ConfigurationError(f"{data / TABLE} holds no English validation or test rows")
    predictor = _open(model, out, progress)
    other = _open(against, out, progress) if against else None
    metrics: dict[str, Any] = {
        "version": VERSION,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "model": {
            "name": predictor.name,
            "sha256": predictor.checksum,
            "run": _made_of(run or Path(model)),
        },
        "against": {"name": other.name, "sha256": other.checksum} if other else None,
        "data": {
            "table_sha256": manifest["table_sha256"],
            "all_licences": manifest["all_licences"],
            "sets": {
                name: {key: one[key] for key in _OF_SET} for name, one in manifest["sets"].items()
            },
        },
        "sets": {},
        "channels": {},
        "calibration": {},
        "abstention": {},
    }
    for task in CLASSES:
        say(f"{task}: the model's answers")
        judged = judge(predictor, task, held_out)
        if not judged.rows:
            continue
        rival = judge(other, task, held_out) if other else None
        say(f"{task}: baselines and intervals")
        metrics["sets"] |= _sets(judged, rival, [r for r in rows if r.split == "train"], seed)
        inside = judged.where(_in_domain)
        for channel in sorted({row.channel for row in inside.rows}):
            name = f"{task}/{channel}"
            own = inside.of(channel=channel)
            metrics["channels"][name] = final(own).block(seed)
            outside = judged.of(permissive=False, channel=channel)
            found, calibrated = _calibrate(own, outside)
            metrics["calibration"][name] = found
            metrics["abstention"][name] = calibration.abstention(
                calibrated.probabilities, calibrated.truth
            )
        if task == "sentiment":
            say("robustness")
            contrast = metrics["sets"].get(CONTRAST.name, {})
            metrics["robustness"] = robustness(predictor, final(inside), contrast)
            metrics["fairness"] = fairness(
                predictor, EntityIndex.load(), final(inside).rows, texts=swap_texts, say=say
            )
    _write(out, metrics)
    return metrics


def final(judged: Judged) -> Judged:
    """Return the rows to report: of each set the test split where it has one, else validation."""
    tested = {row.source for row in judged.rows if row.split == "test"}
    return judged.where(lambda row: row.split == "test" or row.source not in tested)


def _sets(
    judged: Judged, rival: Judged | None, train: list[TableRow], seed: int
) -> dict[str, dict[str, Any]]:
    """Return the figures of each set, with those of the baselines on the same rows."""
    words = word_model(train, judged.task, seed)
    found: dict[str, dict[str, Any]] = {}
    for source in sorted({row.source for row in judged.rows}):
        of_set = judged.of(source=source)
        reported = final(of_set)
        truth, docs = reported.truth, reported.docs
        one = figures(reported, seed)
        one |= {
            "task": judged.task,
            "split": reported.rows[0].split,
            "channels": sorted({row.channel for row in reported.rows}),
            "permissive": reported.rows[0].permissive,
            "in_training": any(row.source == source for row in train),
            "baselines": {
                "majority": block(truth, majority(truth), docs, seed=seed),
                "words": block(truth, word_guess(words, reported.rows), docs, seed=seed),
            },
        }
        if len(reported.rows) < len(of_set.rows):
            one["validation"] = of_set.of(split="valid").block(seed)
        if rival:
            theirs = final(rival.of(source=source))
            one["against"] = figures(theirs, seed)
            one["better_by"] = difference(truth, reported.guess, theirs.guess, docs, seed=seed)
        found[source] = one
    return found


def _calibrate(own: Judged, outside: Judged) -> tuple[dict[str, Any], Judged]:
    """Return the calibration of a channel, and its reported rows with calibrated probabilities.

    Args:
        own: Validation and test rows of sets of the channel that train.
        outside: Rows of sets that never train, to which the same temperature is applied.
    """
    valid, test = own.of(split="valid"), own.of(split="test")
    temperature = calibration.fit_temperature(valid.probabilities, valid.truth)
    crossed = calibration.cross_fitted(valid.probabilities, valid.truth, valid.docs)
    both = Judged(own.task, valid.rows, crossed).joined(_at(test, temperature))
    before, after = final(valid.joined(test)), final(both)
    far = _at(outside, temperature)
    return {
        "temperature": temperature,
        "fitted_on": len(valid.rows),
        "before": calibration.summary(before.probabilities, before.truth),
        "after": calibration.summary(after.probabilities, after.truth),
        "sets": {**_per_set(before, after), **_per_set(outside, far)},
    }, after


def _at(judged: Judged, temperature: float) -> Judged:
    scaled = calibration.at_temperature(judged.probabilities, temperature)
    return Judged(judged.task, judged.rows, scaled)


def _per_set(before: Judged, after: Judged) -> dict[str, dict[str, Any]]:
    found = {}
    for source in sorted({row.source for row in before.rows}):
        was, now = before.of(source=source), after.of(source=source)
        found[source] = {
            "rows": len(was.rows),
            "before": calibration.ece(was.probabilities, was.truth),
            "after": calibration.ece(now.probabilities, now.truth),
        }
    return found


def _in_domain(row: TableRow) -> bool:
    """Return whether a row is real text of a set that trains."""
    return row.permissive and row.source not in WRITTEN


def _open(where: str, out: Path, progress: Progress) -> CachedPredictor:
    return CachedPredictor(open_model(where), out / CACHE, progress)


def _made_of(folder: Path) -> dict[str, Any] | None:
    """Return settings and data checksums of a run folder; None where it is none."""
    settings, data = folder / "config.toml", folder / "data.json"
    if not (settings.is_file() and data.is_file()):
        return None
    return {
        "config": tomllib.loads(settings.read_text(encoding="utf-8")),
        "data": json.loads(data.read_text(encoding="utf-8")),
    }


def _write(out: Path, metrics: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    (out / METRICS).write_text(text + "\n", encoding="utf-8")
    draw(metrics, out)
    (out / REPORT).write_text(render_report(metrics), encoding="utf-8")
    (out / CARD).write_text(render_card(metrics), encoding="utf-8")
