"""A tiny random encoder and a small table of sentences written for these tests."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from models.data.table import MANIFEST, VERSION, TableRow, row_id, write_table
from streams.core.text import occurrences

WORDS = (
    "company others shares of the a rise fall jump sink after strong weak results merger talks oil "
    "gains loses flat market rates bank north harbour lime motors cuts dividend raises outlook"
)
SENTENCES = {
    "positive": "shares of {a} jump after strong results",
    "negative": "shares of {a} sink after weak results",
    "neutral": "the market of {a} flat",
}
NAMES = ("north harbour", "lime motors")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*"abcdefghijklmnopqrstuvwxyz$#"]
    pieces = [*special, *dict.fromkeys([*letters, *(f"##{c}" for c in letters), *WORDS.split()])]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokens = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokens.normalizer, tokens.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    tokens.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(7)
    BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        ),
        add_pooling_layer=False,
    ).save_pretrained(folder)
    return folder


def row(number: int, task: str, text: str, entity: str | None, label: str, split: str) -> TableRow:
    source = f"own_{task}_{'target' if entity else 'text'}"
    return TableRow(
        id=row_id(source, str(number), entity),
        source=source,
        licence="Apache-2.0",
        permissive=True,
        channel="news",
        lang="en",
        task=task,  # type: ignore[arg-type]
        text=text,
        entity=entity,
        target=tuple(occurrences(text, entity)) if entity else (),
        others=(),
        label=label,
        doc=str(number),
        group=str(number),
        split=split,  # type: ignore[arg-type]
    )


def sentences() -> list[TableRow]:
    rows: list[TableRow] = []
    for number in range(60):
        split = "valid" if number % 5 == 0 else "train"
        label = list(SENTENCES)[number % 3]
        name = NAMES[number % 2]
        text = SENTENCES[label].format(a=name) + " oil" * (number // 6)
        rows.append(row(number, "sentiment", text, name, label, split))
        rows.append(row(100 + number, "sentiment", text + " after", None, label, split))
        topic = ("Dividend", "Earnings", "Energy | Oil")[number % 3]
        said = ("cuts dividend", "strong results", "oil gains")[number % 3]
        rows.append(row(200 + number, "topic", said + " bank" * (number // 6), None, topic, split))
    return sorted(rows, key=lambda one: one.id)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("table"), sentences())


def write(folder: Path, rows: list[TableRow]) -> Path:
    digest = write_table(folder, rows)
    manifest = {"version": VERSION, "table_sha256": digest, "sets": {}, "may_be_given_away": True}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def describe(tmp_path: Path, encoder: Path) -> Callable[..., Path]:
    """Return a function that writes a run's TOML file, as lines to add to the smallest one."""

    def described(extra: str = "", optimiser: str = "", epochs: float = 1) -> Path:
        text = f"""
encoder = "{encoder}"
precision = "fp32"
log_steps = 1
checkpoint_steps = 4
{extra.split("[", 1)[0] if not extra.startswith("[") else ""}
[optimiser]
epochs = {epochs}
batch = 12
learning_rate = 1e-3
head_learning_rate = 1e-2
{optimiser}
{extra[extra.index("[") :] if "[" in extra else ""}
"""
        path = tmp_path / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}.toml"
        path.write_text(text)
        return path

    return described


@pytest.fixture
def lines() -> tuple[list[str], Callable[[str], Any]]:
    said: list[str] = []
    return said, said.append
