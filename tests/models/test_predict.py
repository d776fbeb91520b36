import asyncio
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from models.evaluation.fairness import read_through
from models.network import Opinion, save_network
from models.predict import (
    CachedPredictor,
    OnnxPredictor,
    Probabilities,
    ServedPredictor,
    TorchPredictor,
    open_model,
)
from streams.core.entities import EntityIndex
from streams.core.errors import ConfigurationError
from streams.core.labels import TOPICS
from streams.embedded.process import free_ports
from streams.embedded.supervisor import Supervisor
from streams.embedded.triton import TritonPorts, shipped_repository, triton_spec

VERSION = shipped_repository() / "opinion" / "1"
SAMPLES = [
    "[T] beats estimates and raises its outlook",
    "[T] sinks after a profit warning",
    "[T] gains while [O] recalls thousands of units, a spokesman said on Monday",
    "$AAPL",
    "x " * 300,
]


class Counting:
    """Answers by the text's length, and counts what it is asked."""

    name = "counting"

    def __init__(self, checksum: str | None = "ab" * 32) -> None:
        self.checksum = checksum
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        self.asked += texts
        share = np.array([1 / (2 + len(text)) for text in texts], np.float32)
        sentiment = np.stack([share, 1 - 2 * share, share], axis=1)
        return sentiment, np.full((len(texts), len(TOPICS)), 0.05, np.float32)


def answers_add_up(found: Probabilities, texts: Sequence[str]) -> None:
    sentiment, topic = found
    assert sentiment.shape == (len(texts), 3)
    assert topic.shape == (len(texts), len(TOPICS))
    assert sentiment.dtype == topic.dtype == np.float32
    assert sentiment.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert topic.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.fixture(scope="module")
def version() -> OnnxPredictor:
    return OnnxPredictor(VERSION)


def test_a_version_folder_answers_in_the_order_of_the_texts(version: OnnxPredictor) -> None:
    found = version(SAMPLES)
    answers_add_up(found, SAMPLES)
    label = found[0].argmax(axis=1)
    assert label[0] == 2
    assert label[1] == 0
    turned = version(SAMPLES[::-1])
    assert (turned[0][::-1] == found[0]).all()
    assert version.name == "opinion/1"
    digest = hashlib.sha256((VERSION / "model.onnx").read_bytes()).hexdigest()
    assert version.checksum == digest


def test_more_texts_than_a_batch_of_triton_holds(version: OnnxPredictor) -> None:
    texts = [f"[T] rises {i}%" for i in range(300)]
    together = version(texts)
    answers_add_up(together, texts)
    assert (version(texts[37:38])[0] == together[0][37]).all()


def test_no_texts_no_answers(version: OnnxPredictor) -> None:
    answers_add_up(version([]), [])


@pytest.mark.parametrize("name", ["model.py", "tokenizer.json"])
def test_an_incomplete_version_is_refused(tmp_path: Path, name: str) -> None:
    shutil.copytree(VERSION.parent, tmp_path / "opinion")
    (tmp_path / "opinion" / "1" / name).unlink()
    with pytest.raises(ConfigurationError, match=name):
        open_model(str(tmp_path / "opinion" / "1"))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model in"):
        open_model(str(tmp_path))
    with pytest.raises(ConfigurationError, match="neither a folder nor an address"):
        open_model("opinion")


def tiny_run(folder: Path) -> Path:
    """Make a run folder with a random network of two small layers."""
    folder.mkdir()
    torch.manual_seed(1)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(VERSION / "tokenizer.json"), pad_token="[PAD]", model_max_length=512
    )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        attn_implementation="eager",
    )
    save_network(folder, Opinion(BertModel(config, add_pooling_layer=False)), tokenizer)
    return folder


def test_a_run_folder_answers_what_its_network_says_of_each_text_alone(tmp_path: Path) -> None:
    model = open_model(str(tiny_run(tmp_path / "run-7")))
    assert isinstance(model, TorchPredictor)
    assert model.name == "run-7"
    together = model(SAMPLES)
    answers_add_up(together, SAMPLES)
    for place, text in enumerate(SAMPLES):
        alone = model([text])
        assert alone[0][0] == pytest.approx(together[0][place], abs=1e-5)
        assert alone[1][0] == pytest.approx(together[1][place], abs=1e-5)
    assert len({row.tobytes() for row in together[0]}) == len(SAMPLES)


async def test_a_server_answers_what_the_version_folder_does(
    tmp_path: Path, version: OnnxPredictor
) -> None:
    ports = TritonPorts(*free_ports(3))
    spec = triton_spec(ports, run_dir=tmp_path, repository=shipped_repository())
    async with Supervisor(tmp_path, signals=False) as supervisor:
        await supervisor.add(spec).start_all()
        served = await asyncio.to_thread(open_model, f"127.0.0.1:{ports.grpc}")
        found = await asyncio.to_thread(served, SAMPLES)
        (opinion,) = await asyncio.to_thread(
            read_through, served, EntityIndex.load(), ["Microsoft beats estimates"]
        )
    assert isinstance(served, ServedPredictor)
    assert served.checksum is None
    assert served.name.startswith("opinion/")
    answers_add_up(found, SAMPLES)
    assert opinion is not None
    assert opinion.entities[0].sentiment.score > 0.5
    if served.name == version.name:
        assert found[0] == pytest.approx(version(SAMPLES)[0], abs=1e-6)


def test_a_silent_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no Triton"):
        open_model(f"127.0.0.1:{free_ports(1)[0]}")


def test_nothing_is_asked_twice_even_by_the_next_run(tmp_path: Path) -> None:
    model, told = Counting(), []
    cached = CachedPredictor(model, tmp_path, told.append)
    texts = ["bb", "a", "ccc", "a"]
    assert cached.missing(texts) == 3
    first = cached(texts)
    assert model.asked == ["a", "bb", "ccc"]  # by length, so that packs are full
    assert sum(told) == 3
    assert first[0][:, 0] == pytest.approx([1 / 4, 1 / 3, 1 / 5, 1 / 3])
    later = Counting()
    again = CachedPredictor(later, tmp_path, told.append)(texts)
    assert later.asked == []
    assert (again[0] == first[0]).all()
    assert (again[1] == first[1]).all()


def test_two_predictors_of_the_same_weights_lose_nothing_of_each_other(tmp_path: Path) -> None:
    first = CachedPredictor(Counting(), tmp_path, lambda _: None)
    second = CachedPredictor(Counting(), tmp_path, lambda _: None)
    first(["a"])
    second(["bb"])
    third = Counting()
    CachedPredictor(third, tmp_path, lambda _: None)(["a", "bb"])
    assert third.asked == []


def test_other_weights_know_nothing_of_it(tmp_path: Path) -> None:
    CachedPredictor(Counting(), tmp_path, lambda _: None)(["a"])
    other = Counting("cd" * 32)
    CachedPredictor(other, tmp_path, lambda _: None)(["a"])
    assert other.asked == ["a"]


def test_answers_of_a_server_are_not_kept_beyond_the_run(tmp_path: Path) -> None:
    CachedPredictor(Counting(None), tmp_path, lambda _: None)(["a"])
    assert list(tmp_path.iterdir()) == []
    again = Counting(None)
    CachedPredictor(again, tmp_path, lambda _: None)(["a"])
    assert again.asked == ["a"]
