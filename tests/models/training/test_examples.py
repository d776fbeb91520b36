"""Examples, their weights and their order."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.data.table import read_table
from models.network import load_tokenizer
from models.training.config import Augmentation, Data, RunConfig, parse_config
from models.training.examples import (
    IGNORED,
    Collate,
    Example,
    Examples,
    SimilarLengths,
    examples,
    loss_weights,
)
from models.training.soft import SoftLabels


def config(**extra: Any) -> RunConfig:
    optimiser = {"epochs": 1, "learning_rate": 1e-4, "head_learning_rate": 1e-3}
    return parse_config({"encoder": "minilm", "optimiser": optimiser, **extra}, "test")


def named(kind: Any, count: int) -> list[Example]:
    return [Example(f"{kind}/{n}", "oil gains", kind, 0, IGNORED, "own") for n in range(count)]


def test_targets_are_shown_as_role_tokens_and_texts_as_they_are(table: Path) -> None:
    given = examples(read_table(table), "train", Data())
    kinds = Counter(one.kind for one in given)
    assert kinds == {"target": 48, "text": 48, "topic": 48}
    for one in given:
        assert ("[T]" in one.text) == (one.kind == "target")
        assert (one.topic == IGNORED) == (one.kind != "topic")
        assert (one.sentiment == IGNORED) == (one.kind == "topic")


def test_plain_texts_are_those_documents_that_judge_all_alike(table: Path) -> None:
    rows = list(read_table(table))
    given = examples(rows, "train", Data(plain=1.0))
    plain = [one for one in given if one.id.endswith("/plain")]
    assert len(plain) == 48
    assert all(one.kind == "text" and "[T]" not in one.text for one in plain)
    assert not any(one.id.endswith("/plain") for one in examples(rows, "valid", Data(plain=1.0)))


def test_a_share_is_a_part_of_the_whole_and_the_same_every_time(table: Path) -> None:
    rows = list(read_table(table))
    every = {one.id for one in examples(rows, "train", Data(plain=0.5))}
    part = [one.id for one in examples(rows, "train", Data(plain=0.5, share=0.4))]
    assert set(part) < every
    assert 0.2 < len(part) / len(every) < 0.6
    assert part == [one.id for one in examples(rows, "train", Data(plain=0.5, share=0.4))]


def test_kinds_share_the_loss_as_the_mix_says_whatever_their_numbers() -> None:
    given = [*named("text", 10), *named("target", 40), *named("topic", 150)]
    weights = loss_weights(given, config(data={"mix": {"text": 1, "target": 2, "topic": 1}}))
    sums = [weights[:10].sum(), weights[10:50].sum(), weights[50:].sum()]
    assert np.allclose(sums, [50, 100, 50])


def test_a_kind_that_is_missing_leaves_its_share_to_the_others() -> None:
    given = [*named("text", 10), *named("topic", 30), *named("unlabelled", 5)]
    weights = loss_weights(given, config(distillation={"unlabelled": 0.5}))
    assert np.allclose([weights[:10].sum(), weights[10:40].sum()], [20, 20])
    assert np.allclose(weights[40:], 0.5)


def test_every_index_comes_once_and_batches_are_of_similar_length() -> None:
    rng = np.random.default_rng(3)
    lengths = rng.integers(3, 120, 1003).tolist()
    order = list(SimilarLengths(lengths, 16, 1))
    assert sorted(order) == list(range(1003))
    batches = [order[i : i + 16] for i in range(0, 1003, 16)]
    spread = [np.ptp([lengths[i] for i in batch]) for batch in batches[:-1]]
    assert np.mean(spread) < 5
    means = [np.mean([lengths[i] for i in batch]) for batch in batches]
    assert abs(np.corrcoef(means[:-1], range(len(means) - 1))[0, 1]) < 0.5


def test_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = list(range(200))
    one, same, other = (SimilarLengths(lengths, 8, seed) for seed in (1, 1, 2))
    assert list(one) == list(same) == list(one)
    assert list(one) != list(other)
    first = list(one)
    one.set_epoch(1)
    assert list(one) != first
    one.set_epoch(0)
    assert list(one) == first


def test_batches_are_padded_to_their_longest_text(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    given = [
        Example("a", "oil", "text", 2, IGNORED, "own"),
        Example("b", "[T] gains after strong results", "target", 0, IGNORED, "own"),
    ]
    items = Examples(given, tokenizer, config())
    batch = Collate(tokenizer.pad_token_id)([items[0], items[1]])
    assert batch["input_ids"].shape == (2, max(items.lengths()))
    assert batch["attention_mask"].sum(1).tolist() == items.lengths()
    assert (batch["input_ids"][0, items.lengths()[0] :] == tokenizer.pad_token_id).all()
    assert tokenizer.convert_tokens_to_ids("[T]") in batch["input_ids"][1].tolist()
    assert batch["sentiment"].tolist() == [2, 0]


def test_soft_labels_come_by_id_and_their_lack_is_marked(encoder: Path, tmp_path: Path) -> None:
    soft = SoftLabels(
        np.array(["b", "c"]),
        np.array([[1, 2, 3], [4, 5, 6]], np.float16),
        np.arange(40, dtype=np.float16).reshape(2, 20),
        "t",
        "d",
        "",
    )
    soft.save(tmp_path / "soft.npz")
    read = SoftLabels.load(tmp_path / "soft.npz")
    assert read.teacher == "t"
    assert "c" in read
    tokenizer = load_tokenizer(encoder)
    given = [Example(name, "oil", "text", 0, IGNORED, "own") for name in "abc"]
    items = Examples(given, tokenizer, config(distillation={}), read)
    batch = Collate(tokenizer.pad_token_id)([items[i] for i in range(3)])
    assert batch["soft"].tolist() == [False, True, True]
    assert batch["soft_sentiment"][1:].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert batch["soft_topic"][2, 0] == 20


def test_augmentation_differs_between_epochs_and_repeats_within_one(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    text = " ".join(["strong results after weak market"] * 4)
    given = [Example("a", text, "text", 0, IGNORED, "own")]
    items = Examples(given, tokenizer, config(), augmentation=Augmentation(typos=1.0))
    seen = []
    for epoch in range(4):
        items.set_epoch(epoch)
        assert items[0]["input_ids"] == items[0]["input_ids"]
        seen.append(tuple(items[0]["input_ids"]))
    assert len(set(seen)) > 1


def test_a_table_with_an_unknown_label_is_refused(table: Path) -> None:
    row = next(row for row in read_table(table) if row.task == "topic" and row.split == "train")
    with pytest.raises(ValueError, match="not in tuple"):
        examples(
            [type(row).from_json(row.to_json().replace(row.label, "Weather"))], "train", Data()
        )
