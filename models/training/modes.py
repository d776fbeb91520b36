"""Which weights are trained: all, those of the last layers, or low-rank updates (LoRA)."""

import copy
import re
from typing import cast

from peft import LoraConfig, LoraModel, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from models.network import Opinion
from models.training.config import Full, LastLayers, Lora, Optimiser
from streams.core.errors import ConfigurationError

_LAYER = re.compile(r"\.layer\.(\d+)\.")


def prepare(network: Opinion, mode: Full | LastLayers | Lora) -> None:
    """Let only those weights be trained that the mode names; the heads always are.

    Raises:
        ConfigurationError: more layers are to be frozen than there are.
    """
    if isinstance(mode, LastLayers):
        _freeze(network, mode.frozen)
    elif isinstance(mode, Lora):
        # "all-linear" finds the products of any encoder, whatever it calls them.
        tuned = get_peft_model(
            network.encoder,
            LoraConfig(
                r=mode.rank,
                lora_alpha=mode.alpha,
                lora_dropout=mode.dropout,
                target_modules="all-linear",
            ),
        )
        network.encoder = cast(PreTrainedModel, tuned)


def _freeze(network: Opinion, count: int) -> None:
    layers = _layers(network)
    if count > layers:
        raise ConfigurationError(f"mode.frozen = {count}, but the encoder has {layers} layers")
    for name, parameter in network.encoder.named_parameters():
        layer = _LAYER.search(f".{name}")
        parameter.requires_grad = layer is not None and int(layer[1]) >= count
    # Dropout in layers that don't learn would only blur what the others see.
    network.steady = tuple(
        part
        for part in network.encoder.modules()
        if (own := list(part.parameters())) and not any(p.requires_grad for p in own)
    )


def _layers(network: Opinion) -> int:
    layers: int = network.encoder.config.num_hidden_layers
    return layers


def merged(network: Opinion) -> Opinion:
    """Return the network with low-rank updates added to the weights; without any, itself."""
    if not isinstance(network.encoder, PeftModel):
        return network
    whole = copy.deepcopy(network)
    tuned = cast(LoraModel, whole.encoder.base_model)
    whole.encoder = cast(PreTrainedModel, tuned.merge_and_unload())
    return whole


def parameter_groups(network: Opinion, options: Optimiser) -> list[dict[str, object]]:
    """Return AdamW's groups: rates fall from the heads to the embeddings, by `layer_decay` a layer.

    Source:
        Howard, Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018
        (discriminative fine-tuning).
    """
    layers = _layers(network)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = _LAYER.search(name)
        if not name.startswith("encoder."):
            rate = options.head_learning_rate
        elif layer:
            rate = options.learning_rate * options.layer_decay ** (layers - 1 - int(layer[1]))
        else:
            rate = options.learning_rate * options.layer_decay**layers
        decay = options.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
