import re
from typing import Any

from models.data.sets import SETS
from models.evaluation.card import render


def block(rows: int, value: float) -> dict[str, Any]:
    measures = ("accuracy", "macro_f1", "weighted_f1")
    return {
        "rows": rows,
        **dict.fromkeys(measures, value),
        "interval": {key: [value - 0.0111, value + 0.0111] for key in measures},
    }


def metrics(run: dict[str, Any] | None = None) -> dict[str, Any]:
    trained = {
        n: block(17, 0.8125) | {"in_training": True} for n, s in SETS.items() if s.permissive
    }
    trained["en_entity_sentfin"]["pairs"] = {"differ": block(7, 0.5678)}
    held = {"en_sentiment_phrasebank": block(19, 0.7071) | {"in_training": False}}
    swap = {"flips": 0.0123, "difference": 0.0456, "spread": 0.0789}
    calibrated = {"rows": 17, "ece": 0.0431}
    return {
        "model": {"name": "opinion/9", "sha256": "f00d" * 16, "run": run},
        "data": {
            "sets": {
                name: {
                    "title": s.title,
                    "task": s.task,
                    "licence": s.licence,
                    "attribution": s.attribution,
                }
                for name, s in SETS.items()
            }
        },
        "sets": trained | held,
        "calibration": {
            "sentiment/news": {
                "temperature": 1.376,
                "before": calibrated,
                "after": {"rows": 17, "ece": 0.0121},
            }
        },
        "fairness": {
            "texts": 300,
            "names": {"linked": 40, "unlinked": 20},
            "swaps": {"all": swap, "linked": swap, "unlinked": swap},
            "placebo": {"linked": swap},
        },
    }


def lines(title: str) -> list[str]:
    return [line for line in render(metrics()).splitlines() if line.startswith(f"| {title} |")]


def test_every_set_that_trains_is_attributed_with_its_licence() -> None:
    for name, one in SETS.items():
        if one.permissive:
            attributed, _ = lines(one.title)
            assert f"| {one.licence} | {one.attribution} |" in attributed, name


def test_a_set_that_never_trained_is_evaluated_and_not_in_the_training_data() -> None:
    (line,) = lines(SETS["en_sentiment_phrasebank"].title)
    assert "| 19 | 0.707 (0.696 … 0.718) |" in line
    assert "NC-SA" not in render(metrics())


def test_every_figure_is_the_metrics() -> None:
    figures = set(re.findall(r"(?<![\d.])\d+\.\d{2,}(?=\D)", render(metrics())))
    blocks = {f"{v + d:.3f}" for v in (0.8125, 0.5678, 0.7071) for d in (-0.0111, 0, 0.0111)}
    assert figures == blocks | {"1.23", "0.046", "0.079", "0.043", "0.012", "1.376"}


def test_the_card_names_the_version_and_the_weights_it_is_about() -> None:
    card = render(metrics())
    assert card.startswith("# opinion/9\n")
    assert f"`{'f00d' * 16}`" in card


def test_the_card_says_where_the_base_models_come_from_and_what_it_is_not_for() -> None:
    card = " ".join(render(metrics()).split())
    assert "terms allow research only" in card
    assert "English only" in card
    assert "Not made for" in card


def run(**data: Any) -> dict[str, Any]:
    known = {"may_be_given_away": True, "soft_sha256": None, "replay_sha256": None}
    return {"config": {"encoder": "minilm"}, "data": known | data}


def test_the_base_and_the_teacher_are_those_of_the_run() -> None:
    alone = render(metrics(run()))
    assert "Base: all-MiniLM-L6-v2" in alone
    assert "distilled" not in alone
    taught = render(metrics(run(soft_sha256="aa", replay_sha256="bb")))
    assert "distilled" in taught
    assert "StockNet" in taught
    assert "StockNet" not in render(metrics(run(soft_sha256="aa")))
    assert "not recorded" in render(metrics())


def test_weights_that_must_not_be_given_away_say_so() -> None:
    assert "Apache-2.0, as the project" in render(metrics(run()))
    card = render(metrics(run(may_be_given_away=False)))
    assert "must not be given away" in card
    assert "Apache-2.0, as the project" not in card
