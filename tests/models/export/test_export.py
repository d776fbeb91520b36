"""From a run or a checkpoint to a version that the real Triton serves, through the gates."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from typer.testing import CliRunner

from models.cli import app
from models.export import check as gates
from models.export.check import Labelled, check, invariance, sample_texts
from models.export.hub import label_columns, load_checkpoint, parse_labels
from models.export.runs import export_run, import_checkpoint
from models.export.versions import next_version
from models.predict import OnnxPredictor, Probabilities
from streams.adapters.triton import TritonClassifier
from streams.core.errors import ConfigurationError
from streams.core.labels import SENTIMENTS, TOPICS
from streams.ports import Prediction
from streams.settings import TritonSettings
from tests.support.triton import ModelServer

TEXTS = ["Apple beats estimates", "Nokia sinks 12% after profit warning", "[T] gains, [O] not", ""]
LABELS = ("Bullish", "LABEL_1", "bearish")
MEANT = {"LABEL_1": "neutral"}


def test_a_run_becomes_the_next_version(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "opinion" / "4").mkdir(parents=True)
    folder = export_run(run_folder, tmp_path, precision="float")
    assert folder == tmp_path / "opinion" / "5"
    record = json.loads((folder / "export.json").read_text())
    assert record["gates"]["batch_score"] == 0
    assert record["gates"]["agreement"].keys() == {"sentiment", "topic"}
    sentiment, topic = OnnxPredictor(folder)(TEXTS)
    assert (sentiment.shape, topic.shape) == ((4, 3), (4, 20))
    assert "type: ignore" not in (folder / "model.py").read_text()


@pytest.mark.parametrize("limit", ["AGREEMENT_LIMIT", "BATCH_LIMIT", "PROBABILITY_LIMIT"])
def test_nothing_is_written_when_a_gate_fails(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(gates, limit, 1.1 if limit == "AGREEMENT_LIMIT" else -1.0)
    with pytest.raises(ConfigurationError, match="nothing was written"):
        export_run(run_folder, tmp_path, precision="float")
    assert list(tmp_path.iterdir()) == []
    assert next_version(tmp_path) == "1"


@pytest.fixture
def checkpoint(classifier_folder: Callable[..., Path]) -> Path:
    return classifier_folder("bert", LABELS)


def test_an_imported_checkpoint_is_served_by_triton(checkpoint: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    arguments = ["models", "import", str(checkpoint), "--task", "sentiment"]
    arguments += ["--out", str(repository), "--labels", "LABEL_1=neutral", "--precision", "float"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    plain = TEXTS[:2]
    with torch.no_grad():
        logits = model(**tokenizer(plain, padding=True, return_tensors="pt")).logits
    theirs = logits.softmax(-1).numpy()[:, [2, 1, 0]]

    async def ask(url: str) -> list[object]:
        async with TritonClassifier(TritonSettings(deadline_s=60), url) as triton:
            return [*await triton.classify(TEXTS)]

    with ModelServer(tmp_path / "server", repository) as server:
        answers = asyncio.run(ask(server.url))
    assert all(isinstance(answer, Prediction) for answer in answers)
    ours = np.array([answer.sentiment for answer in answers[:2]]) / 1e6
    np.testing.assert_allclose(ours, theirs, atol=5e-3)
    assert {answer.topic for answer in answers} == {(50_000,) * len(TOPICS)}


def test_role_tokens_are_read_as_the_words_for_them(checkpoint: Path) -> None:
    reference = load_checkpoint(str(checkpoint), MEANT).reference
    marked, _ = reference(["[T] gains, [O] sinks"])
    named, _ = reference(["company gains, others sinks"])
    np.testing.assert_allclose(marked, named, atol=1e-5)


def test_unknown_labels_are_shown_with_what_to_type(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        import_checkpoint(str(checkpoint), tmp_path)
    assert "Bullish, LABEL_1, bearish" in str(error.value)
    assert '--labels "Bullish=negative,LABEL_1=neutral' in str(error.value)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="no sequence classifier can be loaded"):
        load_checkpoint(str(tmp_path / "empty"))


def test_label_names_in_any_order_and_without_neutral() -> None:
    assert label_columns(["POS", "neg", "Neutral"], {}) == [2, 0, 1]
    assert label_columns(["bearish", "bullish"], {}) == [0, 2]
    assert label_columns(["a", "b"], {"A": "positive", "b": "negative"}) == [2, 0]


@pytest.mark.parametrize(
    ("names", "given"),
    [(["positive", "bullish", "negative"], {}), (["neutral", "positive"], {}), (["x"], {})],
)
def test_labels_that_do_not_make_a_sentiment_are_refused(
    names: list[str], given: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError):
        label_columns(names, given)


def test_a_class_that_the_model_lacks_is_never_given(
    classifier_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = classifier_folder("distilbert", ("NEGATIVE", "POSITIVE"))
    version = import_checkpoint(str(folder), tmp_path / "repository", precision="float")
    sentiment, _ = OnnxPredictor(version)(TEXTS)
    assert (sentiment[:, 1] == 0).all()
    assert np.ptp(sentiment[:, 0]) > 0


def test_labels_on_the_command_line() -> None:
    assert parse_labels(" a = negative, b=c=positive,") == {"a": "negative", "b=c": "positive"}
    for wrong in ("a", "a=sad", "=neutral"):
        with pytest.raises(ConfigurationError, match="--labels"):
            parse_labels(wrong)


class _Answers:
    """Positive if a text has an even number of characters; `moves` with the size of the batch."""

    def __init__(self, moves: float = 0.0, turned: int = 0) -> None:
        self.moves, self.turned = moves, turned

    def __call__(self, texts: list[str]) -> Probabilities:
        high = [0.8 if (len(t) - self.turned) % 2 == 0 else 0.2 for t in texts]
        high = [h - self.moves * len(texts) for h in high]
        sentiment = np.array([[1 - h, 0, h] for h in high], np.float32)
        return sentiment, np.full((len(texts), len(TOPICS)), 1 / len(TOPICS), np.float32)


def test_the_gates_see_what_they_are_for() -> None:
    rows = [Labelled("x" * n, "sentiment", SENTIMENTS[2 - 2 * (n % 2)]) for n in range(1, 90)]
    good = check(_Answers(), _Answers(), rows)
    assert good.failures() == []
    assert good.f1["sentiment"] == (1.0, 1.0)
    wrong = check(_Answers(), _Answers(turned=1), rows)
    assert len(wrong.failures()) == 3
    assert wrong.agreement["sentiment"] == 0
    apart, texts = invariance(_Answers(moves=1e-4), [row.text for row in rows], 50)
    assert texts == 50
    assert apart > 0.002


def test_the_sample_texts_are_many_and_always_the_same() -> None:
    assert len(set(sample_texts())) == 400
    assert sample_texts() == sample_texts()
