"""Small random encoders of every kind that can be exported, with a tokenizer of a few words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from models.network import Opinion, save_network

_VOCABULARY = """
[PAD] [UNK] [CLS] [SEP] company others apple nokia shares gains sinks after the profit loss warning
beats estimates and a record not % 12 . , ! [ ] t o bank stock to moon
"""
WORDS = _VOCABULARY.split()
SIZES = {"vocab_size": len(WORDS) + 2, "pad_token_id": 0}


@pytest.fixture(scope="session")
def tokenizer() -> transformers.PreTrainedTokenizerFast:
    core = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip


def bert(**changes: Any) -> transformers.BertConfig:
    settings = {
        **SIZES, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 160, "initializer_range": 0.25,
    }  # fmt: skip
    return transformers.BertConfig(**{**settings, **changes})


def distilbert(**changes: Any) -> transformers.DistilBertConfig:
    settings = {
        **SIZES, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64,
        "max_position_embeddings": 160, "initializer_range": 0.25,
    }  # fmt: skip
    return transformers.DistilBertConfig(**{**settings, **changes})


def roberta(**changes: Any) -> transformers.RobertaConfig:
    return transformers.RobertaConfig(**{**bert().to_dict(), "type_vocab_size": 1, **changes})


CONFIGS = {"bert": bert, "distilbert": distilbert, "roberta": roberta}


@pytest.fixture
def classifier_folder(
    tmp_path: Path, tokenizer: transformers.PreTrainedTokenizerFast
) -> Callable[..., Path]:
    """Return a function that saves a random classifier: kind and label names → its folder."""

    def make(kind: str, labels: tuple[str, ...]) -> Path:
        torch.manual_seed(3)
        config = CONFIGS[kind](
            id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)}
        )
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
        folder = tmp_path / f"{kind}-checkpoint"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def run_folder(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: transformers.PreTrainedTokenizerFast
) -> Path:
    """A run folder with a random network."""
    torch.manual_seed(5)
    network = Opinion(transformers.BertModel(bert(), add_pooling_layer=False)).eval()
    folder = tmp_path_factory.mktemp("run")
    save_network(folder, network, tokenizer)
    return folder
