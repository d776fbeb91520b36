"""From a teacher's run to its soft labels to a student's run."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data.table import checksum
from models.network import load_network
from models.training import soften as softening
from models.training.run import Inputs, train
from models.training.soft import SoftLabels
from models.training.soften import SOFT, soften
from streams.core.errors import ConfigurationError

Describe = Callable[..., Path]
TWEETS = (
    "Strong day for $AAPL after results",
    "shares of $TSLA sink, weak outlook",
    "the bank raises its dividend again",
)
STUDENT = "[distillation]\nhard = 0.5\n[data]\nplain = 0.5\n"


def quiet(line: str) -> None:
    """Take a line meant for people."""


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "tweets.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        for text in TWEETS:
            lines.write(json.dumps({"text": text, "tickers": [], "lang": "en"}) + "\n")
    return path


@pytest.fixture
def teacher(describe: Describe, table: Path, tmp_path: Path) -> Path:
    train(describe(epochs=2), Inputs(table), tmp_path / "teacher", say=quiet)
    return tmp_path / "teacher"


@torch.no_grad()
def test_soft_labels_are_the_teachers_and_teach_a_student(
    teacher: Path, table: Path, replay: Path, tmp_path: Path, describe: Describe
) -> None:
    out = tmp_path / "soft"
    soft = soften(teacher, table, out, replay=replay, tweets=10)
    assert soft.teacher == checksum(teacher / "model.safetensors")
    assert len(set(soft.ids.tolist())) == len(soft.ids) == 144 + 48 + len(TWEETS)
    assert soft.sentiment.dtype == soft.topic.dtype == np.float16
    network, tokenizer = load_network(teacher)
    inputs = tokenizer(["the bank raises its dividend again"], return_tensors="pt")
    sentiment, topic = network(inputs.input_ids, inputs.attention_mask)
    named = [
        place
        for place in range(len(soft.ids))
        if np.allclose(soft.sentiment[place], sentiment[0].numpy(), atol=2e-3)
        and np.allclose(soft.topic[place], topic[0].numpy(), atol=5e-3)
    ]
    assert named
    assert str(soft.ids[named[0]]).startswith("tweet/")
    text = (out / SOFT).read_bytes()
    assert b"dividend" not in text
    with torch.enable_grad():
        inputs_of = Inputs(table, out / SOFT, replay)
        report = train(describe(STUDENT, epochs=3), inputs_of, tmp_path / "student", say=quiet)
    assert report["valid"]["own_sentiment_target"]["accuracy"] > 0.9


def test_it_goes_on_where_it_stopped(
    teacher: Path,
    table: Path,
    replay: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(softening, "SHARD", 50)
    whole = soften(teacher, table, tmp_path / "whole", replay=replay, tweets=10)
    out = tmp_path / "cut"

    class Cut(Exception):
        pass

    def cut(what: str, done: int, total: int) -> None:
        if what == "labelling" and done == 100:
            raise Cut

    with pytest.raises(Cut):
        soften(teacher, table, out, replay=replay, tweets=10, on_progress=cut)
    written = {path.name: path.stat().st_mtime_ns for path in out.glob("shard-*")}
    assert len(written) == 2
    assert not (out / SOFT).exists()
    again = soften(teacher, table, out, replay=replay, tweets=10)
    for name, at in written.items():
        assert (out / name).stat().st_mtime_ns == at
    assert again.ids.tolist() == whole.ids.tolist()
    np.testing.assert_array_equal(again.sentiment, whole.sentiment)
    np.testing.assert_array_equal(again.topic, whole.topic)


def test_a_folder_of_other_labels_is_not_gone_on_with(
    teacher: Path, table: Path, replay: Path, tmp_path: Path
) -> None:
    soften(teacher, table, tmp_path / "soft", replay=replay, tweets=10)
    with pytest.raises(ConfigurationError, match=r"another replay, tweets"):
        soften(teacher, table, tmp_path / "soft")


def test_what_a_student_lacks_is_named(
    teacher: Path, table: Path, replay: Path, tmp_path: Path, describe: Describe
) -> None:
    soft = soften(teacher, table, tmp_path / "soft", replay=replay, tweets=10)
    student, path = describe(STUDENT), tmp_path / "soft" / SOFT
    with pytest.raises(ConfigurationError, match="--soft"):
        train(student, Inputs(table), tmp_path / "a", say=quiet)
    with pytest.raises(ConfigurationError, match="--replay"):
        train(student, Inputs(table, path), tmp_path / "b", say=quiet)
    with pytest.raises(ConfigurationError, match="distillation"):
        train(describe(), Inputs(table, path, replay), tmp_path / "c", say=quiet)
    with pytest.raises(ConfigurationError, match="no soft labels"):
        train(student, Inputs(table, tmp_path / "absent.npz", replay), tmp_path / "d", say=quiet)
    part = SoftLabels(
        soft.ids[5:], soft.sentiment[5:], soft.topic[5:], soft.teacher, soft.table, soft.replay
    )
    part.save(tmp_path / "part.npz")
    with pytest.raises(ConfigurationError, match="lacks"):
        train(student, Inputs(table, tmp_path / "part.npz", replay), tmp_path / "e", say=quiet)
