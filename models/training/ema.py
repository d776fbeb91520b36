"""A moving average of the trained weights: steadier than the weights themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

AVERAGE: Final = "average.safetensors"
_STEPS: Final = "steps"


class MovingAverage:
    """avg ← d · avg + (1 - d) · w after each step, d = min(decay, (1 + n) / (10 + n)) at step n.

    The smaller d of the first steps lets the average leave the start quickly. Weights that are not
    trained are not averaged. Not thread-safe.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start from the network's weights.

        Args:
            network: Stays referenced; `update` reads it.
            decay: d of late steps; 0 makes the average the weights themselves.
        """
        self._trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self._decay = decay
        self._steps = 0
        self._values = {name: p.detach().clone() for name, p in self._trained.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after a step into the average."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(
            list(self._values.values()), [p.detach() for p in self._trained.values()], 1 - decay
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network compute with the average; its own weights come back afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._trained.items():
            parameter.data, self._values[name] = self._values[name], parameter.data

    def save(self, folder: Path) -> None:
        """Write the average into a checkpoint."""
        steps = torch.tensor(self._steps)
        save_file({**_contiguous(self._values), _STEPS: steps}, folder / AVERAGE)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: the checkpoint has no average.
            KeyError: it is the average of other weights.
        """
        stored = load_file(folder / AVERAGE)
        self._steps = int(stored[_STEPS])
        for name, value in self._values.items():
            value.copy_(stored[name])


def _contiguous(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in values.items()}
