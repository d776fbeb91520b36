import numpy as np
import pytest

from models.data.table import Split, TableRow, row_id
from models.evaluation.judged import Judged, by_length, entity_pairs, figures, judge
from models.evaluation.run import final
from models.predict import Probabilities
from streams.core.labels import SENTIMENTS, TOPICS


def row(
    doc: str,
    entity: str | None,
    label: str,
    *,
    words: int = 5,
    split: Split = "test",
    agreement: str | None = None,
    source: str = "s",
) -> TableRow:
    name = entity or ""
    text = " ".join([*([name] if name else []), *["word"] * (words - bool(name))])
    return TableRow(
        id=row_id(source, doc, entity),
        source=source,
        licence="MIT",
        permissive=True,
        channel="news",
        lang="en",
        task="sentiment",
        text=text,
        entity=entity,
        target=((0, len(name)),) if name else (),
        others=(),
        label=label,
        doc=doc,
        group=doc,
        split=split,
        agreement=agreement,
    )


def judged(rows: list[TableRow], guesses: list[str]) -> Judged:
    return Judged("sentiment", rows, np.eye(3)[[SENTIMENTS.index(g) for g in guesses]])


def test_pairs_of_texts_that_do_not_judge_all_alike() -> None:
    rows = [
        row("alike", "A", "positive"),
        row("alike", "B", "positive"),
        row("differ", "A", "positive"),
        row("differ", "B", "neutral"),
        row("opposite", "A", "positive"),
        row("opposite", "B", "negative"),
        row("opposite", "C", "neutral"),
        row("single", "A", "negative"),
        row("no entity", None, "negative"),
    ]
    # A model that says positive to everything.
    found = entity_pairs(judged(rows, ["positive"] * len(rows)), 1)
    assert found["differ"]["rows"] == 5
    assert found["differ"]["accuracy"] == pytest.approx(2 / 5)
    assert found["opposite"]["rows"] == 2
    assert found["opposite"]["accuracy"] == pytest.approx(1 / 2)


def test_a_set_without_such_texts_has_no_such_figures() -> None:
    rows = [row("a", "A", "positive"), row("b", None, "negative")]
    assert entity_pairs(judged(rows, ["positive", "negative"]), 1) == {}


def test_lengths_are_counted_in_words() -> None:
    rows = [row(f"short {i}", None, "neutral", words=10) for i in range(30)]
    rows += [row(f"middle {i}", None, "neutral", words=11) for i in range(30)]
    rows += [row(f"long {i}", None, "neutral", words=60) for i in range(5)]
    guesses = ["neutral"] * 30 + ["positive"] * 35
    found = by_length(judged(rows, guesses), 1)
    assert {name: one["accuracy"] for name, one in found.items()} == {"1-10": 1.0, "11-20": 0.0}


def test_figures_per_agreement_of_the_annotators() -> None:
    rows = [row("a", None, "neutral", agreement="all"), row("b", None, "neutral", agreement="50")]
    found = figures(judged(rows, ["neutral", "positive"]), 1)
    assert found["by_agreement"]["all"]["accuracy"] == 1
    assert found["by_agreement"]["50"]["accuracy"] == 0
    assert found["confusion"] == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_a_set_reports_its_test_split_where_it_has_one() -> None:
    rows = [
        row("a", None, "neutral", split="test"),
        row("b", None, "neutral", split="valid"),
        row("c", None, "neutral", split="valid", source="own split"),
    ]
    assert [r.doc for r in final(judged(rows, ["neutral"] * 3)).rows] == ["a", "c"]


def test_the_model_reads_role_tokens_and_answers_the_rows_of_its_task() -> None:
    seen: list[str] = []

    def model(texts: list[str]) -> Probabilities:
        seen.extend(texts)
        return np.eye(3, dtype=np.float32)[[2] * len(texts)], np.zeros((len(texts), len(TOPICS)))

    found = judge(model, "sentiment", [row("a", "Acme", "positive", words=3)])
    assert seen == ["[T] word word"]
    assert found.guess.tolist() == found.truth.tolist() == [2]
    assert judge(model, "topic", found.rows).rows == []
