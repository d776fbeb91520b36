"""The moving average of the weights."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models.training.ema import MovingAverage


def moved(network: nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by)


def test_it_follows_the_formula() -> None:
    network = nn.Linear(3, 2)
    average = MovingAverage(network, 0.5)
    expected = network.weight.detach().clone()
    for step in range(1, 30):
        moved(network, 0.1)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.weight.detach()
    with average.applied():
        torch.testing.assert_close(network.weight.detach(), expected)


def test_the_networks_own_weights_come_back() -> None:
    network = nn.Linear(3, 2)
    average = MovingAverage(network, 0.9)
    moved(network, 1.0)
    average.update()
    before = network.weight.detach().clone()
    with average.applied():
        assert not torch.equal(network.weight, before)
    assert torch.equal(network.weight, before)
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    torch.testing.assert_close(network.weight.detach(), before - 1.0)


def test_without_decay_it_is_the_weights_themselves() -> None:
    network = nn.Linear(3, 2)
    average = MovingAverage(network, 0.0)
    moved(network, 1.0)
    average.update()
    now = network.weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(network.weight.detach(), now)


def test_frozen_weights_are_not_averaged(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    network.bias.requires_grad = False
    average = MovingAverage(network, 0.5)
    moved(network, 1.0)
    average.update()
    with average.applied():
        torch.testing.assert_close(network.bias, network.bias)
    average.save(tmp_path)
    assert (tmp_path / "average.safetensors").stat().st_size < 200


def test_it_goes_on_from_where_it_was_saved(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    average = MovingAverage(network, 0.9)
    for _ in range(5):
        moved(network, 0.1)
        average.update()
    average.save(tmp_path)
    other = MovingAverage(network, 0.9)
    other.load(tmp_path)
    for one in (average, other):
        one.update()
    with average.applied():
        expected = network.weight.detach().clone()
    with other.applied():
        assert torch.equal(network.weight, expected)
    foreign = MovingAverage(nn.Sequential(nn.Linear(3, 2)), 0.9)
    with pytest.raises(KeyError):
        foreign.load(tmp_path)
