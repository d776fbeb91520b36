"""The command on a small table of sentences written for this, with the shipped version 1."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from models.data.sets import CONTRAST, SETS
from models.data.table import MANIFEST, VERSION, Split, TableRow, row_id, write_table
from models.evaluation.card import render as render_card
from models.evaluation.report import render as render_report
from models.evaluation.run import METRICS, REPORT, evaluate
from models.predict import OnnxPredictor
from streams.core.errors import ConfigurationError
from streams.core.labels import TOPICS
from streams.embedded.triton import shipped_repository

ONE = shipped_repository() / "opinion" / "1"
TONES = {
    "positive": ("beats estimates", "jumps to a record", "raises its dividend", "wins a contract"),
    "neutral": ("holds its annual meeting", "moves its office", "names an auditor", "will report"),
    "negative": ("misses estimates", "slumps on a loss", "cuts its dividend", "faces a probe"),
}


def row(
    source: str, number: int, text: str, label: str, split: Split, entity: str = ""
) -> TableRow:
    info = {**SETS, CONTRAST.name: CONTRAST}[source]
    start = text.find(entity)
    return TableRow(
        id=row_id(source, f"{number}", entity or None),
        source=source,
        licence=info.licence,
        permissive=info.permissive,
        channel=info.channel,
        lang="en",
        task=info.task,
        text=text,
        entity=entity or None,
        target=((start, start + len(entity)),) if entity else (),
        others=(),
        label=label,
        doc=f"{number}",
        group=f"{source}/{number}",
        split=split,
        agreement="all" if "phrasebank" in source else None,
    )


def make_table(folder: Path, *, held_out: bool = True) -> Path:
    splits: tuple[Split, ...] = ("train", "valid", "test") if held_out else ("train",)
    rows = []
    for at, (label, tone) in enumerate((k, t) for k, tones in TONES.items() for t in tones):
        for i, split in enumerate(splits):
            number = at * 10 + i
            company = f"Firm{number}"
            own: Split = "valid" if split == "test" else split
            rows += [
                row("en_entity_sentfin", number, f"{company} {tone}", label, split, company),
                row("en_sentiment_twitter", number, f"$ACME {tone} in item {number}", label, own),
                row("contrast", number, f"After all {company} {tone}", label, own, company),
                row(
                    "en_topic_twitter",
                    number,
                    f"$ACME {tone} after item {number}",
                    TOPICS[5] if label == "positive" else TOPICS[19],
                    own,
                ),
            ]
            if held_out:
                text = f"The company {tone} in year {number}"
                rows.append(row("en_sentiment_phrasebank", number, text, label, "test"))
    folder.mkdir(parents=True)
    digest = write_table(folder, rows)
    known = {**SETS, CONTRAST.name: CONTRAST}
    sets = {
        name: {
            "title": known[name].title,
            "attribution": known[name].attribution,
            "licence": known[name].licence,
            "permissive": known[name].permissive,
            "task": known[name].task,
            "use": "test",
        }
        for name in {r.source for r in rows}
    }
    manifest = {
        "version": VERSION, "table_sha256": digest, "all_licences": False, "sets": sets,
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table in `data` and its evaluation in `out`."""
    root = tmp_path_factory.mktemp("evaluation")
    make_table(root / "data")
    evaluate(root / "data", str(ONE), root / "out", against=str(ONE), swap_texts=6)
    return root


@pytest.fixture(scope="module")
def metrics(place: Path) -> dict:
    return json.loads((place / "out" / METRICS).read_text())


def test_every_set_is_judged_on_the_rows_that_trained_nothing(metrics: dict) -> None:
    sets = metrics["sets"]
    assert sets["en_entity_sentfin"]["split"] == "test"
    assert sets["en_entity_sentfin"]["rows"] == 12
    assert sets["en_entity_sentfin"]["validation"]["rows"] == 12
    assert sets["en_sentiment_twitter"]["split"] == "valid"
    assert sets["en_sentiment_twitter"]["rows"] == 24
    assert sets["en_topic_twitter"]["task"] == "topic"
    assert sets["en_sentiment_phrasebank"]["rows"] == 36
    assert not sets["en_sentiment_phrasebank"]["in_training"]
    assert sets["en_sentiment_phrasebank"]["by_agreement"]["all"]["rows"] == 36
    assert set(metrics["channels"]) == {"sentiment/news", "sentiment/social", "topic/social"}
    assert metrics["channels"]["sentiment/news"]["rows"] == 12  # no contrast pairs among them


def test_figures_are_those_of_the_model(metrics: dict) -> None:
    order = {"positive": 2, "neutral": 1, "negative": 0}
    truth = [order[label] for label, tones in TONES.items() for _ in tones]
    texts = [f"[T] {tone}" for tones in TONES.values() for tone in tones]
    guess = OnnxPredictor(ONE)(texts)[0].argmax(axis=1)
    found = metrics["sets"]["en_entity_sentfin"]
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    assert np.sum(found["confusion"]) == 12


def test_baselines_and_another_version_stand_on_the_same_rows(metrics: dict) -> None:
    found = metrics["sets"]["en_sentiment_twitter"]
    assert found["baselines"]["majority"]["accuracy"] == pytest.approx(1 / 3)
    assert found["baselines"]["words"]["rows"] == found["against"]["rows"] == 24
    # The same model on both sides: no difference at all.
    assert found["against"]["accuracy"] == found["accuracy"]
    assert found["better_by"]["accuracy"] == {"difference": 0.0, "interval": [0.0, 0.0]}


def test_every_channel_has_its_temperature_and_its_curve(metrics: dict) -> None:
    for name, one in metrics["calibration"].items():
        assert one["temperature"] > 0
        assert one["before"]["rows"] == one["after"]["rows"] == metrics["channels"][name]["rows"]
        assert metrics["abstention"][name]["rows"] == one["after"]["rows"]
    news = metrics["calibration"]["sentiment/news"]
    assert news["fitted_on"] == 12
    assert set(news["sets"]) == {"en_entity_sentfin", "en_sentiment_phrasebank"}


def test_names_and_edits_are_tried(metrics: dict) -> None:
    assert metrics["fairness"]["texts"] == metrics["fairness"]["texts_of_the_table"] == 6
    assert metrics["fairness"]["swaps"]["all"]["pairs"] == 6 * 60 * 59 / 2
    assert metrics["robustness"]["edits"]["typos"]["rows"] > 0
    assert metrics["robustness"]["contrast"]["rows"] == 24


def test_the_report_shows_its_pictures_and_no_text_of_the_table(place: Path, metrics: dict) -> None:
    report = (place / "out" / REPORT).read_text()
    pictures = {part.split(")")[0] for part in report.split("](")[1:]}
    assert pictures == {path.name for path in (place / "out").glob("*.png")}
    assert len(pictures) == len(metrics["sets"]) + len(metrics["calibration"]) + 2
    for name in pictures:
        assert (place / "out" / name).read_bytes().startswith(b"\x89PNG")
    for written in (report, (place / "out" / METRICS).read_text()):
        assert "slumps on a loss" not in written
        assert "Firm1" not in written


def test_every_line_of_a_table_has_its_columns(place: Path) -> None:
    report = (place / "out" / REPORT).read_text()
    assert "Company \\| Product News" in report
    for block in report.split("\n\n"):
        lines = [line.replace("\\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1, lines[:2]


def test_report_and_card_are_made_of_the_metrics_alone(place: Path, metrics: dict) -> None:
    assert render_report(metrics) == (place / "out" / REPORT).read_text()
    assert render_card(metrics) == (place / "out" / "README.md").read_text()


def test_a_second_evaluation_asks_the_model_nothing(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "out" / "cache", tmp_path / "cache")
    scored: list[int] = []
    again = evaluate(place / "data", str(ONE), tmp_path, swap_texts=6, progress=scored.append)
    assert scored == []
    assert again["against"] is None
    assert "against" not in again["sets"]["en_topic_twitter"]


def test_a_folder_that_holds_a_model_is_not_written_into(place: Path) -> None:
    with pytest.raises(ConfigurationError, match="a folder of its own"):
        evaluate(place / "data", str(ONE), ONE)


def test_a_table_without_held_out_rows_is_refused(tmp_path: Path) -> None:
    folder = make_table(tmp_path / "data", held_out=False)
    with pytest.raises(ConfigurationError, match="no English validation or test rows"):
        evaluate(folder, str(ONE), tmp_path / "out")
