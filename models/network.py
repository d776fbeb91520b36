"""The network: one encoder, mean pooling, a sentiment head and a topic head.

A run folder holds it as `encoder.json` (the encoder's configuration), `model.safetensors` and
`tokenizer/`; `save_network` writes these and `load_network` reads them, without the base weights.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from models.encoders import encoder_folder
from streams.core.errors import ConfigurationError
from streams.core.labels import SENTIMENTS, TOPICS
from streams.core.text import OTHER, TARGET

MAX_TOKENS: Final = 128
"""Longer texts are cut, in training and in serving; under 0.1 % of the training texts are."""

WEIGHTS: Final = "model.safetensors"
ENCODER: Final = "encoder.json"
TOKENIZER: Final = "tokenizer"

_ROLE_WORDS: Final = {TARGET: "company", OTHER: "others"}
"""Words whose embeddings the role tokens start from. Where lower layers are frozen, the role tokens
keep them, so they must be something that those layers know."""


def load_tokenizer(folder: Path | None = None) -> PreTrainedTokenizerFast:
    """Return an encoder's tokenizer with the role tokens as tokens of their own.

    Args:
        folder: Of the encoder; without it MiniLM's.
    """
    tokenizer = cast(
        PreTrainedTokenizerFast,
        AutoTokenizer.from_pretrained(folder or encoder_folder("minilm")),
    )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [TARGET, OTHER]}, replace_extra_special_tokens=False
    )
    return tokenizer


class Opinion(nn.Module):
    """Token ids and mask, int64 [texts, tokens] → sentiment and topic logits, float32."""

    def __init__(self, encoder: PreTrainedModel, dropout: float = 0.1) -> None:
        """Put new heads on an encoder.

        Args:
            encoder: A transformers encoder without pooling layer.
            dropout: Share of the pooled features that training drops.
        """
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        size: int = encoder.config.hidden_size
        self.sentiment = nn.Linear(size, len(SENTIMENTS))
        self.topic = nn.Linear(size, len(TOPICS))
        self.steady: tuple[nn.Module, ...] = ()
        """parts that compute the same in training as in scoring: those that are not trained"""

    def train(self, mode: bool = True) -> "Opinion":
        """Switch dropout on or off, except in steady parts, where it is off."""
        super().train(mode)
        for part in self.steady:
            part.eval()
        return self

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return (sentiment logits [texts, 3], topic logits [texts, 20])."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        pooled = self.dropout(pooled)
        return self.sentiment(pooled), self.topic(pooled)


def new_network(
    name: str, *, dropout: float = 0.1, encoder_dropout: float = 0.1
) -> tuple[Opinion, PreTrainedTokenizerFast]:
    """Return a base encoder with new heads, and its tokenizer with the role tokens.

    Args:
        name: `minilm`, `mpnet` or the path of a folder (`models.encoders`).
        dropout: Before the heads.
        encoder_dropout: On the encoder's hidden states and attention weights.

    Raises:
        ConfigurationError: there is no such encoder.
    """
    folder = encoder_folder(name)
    tokenizer = load_tokenizer(folder)
    config = AutoConfig.from_pretrained(
        folder,
        attn_implementation="eager",
        hidden_dropout_prob=encoder_dropout,
        attention_probs_dropout_prob=encoder_dropout,
    )
    encoder = AutoModel.from_pretrained(
        folder, config=config, add_pooling_layer=False, dtype=torch.float32
    )
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    table = encoder.get_input_embeddings().weight
    with torch.no_grad():
        for role, word in _ROLE_WORDS.items():
            pieces = tokenizer(word, add_special_tokens=False).input_ids
            table[tokenizer.convert_tokens_to_ids(role)] = table[pieces].mean(0)
    return Opinion(encoder, dropout), tokenizer


def save_network(run: Path, network: Opinion, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write the network and its tokenizer into a run folder, whole or not at all."""
    network.encoder.config.to_json_file(run / ENCODER)
    tokenizer.save_pretrained(run / TOKENIZER)
    unfinished = run / f"{WEIGHTS}.new"
    save_file({name: part.contiguous() for name, part in network.state_dict().items()}, unfinished)
    unfinished.replace(run / WEIGHTS)


def load_network(run: Path) -> tuple[Opinion, PreTrainedTokenizerFast]:
    """Return the network of a run folder, ready to score, and its tokenizer.

    Raises:
        ConfigurationError: the folder holds no finished network.
    """
    missing = [name for name in (WEIGHTS, ENCODER, TOKENIZER) if not (run / name).exists()]
    if missing:
        raise ConfigurationError(
            f"{run} holds no trained network ({', '.join(missing)} missing): "
            f"tickertone models train RUN.toml --data TABLE --out {run}"
        )
    config = AutoConfig.from_pretrained(run / ENCODER, attn_implementation="eager")
    build: Callable[..., PreTrainedModel] = AutoModel.from_config
    network = Opinion(build(config, add_pooling_layer=False))
    network.load_state_dict(load_file(run / WEIGHTS))
    tokenizer = cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(run / TOKENIZER))
    return network.eval(), tokenizer
