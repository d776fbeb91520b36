"""One form for the weights of all encoders that can be served: BERT and its close relatives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from streams.core.errors import ConfigurationError

Floats = NDArray[np.float32]
State = Mapping[str, Floats]
"""A torch state dict as numpy arrays."""

SUPPORTED: Final = ("bert", "distilbert", "roberta", "xlm-roberta", "camembert")
"""`model_type` of the configurations that can be exported."""
_ACTIVATIONS: Final = {"gelu": "Gelu", "relu": "Relu", "tanh": "Tanh"}


@dataclass(frozen=True)
class Linear:
    """y = x · weight + bias; weight [inputs, outputs], bias [outputs]."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Norm:
    """Layer normalisation; both [features]."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Layer:
    """One encoder layer, normalised after each half."""

    qkv: Linear
    """query, key and value side by side: [features, 3 · features]"""
    mixed: Linear
    mixed_norm: Norm
    inner: Linear
    outer: Linear
    outer_norm: Norm


@dataclass(frozen=True)
class Head:
    """Softmax(x · weight + bias), after an optional dense layer with an activation."""

    output: Linear
    dense: Linear | None = None
    activation: str = "Tanh"


@dataclass(frozen=True)
class Network:
    """An encoder with one head per output."""

    words: Floats
    """[vocabulary, features]"""
    places: Floats
    """[positions, features]: of the position and of the only segment"""
    norm: Norm
    layers: tuple[Layer, ...]
    attention_heads: int
    epsilon: float
    activation: str
    """ONNX operator of the feed-forward half"""
    pooling: Literal["mean", "first"]
    heads: Mapping[str, Head]


def opinion_network(state: State, config: Any) -> Network:
    """Return the weights of `models.network.Opinion`.

    Args:
        state: Its state dict, float32.
        config: The configuration of its encoder.

    Raises:
        ConfigurationError: the encoder is of a type that can't be exported.
    """
    heads = {name: Head(_linear(state, name)) for name in ("sentiment", "topic")}
    return _network(state, config, "encoder", "mean", heads)


def classifier_network(state: State, config: Any) -> Network:
    """Return the weights of a Hugging Face sequence classifier, its head named `sentiment`.

    Raises:
        ConfigurationError: its type can't be exported.
    """
    kind = _kind(config)
    if kind == "bert":
        head = Head(_linear(state, "classifier"), _linear(state, "bert.pooler.dense"), "Tanh")
        prefix = "bert"
    elif kind == "distilbert":
        head = Head(_linear(state, "classifier"), _linear(state, "pre_classifier"), "Relu")
        prefix = "distilbert"
    else:
        dense = _linear(state, "classifier.dense")
        head = Head(_linear(state, "classifier.out_proj"), dense, "Tanh")
        prefix = "roberta"
    return _network(state, config, prefix, "first", {"sentiment": head})


def _kind(config: Any) -> str:
    if config.model_type not in SUPPORTED:
        raise ConfigurationError(
            f"a model of type {config.model_type} can't be exported; known are "
            f"{', '.join(SUPPORTED)} (BERT and encoders built like it)"
        )
    return str(config.model_type)


def _network(
    state: State,
    config: Any,
    prefix: str,
    pooling: Literal["mean", "first"],
    heads: Mapping[str, Head],
) -> Network:
    kind = _kind(config)
    table = f"{prefix}.embeddings"
    places = state[f"{table}.position_embeddings.weight"]
    if kind == "distilbert":
        layers = tuple(_distil_layer(state, prefix, i) for i in range(config.n_layers))
        activation, attention, epsilon = config.activation, config.n_heads, 1e-12
    else:
        layers = tuple(_layer(state, prefix, i) for i in range(config.num_hidden_layers))
        activation, attention = config.hidden_act, config.num_attention_heads
        epsilon = config.layer_norm_eps
        # There is one segment, so its embedding is part of every position's.
        places = places + state[f"{table}.token_type_embeddings.weight"][0]
        if getattr(config, "position_embedding_type", "absolute") != "absolute":
            raise ConfigurationError("only absolute position embeddings can be exported")
        if kind != "bert":
            places = places[config.pad_token_id + 1 :]  # RoBERTa counts from there
    if activation not in _ACTIVATIONS:
        raise ConfigurationError(
            f"the activation {activation} can't be exported; known are {', '.join(_ACTIVATIONS)}"
        )
    return Network(
        words=state[f"{table}.word_embeddings.weight"],
        places=places,
        norm=_norm(state, f"{table}.LayerNorm"),
        layers=layers,
        attention_heads=attention,
        epsilon=epsilon,
        activation=_ACTIVATIONS[activation],
        pooling=pooling,
        heads=heads,
    )


def _layer(state: State, prefix: str, index: int) -> Layer:
    layer = f"{prefix}.encoder.layer.{index}"
    attention = f"{layer}.attention"
    return Layer(
        qkv=_joined(state, *(f"{attention}.self.{role}" for role in ("query", "key", "value"))),
        mixed=_linear(state, f"{attention}.output.dense"),
        mixed_norm=_norm(state, f"{attention}.output.LayerNorm"),
        inner=_linear(state, f"{layer}.intermediate.dense"),
        outer=_linear(state, f"{layer}.output.dense"),
        outer_norm=_norm(state, f"{layer}.output.LayerNorm"),
    )


def _distil_layer(state: State, prefix: str, index: int) -> Layer:
    layer = f"{prefix}.transformer.layer.{index}"
    return Layer(
        qkv=_joined(state, *(f"{layer}.attention.{role}_lin" for role in "qkv")),
        mixed=_linear(state, f"{layer}.attention.out_lin"),
        mixed_norm=_norm(state, f"{layer}.sa_layer_norm"),
        inner=_linear(state, f"{layer}.ffn.lin1"),
        outer=_linear(state, f"{layer}.ffn.lin2"),
        outer_norm=_norm(state, f"{layer}.output_layer_norm"),
    )


def _linear(state: State, name: str) -> Linear:
    return Linear(np.ascontiguousarray(state[f"{name}.weight"].T), state[f"{name}.bias"])


def _joined(state: State, *names: str) -> Linear:
    parts = [_linear(state, name) for name in names]
    return Linear(
        np.concatenate([part.weight for part in parts], axis=1),
        np.concatenate([part.bias for part in parts]),
    )


def _norm(state: State, name: str) -> Norm:
    return Norm(state[f"{name}.weight"], state[f"{name}.bias"])
