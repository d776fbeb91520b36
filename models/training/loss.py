"""What a step minimises."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from models.training.config import RunConfig
from models.training.examples import IGNORED


def opinion_loss(
    logits: tuple[Tensor, Tensor], batch: Mapping[str, Tensor], config: RunConfig
) -> Tensor:
    """Return the weighted mean loss of a batch, a scalar.

    An example's loss is the sum over both heads of

        h · CE(label) + (1 - h) · T² · KL(teacher / T ‖ student / T)

    where h = `hard`. A head without a label has only its second part, an example that the teacher
    has not scored only the first, with h = 1. The factor T² keeps the gradient of the second part
    at the scale of the first.

    Args:
        logits: Sentiment [texts, 3] and topic [texts, 20].
        batch: What `Collate` returns.
        config: Smoothing, temperature and h.

    Source:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """
    total = torch.zeros_like(batch["weight"])
    for name, guess in zip(("sentiment", "topic"), logits, strict=True):
        guess = guess.float()
        hard = cross_entropy(
            guess,
            batch[name],
            ignore_index=IGNORED,
            reduction="none",
            label_smoothing=config.optimiser.label_smoothing,
        )
        if config.distillation is None or "soft" not in batch:
            total = total + hard
            continue
        heat = config.distillation.temperature
        taught = log_softmax(batch[f"soft_{name}"].float() / heat, dim=-1)
        said = log_softmax(guess / heat, dim=-1)
        soft = heat**2 * kl_div(said, taught, reduction="none", log_target=True).sum(-1)
        share = torch.where(batch["soft"], config.distillation.hard, 1.0)
        total = total + share * hard + (1 - share) * soft
    return (batch["weight"] * total).mean()
