"""How far the reports of grave events (`streams.core.grave`) can be trusted.

Matches are drawn per class and source and judged by reading. The phrases were written on one half
of two replays; the other half and the other sources were read afterwards. What a reading found
wrong led to exclusions, so there are two figures: *blind*, all that was judged, also what no
longer matches, and *now*, what still matches. Judgements are kept as ids and verdicts, never texts:
`draw`, judge, add the rows to `grave_judgements.csv`, `measure`, then `page`.
"""

import csv
import gzip
import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Final, Literal

import typer

from streams.core.entities import EntityIndex
from streams.core.errors import ConfigurationError
from streams.core.fingerprint import fingerprint
from streams.core.grave import PhraseBook
from streams.core.text import normalise

SOURCES: Final = {
    "tweets": ("replay_tweets_2014_2015",),
    "headlines": ("replay_news_en_2017_2019",),
    "general": ("en_topic_twitter", "en_sentiment_twitter", "en_entity_sentfin"),
    "mixed": (
        "en_sentiment_semeval",
        "en_sentiment_phrasebank",
        "en_entity_finentity",
        "en_sentiment_stocktweets_noisy",
    ),
}
"""name → files"""
SPLIT: Final = ("tweets", "headlines")
"""sources of which one half was used to write the phrases; nothing was written on the others"""
JUDGEMENTS: Final = Path(__file__).parent / "grave_judgements.csv"
RESULTS: Final = Path(__file__).parent / "grave.json"
PAGE: Final = Path(__file__).parents[2] / "docs" / "grave.md"
PER_CELL: Final = 40
"""Matches judged per class, source and half, or all where there are fewer."""
MISSES: Final = 100
"""Texts with a stem and no match judged per source."""

_BEGIN: Final = "<!-- measured: begin -->"
_END: Final = "<!-- measured: end -->"
_COLUMNS: Final = ["kind", "source", "class", "half", "id", "verdict"]
_TIMED_TEXTS: Final = 20_000

Half = Literal["development", "held-out"]
HALVES: Final[tuple[Half, ...]] = ("development", "held-out")
app = typer.Typer(help="Measure the phrases of grave events.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--data", help="folder with the sets")]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A distinct English text of a replay, normalised."""

    id: str
    text: str
    half: Half


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a reader said of a text."""

    kind: Literal["match", "miss"]
    source: str
    slug: str
    """class of the match; of a miss the class that was missed, empty if none was"""
    half: Half
    id: str
    right: bool
    """of a match: it reports an event of the class; of a miss: it reports none"""


def read_source(data: Path, source: str) -> list[Sentence]:
    """Return the distinct English texts of a source; copies of a story count once.

    Raises:
        ConfigurationError: a file is missing.
    """
    first: dict[str, Sentence] = {}
    for name in SOURCES[source]:
        path = data / f"{name}.jsonl.gz"
        if not path.is_file():
            raise ConfigurationError(f"{path} is missing; --data names the folder with the sets")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                if record.get("lang") == "en":
                    text = normalise(record["text"])
                    story = fingerprint(text)
                    odd = int(story, 16) % 2
                    half: Half = "held-out" if odd or source not in SPLIT else "development"
                    first.setdefault(story, Sentence(record.get("id", story), text, half))
    return list(first.values())


def read_judgements(path: Path = JUDGEMENTS) -> list[Judgement]:
    """Return the judgements of a file.

    Raises:
        ConfigurationError: another header, or a verdict that is none.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != _COLUMNS:
            raise ConfigurationError(f"{path}: the header must be {','.join(_COLUMNS)}")
        found = []
        for row in rows:
            if row["verdict"] not in ("right", "wrong"):
                raise ConfigurationError(f"{path}, line {rows.line_num}: verdict right or wrong")
            found.append(
                Judgement(
                    "match" if row["kind"] == "match" else "miss",
                    row["source"],
                    row["class"],
                    "held-out" if row["half"] == "held-out" else "development",
                    row["id"],
                    row["verdict"] == "right",
                )
            )
    return found


def wilson(right: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a share (Wilson, JASA 22, 1927); (0, 1) of nothing."""
    if not of:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = right / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    spread = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def matches(
    book: PhraseBook, texts: Iterable[Sentence]
) -> tuple[dict[tuple[str, Half], list[Sentence]], dict[Half, list[Sentence]]]:
    """Return the matched texts by class and half, and those with a stem and no match by half."""
    found: dict[tuple[str, Half], list[Sentence]] = defaultdict(list)
    silent: dict[Half, list[Sentence]] = defaultdict(list)
    for sentence in texts:
        reports = book.find(sentence.text)
        for report in reports:
            found[report.slug, sentence.half].append(sentence)
        if not reports and book.stemmed(sentence.text):
            silent[sentence.half].append(sentence)
    return dict(found), dict(silent)


def drawn(sentences: Sequence[Sentence], cell: str, count: int) -> list[Sentence]:
    """Return the first `count` in an order that depends on id and cell alone.

    A change of the phrases therefore leaves most of a sample, and its judgements, as they are.
    """

    def key(sentence: Sentence) -> bytes:
        return hashlib.blake2b(f"{cell}:{sentence.id}".encode(), digest_size=8).digest()

    return sorted(sentences, key=key)[:count]


def measure(
    book: PhraseBook,
    companies: EntityIndex,
    texts: Mapping[str, Sequence[Sentence]],
    judgements: Iterable[Judgement],
) -> dict[str, Any]:
    """Return rates, precision per class and source, and recall among texts with a stem.

    `named` counts what was judged in texts in which a company is linked: what an alert on a
    company can see.
    """
    known = {_key(j): j for j in judgements}
    text_of = {(source, s.id): s.text for source, group in texts.items() for s in group}
    blind: dict[tuple[str, str, Half], list[tuple[bool, bool]]] = defaultdict(list)
    for j in known.values():
        if j.kind == "match":
            named = bool(companies.mentions(text_of.get((j.source, j.id), "")))
            blind[j.source, j.slug, j.half].append((j.right, named))
    cells: list[dict[str, Any]] = []
    misses: list[dict[str, Any]] = []
    for source, sentences in texts.items():
        found, silent = matches(book, sentences)
        total = {half: sum(s.half == half for s in sentences) for half in HALVES}
        true_reports = 0.0
        for slug, half in product(book.file.classes, HALVES):
            matched = found.get((slug, half), [])
            before = blind[source, slug, half]
            if not (matched or before):
                continue
            sample = drawn(matched, slug, PER_CELL)
            read = [known[k] for s in sample if (k := ("match", source, slug, s.id)) in known]
            right = sum(judgement.right for judgement in read)
            cells.append(
                {
                    "source": source,
                    "class": slug,
                    "half": half,
                    "matches": len(matched),
                    "per_10000": round(10_000 * len(matched) / total[half], 2),
                    "unjudged": len(sample) - len(read),
                    "judged": len(read),
                    "right": right,
                    "blind_judged": len(before),
                    "blind_right": sum(right for right, _ in before),
                    "named_judged": sum(named for _, named in before),
                    "named_right": sum(right and named for right, named in before),
                }
            )
            if half == "held-out" and read:
                true_reports += len(matched) * right / len(read)
        rest = silent.get("held-out", [])
        sample = drawn(rest, "miss", MISSES)
        read = [known[k] for s in sample if (k := ("miss", source, "", s.id)) in known]
        misses.append(
            {"source": source, "texts": total["held-out"]} | _recall(true_reports, len(rest), read)
        )
    return {"cells": cells, "misses": misses}


def _key(judgement: Judgement) -> tuple[str, str, str, str]:
    slug = judgement.slug if judgement.kind == "match" else ""
    return judgement.kind, judgement.source, slug, judgement.id


def _recall(true_reports: float, unmatched: int, read: Sequence[Judgement]) -> dict[str, Any]:
    """Return true reports / (true reports + missed), the missed being a share of the unmatched.

    The interval is that of the share alone.
    """
    missed = sum(not judgement.right for judgement in read)
    low, high = wilson(missed, len(read))
    share = missed / len(read) if read else 0.0

    def recall(share: float) -> float:
        return round(true_reports / max(true_reports + share * unmatched, 1e-9), 3)

    return {
        "with_stem_unmatched": unmatched,
        "judged": len(read),
        "missed": missed,
        "true_reports": round(true_reports, 1),
        "recall": recall(share),
        "recall_low": recall(high),
        "recall_high": recall(low),
    }


def microseconds(book: PhraseBook, texts: Sequence[Sentence]) -> float:
    """Return the mean time of one `find` over the texts, the best of three rounds."""
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        for sentence in texts:
            book.find(sentence.text)
        best = min(best, time.perf_counter() - start)
    return round(best / len(texts) * 1e6, 1)


def render(book: PhraseBook, results: Mapping[str, Any]) -> str:
    """Return the tables of the page in Markdown."""
    lines = [
        "| class | what counts | reported | per 10,000: tweets | headlines | general "
        "| held-out half | precision | 95 % interval | general, mixed | with a company | now |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    held = [cell for cell in results["cells"] if cell["half"] == "held-out"]
    for slug, entry in book.file.classes.items():
        cells = {cell["source"]: cell for cell in held if cell["class"] == slug}
        rates = {source: f"{cell['per_10000']:.1f}" for source, cell in cells.items()}
        right, judged = held_out(results, slug)
        low, high = wilson(right, judged)
        others = [cell for source, cell in cells.items() if source not in SPLIT]
        row = [
            f"`{slug}`",
            entry.title,
            "on trial" if entry.trial else "yes",
            *(rates.get(source, "0") for source in ("tweets", "headlines", "general")),
            f"{right} of {judged}",
            f"{right / judged:.2f}" if judged else "–",
            f"{low:.2f} to {high:.2f}",
            _total(others, "blind_"),
            _total(cells.values(), "named_"),
            _total(cells.values(), ""),
        ]
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "| source | distinct texts | true reports found | with a stem, no match | judged | missed "
        "| recall | 95 % interval |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {m['source']} | {m['texts']:,} | {m['true_reports']:.0f} "
        f"| {m['with_stem_unmatched']:,} | {m['judged']} | {m['missed']} | {m['recall']:.2f} "
        f"| {m['recall_low']:.2f} to {m['recall_high']:.2f} |"
        for m in results["misses"]
        if m["judged"]
    ]
    lines += ["", f"Mean time for one tweet: {results['microseconds_a_tweet']} µs."]
    return "\n".join(lines)


def held_out(results: Mapping[str, Any], slug: str) -> tuple[int, int]:
    """Return how many judgements of the replays' held-out half were right, and how many stand."""
    cells = [
        cell
        for cell in results["cells"]
        if cell["class"] == slug and cell["half"] == "held-out" and cell["source"] in SPLIT
    ]
    return sum(c["blind_right"] for c in cells), sum(c["blind_judged"] for c in cells)


def _total(cells: Iterable[Mapping[str, Any]], prefix: str) -> str:
    counts = [(cell[f"{prefix}right"], cell[f"{prefix}judged"]) for cell in cells]
    return f"{sum(right for right, _ in counts)} of {sum(judged for _, judged in counts)}"


def with_tables(page: str, tables: str) -> str:
    """Return the page with the tables between its markers.

    Raises:
        ConfigurationError: a marker is missing.
    """
    head, begin, rest = page.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not (begin and end):
        raise ConfigurationError(f"the page needs the lines {_BEGIN} and {_END}")
    return f"{head}{_BEGIN}\n{tables}\n{_END}{tail}"


@app.command()
def draw(data: Folder, out: Annotated[Path, typer.Option(help="where the sheet goes")]) -> None:
    """Write what is to be judged, with texts: keep it out of the repository."""
    book = PhraseBook.load(trial=True)
    done = {_key(j) for j in read_judgements()} if JUDGEMENTS.exists() else set()
    count = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow([*_COLUMNS, "text"])
        for source in SOURCES:
            found, silent = matches(book, read_source(data, source))
            cells = [("match", slug, half, found[slug, half]) for slug, half in sorted(found)]
            cells.append(("miss", "", "held-out", silent.get("held-out", [])))
            for kind, slug, half, sentences in cells:
                size = PER_CELL if kind == "match" else MISSES
                for s in drawn(sentences, slug or "miss", size):
                    if (kind, source, slug, s.id) not in done:
                        sheet.writerow([kind, source, slug, half, s.id, "", s.text])
                        count += 1
    print(f"{count} texts to judge in {out}: fill in verdict, move the rows without text to")
    print(JUDGEMENTS)


@app.command(name="measure")
def measure_command(data: Folder) -> None:
    """Measure on the sets and write the results beside this module."""
    book = PhraseBook.load(trial=True)
    texts = {source: read_source(data, source) for source in SOURCES}
    results = measure(book, EntityIndex.load(), texts, read_judgements())
    results["microseconds_a_tweet"] = microseconds(
        PhraseBook.load(), texts["tweets"][:_TIMED_TEXTS]
    )
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    unjudged = sum(cell["unjudged"] for cell in results["cells"])
    print(f"wrote {RESULTS}; {unjudged} drawn matches have no judgement yet")


@app.command()
def page() -> None:
    """Put the tables into docs/grave.md."""
    tables = render(PhraseBook.load(trial=True), json.loads(RESULTS.read_text(encoding="utf-8")))
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    app()
