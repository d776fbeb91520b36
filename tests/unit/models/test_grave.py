"""Measuring the phrases of grave events, and that the page shows what was measured."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from models.evaluation.grave import (
    JUDGEMENTS,
    PAGE,
    RESULTS,
    SOURCES,
    Judgement,
    Sentence,
    drawn,
    held_out,
    measure,
    read_judgements,
    read_source,
    render,
    wilson,
    with_tables,
)
from streams.core.entities import EntityIndex
from streams.core.errors import ConfigurationError
from streams.core.grave import PhraseBook

BOOK = PhraseBook.load(trial=True)
MEASURED = json.loads(RESULTS.read_text(encoding="utf-8"))
LEAST_PRECISION = 0.9


def test_the_page_shows_what_was_measured() -> None:
    page = PAGE.read_text(encoding="utf-8")
    tables = render(BOOK, MEASURED)
    assert page == with_tables(page, tables), "run `python -m models.evaluation.grave page`"
    with pytest.raises(ConfigurationError, match="needs the lines"):
        with_tables("no markers", tables)


def test_a_class_that_is_reported_was_precise_on_the_held_out_half_and_no_other_is() -> None:
    for slug, entry in BOOK.file.classes.items():
        right, judged = held_out(MEASURED, slug)
        assert entry.trial == (not judged or right / judged < LEAST_PRECISION), slug


def test_every_drawn_match_is_judged() -> None:
    assert [cell for cell in MEASURED["cells"] if cell["unjudged"]] == []


def test_the_judgements_hold_no_text_and_none_twice() -> None:
    rows = read_judgements()
    with JUDGEMENTS.open(encoding="utf-8", newline="") as file:
        assert all(" " not in cell for row in csv.reader(file) for cell in row)
    keys = [(j.kind, j.source, j.slug if j.kind == "match" else "", j.id) for j in rows]
    assert len(set(keys)) == len(keys)
    assert {j.source for j in rows} == set(SOURCES)
    assert {j.slug for j in rows} <= {*BOOK.file.classes, ""}


def test_wilson_agrees_with_published_values() -> None:
    # Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_sample_keeps_its_members_when_others_no_longer_match() -> None:
    texts = [Sentence(str(n), "", "held-out") for n in range(200)]
    before = drawn(texts, "recall", 40)
    fewer = [s for s in texts if int(s.id) % 10]
    after = drawn(fewer, "recall", 40)
    assert len(before) == len(after) == 40
    assert [s for s in before if int(s.id) % 10] == after[: sum(s in after for s in before)]
    assert before != drawn(texts, "fraud", 40)


def test_what_no_longer_matches_counts_as_judged_blind_only() -> None:
    texts = [
        Sentence("a", "Contoso recalls 40,000 cars", "held-out"),
        Sentence("b", "$AAPL recalls 300 phones", "held-out"),
        Sentence("c", "I recall the day", "held-out"),
        Sentence("d", "A lawsuit over fraud", "held-out"),
        Sentence("e", "Contoso rises", "development"),
    ]
    judgements = [
        Judgement("match", "tweets", "recall", "held-out", "a", True),
        Judgement("match", "tweets", "recall", "held-out", "c", False),
        Judgement("miss", "tweets", "fraud", "held-out", "d", False),
        Judgement("miss", "tweets", "", "held-out", "c", True),
    ]
    results = measure(BOOK, EntityIndex.load(), {"tweets": texts}, judgements)
    (cell,) = results["cells"]
    assert (cell["matches"], cell["per_10000"]) == (2, 5000.0)
    assert (cell["right"], cell["judged"], cell["unjudged"]) == (1, 1, 1)
    assert (cell["blind_right"], cell["blind_judged"]) == (1, 2)
    assert (cell["named_right"], cell["named_judged"]) == (0, 0)
    (missed,) = results["misses"]
    assert (missed["with_stem_unmatched"], missed["judged"], missed["missed"]) == (2, 2, 1)
    assert missed["recall"] == pytest.approx(2 / 3, abs=1e-3)


def test_copies_of_a_story_and_other_languages_are_left_out(tmp_path: Path) -> None:
    texts = [("1", "Contoso falls", "en"), ("2", "RT @x: contoso FALLS!", "en"), ("3", "Ja", "de")]
    with gzip.open(tmp_path / f"{SOURCES['tweets'][0]}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"id": i, "text": t, "lang": c}) + "\n" for i, t, c in texts)
    assert [s.id for s in read_source(tmp_path, "tweets")] == ["1"]
    with pytest.raises(ConfigurationError, match="is missing"):
        read_source(tmp_path, "headlines")


def test_a_faulty_file_of_judgements_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "judgements.csv"
    path.write_text("id,verdict\n")
    with pytest.raises(ConfigurationError, match="header"):
        read_judgements(path)
    path.write_text("kind,source,class,half,id,verdict\nmatch,tweets,fraud,held-out,1,maybe\n")
    with pytest.raises(ConfigurationError, match="line 2"):
        read_judgements(path)
