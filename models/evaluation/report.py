"""`report.md` out of `metrics.json`, for people; nothing in it comes from anywhere else."""

from collections.abc import Iterable, Sequence
from typing import Any

from models.evaluation.calibration import BINS
from models.evaluation.metrics import MEASURES, RESAMPLES
from models.evaluation.pictures import ABSTENTION, BIAS

Metrics = dict[str, Any]

_HEAD = ("rows", "accuracy", "macro F1", "weighted F1")


def render(metrics: Metrics) -> str:
    """Return the report as Markdown."""
    model, against = metrics["model"], metrics["against"]
    parts = [
        f"# Evaluation of {model['name']}\n",
        f"Made {metrics['made_at']}; weights SHA-256 `{model['sha256'] or 'unknown'}`; table "
        f"SHA-256 `{metrics['data']['table_sha256']}`; seed {metrics['seed']}. In brackets: 95 % "
        f"intervals, percentile bootstrap over documents, {RESAMPLES} draws.\n",
        "## Sets\n\nThe test split where a set has one, else its validation split; sets that never "
        "train: all rows.\n",
        table(("set", "split", *_HEAD), _sets(metrics)),
        "\n## Beside others, on the same rows\n\nWeighted F1. Majority: the commonest class of "
        "these rows. Words: TF-IDF of words and pairs, logistic regression, trained on the table."
        "\n",
        table(
            ("set", "majority", "words", *([against["name"]] if against else []), model["name"])
            + (("better by",) if against else ()),
            _beside(metrics),
        ),
        "\n## Texts that judge companies differently\n\n*differ*: all pairs of texts whose "
        "companies have different labels. *opposite*: positive and negative pairs of texts that "
        "hold both.\n",
        table(("set", "pairs", *_HEAD), _pairs(metrics)),
        "\n## Per channel\n\nReal texts of the sets that train.\n",
        table(("channel", *_HEAD), ((n, *cells(b)) for n, b in metrics["channels"].items())),
        "\n## Per class\n",
        table(("set", "class", "rows", "precision", "recall", "F1"), _classes(metrics)),
        "\n## Per length\n",
        table(("set", "words", *_HEAD), _groups(metrics, "by_length")),
        *_agreement(metrics),
        "\n## Calibration\n\nExpected calibration error of the likeliest class over "
        f"{BINS} bins of equal mass (Nguyen and O'Connor 2015). One temperature per channel, "
        "fitted on validation rows; where these are reported, in five parts by document, each with "
        "the temperature of the others.\n",
        table(
            ("channel", "temperature", "set", "rows", "ECE as it is", "ECE with temperature"),
            _calibration(metrics),
        ),
        "\n"
        + "\n".join(
            f"![reliability](reliability-{n.replace('/', '-')}.png)" for n in metrics["calibration"]
        ),
        "\n## Leaving doubtful texts out\n\nShare of errors among the most confident texts.\n",
        table(("channel", "area", *_COVERAGES), _abstention(metrics)),
        f"\n![abstention]({ABSTENTION})\n",
        *_robustness(metrics),
        *_fairness(metrics),
        "## Confusion\n\n" + "\n".join(f"![confusion](confusion-{n}.png)" for n in metrics["sets"]),
    ]
    return "\n".join(parts) + "\n"


_COVERAGES = ("50 %", "70 %", "80 %", "90 %", "100 %")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; names such as "M&A | Investments" stay in their cell."""
    lines = [head, ("---",) * len(head), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def share(value: float | None, digits: int = 3) -> str:
    """Return a number of the report; nothing where there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """Return a share as a percentage."""
    return "" if value is None else f"{value:.2%}"


def cells(block: dict[str, Any]) -> tuple[str, ...]:
    """Return rows and scores with their intervals, for the columns of `_HEAD`."""
    return (str(block["rows"]), *(_with_interval(block[m], block["interval"][m]) for m in MEASURES))


def _with_interval(value: float, interval: Sequence[float], sign: str = "") -> str:
    low, high = interval
    return f"{value:{sign}.3f} ({low:{sign}.3f} … {high:{sign}.3f})"


def _title(metrics: Metrics, name: str) -> str:
    title: str = metrics["data"]["sets"][name]["title"]
    return title


def _sets(metrics: Metrics) -> Iterable[tuple[str, ...]]:
    for name, one in metrics["sets"].items():
        split = one["split"] if one["in_training"] else "all, never trained on"
        yield _title(metrics, name), split, *cells(one)
        if "validation" in one:
            yield _title(metrics, name), "valid", *cells(one["validation"])


def _beside(metrics: Metrics) -> Iterable[tuple[str, ...]]:
    for name, one in metrics["sets"].items():
        others = [share(one["baselines"][b]["weighted_f1"]) for b in ("majority", "words")]
        row = [_title(metrics, name), *others]
        if "against" in one:
            gain = one["better_by"]["weighted_f1"]
            row += [share(one["against"]["weighted_f1"]), share(one["weighted_f1"])]
            row.append(_with_interval(gain["difference"], gain["interval"], "+"))
        else:
            row.append(share(one["weighted_f1"]))
        yield tuple(row)


def _pairs(metrics: Metrics) -> Iterable[tuple[str, ...]]:
    for name, one in metrics["sets"].items():
        for kind, found in one.get("pairs", {}).items():
            yield _title(metrics, name), kind, *cells(found)


def _classes(metrics: Metrics) -> Iterable[tuple[str, ...]]:
    for name, one in metrics["sets"].items():
        for label, found in one["per_class"].items():
            figures = (share(found[key]) for key in ("precision", "recall", "f1"))
            yield _title(metrics, name), label, str(found["rows"]), *figures


def _groups(metrics: Metrics, key: str) -> Iterable[tuple[str, ...]]:
    for name, one in metrics["sets"].items():
        for group, found in one.get(key, {}).items():
            yield _title(metrics, name), group, *cells(found)


def _agreement(metrics: Metrics) -> list[str]:
    rows = list(_groups(metrics, "by_agreement"))
    if not rows:
        return []
    note = "\n## Per agreement of the annotators\n\nEach text at the strictest level it reaches.\n"
    return [note, table(("set", "agreement", *_HEAD), rows)]


def _calibration(metrics: Metrics) -> Iterable[tuple[str, ...]]:
    for name, one in metrics["calibration"].items():
        before, after = one["before"], one["after"]
        yield (
            name,
            share(one["temperature"]),
            "all that train",
            str(before["rows"]),
            share(before["ece"]),
            share(after["ece"]),
        )
        for source, found in one["sets"].items():
            title = _title(metrics, source)
            counts = (str(found["rows"]), share(found["before"]), share(found["after"]))
            yield name, "", title, *counts


def _abstention(metrics: Metrics) -> Iterable[tuple[str, ...]]:
    for name, one in metrics["abstention"].items():
        risk = {f"{coverage:.0%}".replace("%", " %"): value for coverage, value in one["curve"]}
        yield name, share(one["area"]), *(share(risk[c]) for c in _COVERAGES)


def _robustness(metrics: Metrics) -> list[str]:
    found = metrics.get("robustness")
    if not found:
        return []
    edits = (
        (
            name,
            str(one["rows"]),
            share(one["accuracy_before"]),
            share(one["accuracy_after"]),
            percent(one["flips"]),
            share(one["difference"]),
        )
        for name, one in found["edits"].items()
    )
    negations = (
        (
            name.replace("_", " "),
            str(one["pairs"]),
            str(one["read_as_labelled"]),
            percent(one["weaker"]),
            percent(one["given_up"]),
            share(one["change"]),
        )
        for name, one in found["negation"].items()
    )
    return [
        "## Robustness\n\nEdits that should change nothing.\n",
        table(("edit", "rows", "accuracy", "after", "flips", "mean abs(Δs)"), edits),
        "\nNegations, on pairs whose plain text is read as labelled: s moves away from the label, "
        'the label is given up, mean Δs. By rule: "not" put behind the first auxiliary.\n',
        table(("pairs", "number", "read as labelled", "weaker", "given up", "Δs"), negations),
        "\nContrast pairs of templates that training has not seen are among the sets above.\n",
    ]


def _fairness(metrics: Metrics) -> list[str]:
    found = metrics.get("fairness")
    if not found:
        return []
    swaps = [
        (f"swap, {group} names", *_change(one), percent(one["any_flip"]), share(one["spread"]))
        for group, one in found["swaps"].items()
    ]
    placebo = [
        (f"placebo, {group} names", *_change(one), "", "")
        for group, one in found["placebo"].items()
    ]
    edits = [
        (
            f"{label}, {group}",
            str(one["texts"]),
            percent(one["flips"]),
            _with_interval(one["bias"], one["interval"], "+"),
            f"{one['p_holm']:.3g}",
        )
        for group, members in found["placebo"].items()
        for label, one in members["edits"].items()
    ]
    odd = [
        (
            name,
            one["kind"],
            group,
            _with_interval(one["bias"], one["interval"], "+"),
            f"{one['p_holm']:.3g}",
        )
        for group, members in found["bias"].items()
        for name, one in sorted(members.items(), key=lambda item: -abs(item[1]["bias"]))
        if one["p_holm"] < 0.05
    ]
    names, shift = found["names"], found["unlinked_minus_linked"]
    text = (
        f"## Names\n\n{found['texts']} texts about one company ({found['texts_of_the_table']} of "
        f"the table), each with {names['linked']} linked and {names['unlinked']} unlinked names, "
        "through the scorer of the service with its entity linking; "
        f"{found['not_scored']} readings were not scored. Flips: share of pairs of names "
        "that get another label on the same text. Placebo: edits that should not matter.\n"
    )
    parts = [
        text,
        table(
            ("", "pairs", "flips", "mean abs(Δs)", "texts with any flip", "spread of s"),
            [*swaps, *placebo],
        ),
    ]
    if shift:
        parts.append(
            "\nUnlinked names score "
            f"{_with_interval(shift['bias'], shift['interval'], '+')} against linked ones.\n"
        )
    parts += [
        "\nPlacebo edits: mean Δs with simultaneous 95 % intervals, p after Holm.\n",
        table(("edit, names", "pairs", "flips", "Δs", "p"), edits),
        "\nNames whose score differs from the others of their group, p < 0.05 after Holm: "
        + (f"{len(odd)}.\n" if odd else "none.\n"),
        *([table(("name", "kind", "group", "bias", "p"), odd)] if odd else []),
        f"\n![bias]({BIAS})\n",
    ]
    return parts


def _change(one: dict[str, Any]) -> tuple[str, str, str]:
    return str(one["pairs"]), percent(one["flips"]), share(one["difference"])
