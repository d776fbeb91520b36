"""The tables of docs/entities.md."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.bench.entities.headlines import Headlines
from tests.bench.entities.labelled import Found, Result
from tests.bench.entities.register import KINDS
from tests.bench.entities.tweets import LETTERS, Tweets
from tests.support.page import table

BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"
_WORST: Final = 12
_FOUND: Final = (
    "source",
    "kind of mention",
    "as annotated",
    "in the list",
    "read: right",
    "against annotation",
    "read: wrong",
    "not read",
    "precision",
)


@dataclass(frozen=True)
class Measured:
    """All results."""

    sets: Mapping[str, Result]
    headlines: Headlines
    tweets: Tweets
    load_s: float
    link_us: float


def render(measured: Measured) -> str:
    """Return the tables as Markdown."""
    sets, tweets, news = measured.sets, measured.tweets, measured.headlines
    found = {name: result.found for name, result in sets.items()}
    found |= {"tweets without `$`": tweets.found, "headlines (sample)": news.found}
    precision = [
        _precision(source, kind, by_kind[kind])
        for source, by_kind in found.items()
        for kind in KINDS
        if sum(vars(by_kind[kind]).values())
    ]
    recall = [
        [
            name,
            kind,
            f"{result.wanted[kind]:,}",
            f"{result.reached[kind]:,}",
            _share(result.reached[kind], result.wanted[kind]),
        ]
        for name, result in sets.items()
        for kind in KINDS
        if result.wanted[kind]
    ]
    for group in ("bare", *LETTERS):
        name = "all but single letters" if group == "bare" else f"`{group}`"
        for how, linked, wanted in (
            ("with `$`", tweets.tagged, tweets.given),
            ("without `$`", tweets.bare, tweets.pairs),
        ):
            counts = f"{wanted[group]:,}", f"{linked[group]:,}"
            recall.append([f"tweets {how}", name, *counts, _share(linked[group], wanted[group])])
    scope = [
        [
            name,
            f"{r.texts:,}",
            f"{r.entities:,}",
            f"{r.no_company:,}",
            f"{r.unknown:,}",
            f"{sum(r.wanted.values()):,}",
            f"{r.unknown_linked:,}",
        ]
        for name, r in sets.items()
    ]
    parts = [
        table(_FOUND, precision),
        table(("source", "kind", "wanted", "linked", "recall"), recall),
        table(
            (
                "set",
                "texts",
                "entities",
                "no company",
                "not in the dictionaries",
                "wanted",
                "of those not in the dictionaries, linked as another",
            ),
            scope,
        ),
        f"Tweets: {tweets.texts:,} distinct English ones. Headlines: {news.texts:,} distinct ones,"
        f" {news.linked:,} with a company; links by kind: "
        + ", ".join(f"{kind} {news.links[kind]:,}" for kind in KINDS if news.links[kind])
        + ".",
        "Worst confusions: "
        + _worst({name: r.confusions for name, r in sets.items()} | {"headlines": news.confusions})
        + ".",
        "Most often missed: "
        + _worst({name: r.missed for name, r in sets.items()} | {"tweets": tweets.missed})
        + ".",
        f"Processor time: loading {measured.load_s:.2f} s, one tweet {measured.link_us:.0f} µs.",
    ]
    return "\n\n".join(parts) + "\n"


def _precision(source: str, kind: str, found: Found) -> list[str]:
    right = found.right + found.listed + found.read_right
    counts = (found.right, found.listed, found.read_right, found.wrong, found.read_wrong)
    decided = right + found.wrong + found.read_wrong
    return [source, kind, *(f"{each:,}" for each in (*counts, found.open)), _share(right, decided)]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "none"


def _worst(counters: Mapping[str, Counter[str]]) -> str:
    return "; ".join(
        f"{name}: " + ", ".join(f"{what} {count}" for what, count in counter.most_common(_WORST))
        for name, counter in counters.items()
        if counter
    )
