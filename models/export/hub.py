"""Hugging Face sequence classifiers as versions of the model `opinion`.

Served the same way and through the same gates as our own: one of BERT's family, with the labels
mapped to negative, neutral and positive. What it has no head for is answered evenly: all topics
alike, from which the service makes no vote about a topic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from models.export.versions import Checkpoint
from models.export.weights import Head, Linear, Network, classifier_network
from models.network import MAX_TOKENS
from models.predict import Probabilities
from streams.core.errors import ConfigurationError
from streams.core.labels import SENTIMENTS, TOPICS
from streams.core.text import OTHER, TARGET

SYNONYMS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("negative", "neg", "bearish", "bad", "down", "sell"), "negative"),
    **dict.fromkeys(("neutral", "neu", "none", "mixed", "hold"), "neutral"),
    **dict.fromkeys(("positive", "pos", "bullish", "good", "up", "buy"), "positive"),
}
"""Label names that need no --labels, in lower case."""

_ROLE_WORDS: Final = {TARGET: "company", OTHER: "others"}
"""Such a model was never shown role tokens, so they mean what these words mean to it."""
_NEVER: Final = -1e4
"""Logit of a class that the model doesn't have: its probability is exactly zero."""


def load_checkpoint(
    where: str, labels: Mapping[str, str] | None = None, *, max_tokens: int = MAX_TOKENS
) -> Checkpoint:
    """Load a classifier from a folder or, where the machine may, from the Hugging Face hub.

    Args:
        where: Folder or hub id.
        labels: Sentiment by label name, for names that are not in `SYNONYMS`.
        max_tokens: Longer texts are cut.

    Raises:
        ConfigurationError: there is no such model, it is not of a type that can be exported, its
            labels are not understood, or its tokenizer has no fast form.
    """
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            where, attn_implementation="eager", dtype=torch.float32
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"no sequence classifier can be loaded from {where}: {_first_line(error)}"
        ) from error
    names = [str(model.config.id2label[i]) for i in range(model.config.num_labels)]
    columns = label_columns(names, labels or {})
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigurationError(f"the tokenizer of {where} has no fast form (tokenizer.json)")
    _teach_roles(model, tokenizer)
    state = {name: part.float().numpy() for name, part in model.state_dict().items()}
    network = _in_our_order(classifier_network(state, model.config), columns)
    most = min(max_tokens, network.places.shape[0])
    return Checkpoint(
        network,
        Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()),
        _Reference(model, tokenizer, columns, most),
        {"imported": Path(where).name, "labels": dict(zip(names, _named(columns), strict=True))},
        most,
    )


def label_columns(names: Sequence[str], given: Mapping[str, str]) -> list[int]:
    """Return the index in `SENTIMENTS` of each of the model's classes.

    Args:
        names: The model's label names in its order.
        given: Sentiment by label name; overrides the known synonyms.

    Raises:
        ConfigurationError: a name is not understood, two mean the same, or negative or positive
            is missing.
    """
    known = {**SYNONYMS, **{name.lower(): sentiment for name, sentiment in given.items()}}
    meant = [known.get(name.lower(), "") for name in names]
    example = ",".join(
        f"{name}={sentiment}" for name, sentiment in zip(names, SENTIMENTS, strict=False)
    )
    if any(sentiment not in SENTIMENTS for sentiment in meant):
        raise ConfigurationError(
            f"the model's labels are {', '.join(names)}; say what each means, such as "
            f'--labels "{example}"'
        )
    if len(set(meant)) != len(meant) or not {"negative", "positive"} <= set(meant):
        raise ConfigurationError(
            f"the model's labels {', '.join(names)} mean {', '.join(meant)}: one must be negative, "
            "one positive, at most one neutral"
        )
    return [SENTIMENTS.index(sentiment) for sentiment in meant]


def parse_labels(text: str) -> dict[str, str]:
    """Return what `--labels` says: `LABEL_0=negative,LABEL_1=neutral`.

    Raises:
        ConfigurationError: it is not of that form, or names no sentiment.
    """
    result = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, sentiment = (part.strip() for part in pair.rpartition("="))
        if not name or sentiment not in SENTIMENTS:
            raise ConfigurationError(
                f"--labels: {pair!r} is not <label of the model>=<{'|'.join(SENTIMENTS)}>"
            )
        result[name] = sentiment
    return result


class _Reference:
    """The classifier in torch."""

    def __init__(self, model: Any, tokenizer: Any, columns: list[int], max_tokens: int) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._columns, self._max_tokens = columns, max_tokens

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        """Return float32 [texts, 3], and topics that are all alike."""
        inputs = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._max_tokens,
            padding=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            logits = self._model(**inputs).logits
        sentiment = np.zeros((len(texts), len(SENTIMENTS)), np.float32)
        sentiment[:, self._columns] = logits.softmax(-1).numpy()
        return sentiment, np.full((len(texts), len(TOPICS)), 1 / len(TOPICS), np.float32)


@torch.no_grad()
def _teach_roles(model: Any, tokenizer: Any) -> None:
    """Make [T] and [O] tokens that mean the same as a word."""
    pieces = {
        role: tokenizer(word, add_special_tokens=False).input_ids
        for role, word in _ROLE_WORDS.items()
    }
    tokenizer.add_special_tokens(
        {"additional_special_tokens": list(_ROLE_WORDS)}, replace_extra_special_tokens=False
    )
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    table = model.get_input_embeddings().weight
    for role, ids in pieces.items():
        table[tokenizer.convert_tokens_to_ids(role)] = table[ids].mean(0)


def _in_our_order(network: Network, columns: list[int]) -> Network:
    """Return the network with its classes in the order of `SENTIMENTS`."""
    head = network.heads["sentiment"]
    weight = np.zeros((head.output.weight.shape[0], len(SENTIMENTS)), np.float32)
    bias = np.full(len(SENTIMENTS), _NEVER, np.float32)
    weight[:, columns], bias[columns] = head.output.weight, head.output.bias
    return replace(
        network, heads={"sentiment": Head(Linear(weight, bias), head.dense, head.activation)}
    )


def _named(columns: list[int]) -> list[str]:
    return [SENTIMENTS[column] for column in columns]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
