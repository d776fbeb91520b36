"""The loss, against formulas computed by hand."""

import math
from typing import Any

import pytest
import torch

from models.training.config import RunConfig, parse_config
from models.training.examples import IGNORED
from models.training.loss import opinion_loss

TOPICS = 20


def config(smoothing: float = 0.0, **extra: Any) -> RunConfig:
    optimiser = {
        "epochs": 1,
        "learning_rate": 1e-4,
        "head_learning_rate": 1e-3,
        "label_smoothing": smoothing,
    }
    return parse_config({"encoder": "minilm", "optimiser": optimiser, **extra}, "test")


def softmax(logits: list[float], heat: float = 1.0) -> list[float]:
    powers = [math.exp(one / heat) for one in logits]
    return [power / sum(powers) for power in powers]


def divergence(taught: list[float], said: list[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(taught, said, strict=True))


def batch(sentiment: list[int], topic: list[int], weight: list[float]) -> dict[str, torch.Tensor]:
    return {
        "sentiment": torch.tensor(sentiment),
        "topic": torch.tensor(topic),
        "weight": torch.tensor(weight),
    }


def test_a_head_without_label_adds_nothing() -> None:
    logits = (torch.tensor([[1.0, 2.0, 0.5]]), torch.randn(1, TOPICS))
    loss = opinion_loss(logits, batch([1], [IGNORED], [1.0]), config())
    assert loss.item() == pytest.approx(-math.log(softmax([1.0, 2.0, 0.5])[1]), rel=1e-5)


def test_weights_scale_examples_and_the_mean_is_over_examples() -> None:
    logits = (torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]), torch.zeros(2, TOPICS))
    given = batch([1, IGNORED], [IGNORED, 4], [0.5, 3.0])
    expected = (0.5 * -math.log(softmax([1.0, 2.0, 0.5])[1]) + 3.0 * math.log(TOPICS)) / 2
    assert opinion_loss(logits, given, config()).item() == pytest.approx(expected, rel=1e-5)


def test_smoothing_gives_every_class_its_part() -> None:
    chances = softmax([1.0, 2.0, 0.5])
    expected = -sum(
        (0.9 * (at == 1) + 0.1 / 3) * math.log(chance) for at, chance in enumerate(chances)
    )
    logits = (torch.tensor([[1.0, 2.0, 0.5]]), torch.zeros(1, TOPICS))
    loss = opinion_loss(logits, batch([1], [IGNORED], [1.0]), config(0.1))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_distillation_mixes_label_and_teacher_and_uses_the_teacher_alone_without_a_label() -> None:
    said, taught = [0.4, 1.5, -0.3], [2.0, 0.1, -1.0]
    said_topic = [0.1 * at for at in range(TOPICS)]
    taught_topic = [0.3 * (at % 4) for at in range(TOPICS)]
    heat, hard = 2.0, 0.25
    given = batch([1], [IGNORED], [1.0]) | {
        "soft": torch.tensor([True]),
        "soft_sentiment": torch.tensor([taught]),
        "soft_topic": torch.tensor([taught_topic]),
    }
    told = config(distillation={"temperature": heat, "hard": hard})
    loss = opinion_loss((torch.tensor([said]), torch.tensor([said_topic])), given, told)
    expected = hard * -math.log(softmax(said)[1]) + (1 - hard) * heat**2 * (
        divergence(softmax(taught, heat), softmax(said, heat))
        + divergence(softmax(taught_topic, heat), softmax(said_topic, heat))
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_an_example_the_teacher_has_not_scored_learns_from_its_label_alone() -> None:
    given = batch([1], [IGNORED], [1.0]) | {
        "soft": torch.tensor([False]),
        "soft_sentiment": torch.tensor([[5.0, 0.0, 0.0]]),
        "soft_topic": torch.zeros(1, TOPICS),
    }
    logits = (torch.tensor([[1.0, 2.0, 0.5]]), torch.randn(1, TOPICS))
    loss = opinion_loss(logits, given, config(distillation={}))
    assert loss.item() == pytest.approx(-math.log(softmax([1.0, 2.0, 0.5])[1]), rel=1e-5)


def test_a_student_that_agrees_with_its_teacher_has_no_soft_loss() -> None:
    logits = (torch.randn(3, 3), torch.randn(3, TOPICS))
    given = batch([IGNORED] * 3, [IGNORED] * 3, [1.0] * 3) | {
        "soft": torch.tensor([True] * 3),
        "soft_sentiment": logits[0],
        "soft_topic": logits[1],
    }
    loss = opinion_loss(logits, given, config(distillation={}))
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
