from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.data.table import TableRow
from models.evaluation.bias import swaps
from models.evaluation.fairness import (
    SLOT,
    edits,
    fairness,
    read_names,
    read_names_in,
    read_through,
    single_company_texts,
)
from models.predict import Probabilities
from streams.core.entities import EntityIndex
from streams.core.errors import ConfigurationError
from streams.core.labels import SENTIMENTS, TOPICS
from streams.core.text import normalise
from tests.models.rows import made_row

INDEX = EntityIndex.load()
LINKED = "Microsoft"
UNLINKED = ("Quellmark", "Lumeric")


class ByRule:
    """Reads the tone off words, and off any name it is told to like."""

    def __init__(self, *liked: str, shift: float = 0.3) -> None:
        self.liked, self.shift = liked, shift
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        self.seen += texts
        tone = np.array([self._tone(text) for text in texts])
        neutral = 0.9 - np.abs(tone)
        positive, negative = 0.05 + np.maximum(tone, 0), 0.05 + np.maximum(-tone, 0)
        topic = np.full((len(texts), len(TOPICS)), 1 / len(TOPICS), np.float32)
        return np.stack([negative, neutral, positive], axis=1).astype(np.float32), topic

    def _tone(self, text: str) -> float:
        tone = 0.4 * (("beats" in text) - ("misses" in text))
        return tone + self.shift * any(name in text for name in self.liked)


def row(text: str, entity: str, label: str = "neutral", doc: str | None = None) -> TableRow:
    start = text.index(entity)
    span = (start, start + len(entity))
    return made_row(text, doc=doc, entity=entity, target=(span,), label=label, split="test")


def test_the_names_are_sixty_in_all_the_kinds_asked_for() -> None:
    kinds = read_names()
    assert set(kinds) == {
        "large", "small", "foreign", "founders", "tickers", "unseen", "tone"
    }  # fmt: skip
    assert sum(map(len, kinds.values())) == 60
    known = {n for kind in kinds.values() for n in kind if INDEX.link(f"Shares of {n} rise")}
    assert not known & set(kinds["unseen"])
    assert known >= {*kinds["large"], *kinds["tickers"]}


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.toml"
    path.write_text('large = ["Acme"]\nsmall = ["Acme", "B  C"]\n')
    with pytest.raises(ConfigurationError, match="Acme, B  C"):
        read_names(path)


def test_texts_go_the_whole_path() -> None:
    model = ByRule()
    linked, unlinked, empty = read_through(
        model, INDEX, ["Microsoft beats estimates", "Quellmark misses estimates", " "]
    )
    assert model.seen == ["[T] beats estimates", "Quellmark misses estimates"]
    assert linked is not None
    assert linked.entities[0].sentiment.score == pytest.approx(0.4, abs=1e-5)
    assert unlinked is not None
    assert unlinked.sentiment is not None
    assert unlinked.entities == []
    assert unlinked.sentiment.score == pytest.approx(-0.4, abs=1e-5)
    assert empty is None


def test_an_unbiased_model_never_flips() -> None:
    texts = [f"{SLOT} beats estimates", f"{SLOT} misses estimates", f"{SLOT} names a new chief"]
    found = read_names_in(ByRule(), INDEX, texts, [LINKED, *UNLINKED])
    assert found.linked.tolist() == [[True, False, False]] * 3
    changed = swaps(found, np.ones_like(found.linked))
    assert changed["flips"] == 0
    assert changed["difference"] == pytest.approx(0, abs=1e-6)


def test_a_model_that_likes_a_name_is_caught_where_the_name_reaches_it() -> None:
    rows = [row(f"Quarter {i}: Acme misses estimates", "Acme") for i in range(12)]
    # Half as sure of the bad news, but still bad news: a shift without a flip for Quellmark …
    found = fairness(ByRule("Quellmark", shift=0.2), INDEX, rows, texts=12)
    biased = found["bias"]["unlinked"]
    assert biased["Quellmark"]["bias"] == pytest.approx(0.2, abs=1e-5)
    assert biased["Quellmark"]["p_holm"] < 0.001
    assert biased["Quellmark"]["kind"] == "unseen"
    assert min(biased, key=lambda name: -biased[name]["bias"]) == "Quellmark"
    # … and a name that is linked cannot be liked: the model never sees it.
    linked = fairness(ByRule("Microsoft", shift=0.8), INDEX, rows, texts=12)
    assert linked["bias"]["linked"]["Microsoft"]["bias"] == pytest.approx(0, abs=1e-6)
    assert linked["swaps"]["all"]["flips"] == 0


def test_flips_come_from_the_liked_name_alone() -> None:
    rows = [row(f"Quarter {i}: Acme publishes its agenda", "Acme") for i in range(5)]
    found = fairness(ByRule("Lumeric", shift=0.8), INDEX, rows, texts=5)
    names = found["names"]["unlinked"]
    assert found["swaps"]["unlinked"]["flips"] == pytest.approx(
        (names - 1) / (names * (names - 1) / 2)
    )
    assert found["swaps"]["unlinked"]["any_flip"] == 1
    assert found["swaps"]["linked"]["flips"] == 0
    assert found["unlinked_minus_linked"]["bias"] == pytest.approx(0.8 / names, abs=1e-5)
    assert found["placebo"]["linked"]["flips"] == 0


def test_a_model_that_minds_the_weekday_is_seen_in_the_placebo() -> None:
    rows = [row(f"Quarter {i}: Acme publishes its agenda", "Acme") for i in range(5)]
    found = fairness(ByRule("Thursday", shift=0.8), INDEX, rows, texts=5)
    edited = found["placebo"]["linked"]["edits"]
    assert edited["weekday"]["flips"] == 1
    assert edited["weekday"]["bias"] == pytest.approx(0.8, abs=1e-5)
    assert edited["full stop"]["flips"] == 0
    assert found["swaps"]["all"]["flips"] == 0


def test_texts_of_the_table_are_about_one_company_and_nothing_else() -> None:
    rows = [
        row("Acme beats estimates", "Acme", "positive"),
        row("Acme sues Microsoft", "Acme", "negative"),  # the service links another
        row("Acme buys Bolt", "Acme", "positive", doc="pair"),
        row("Acme buys Bolt", "Bolt", "positive", doc="pair"),
        row("Acme moves its office", "Acme"),
    ]
    texts, taken = single_company_texts(rows, INDEX, 10)
    assert taken == 2
    assert set(texts[:2]) == {"{} beats estimates", "{} moves its office"}
    assert len(texts) == 10  # filled up with what is written for this
    assert len(set(texts)) == 10
    assert all(text.count(SLOT) == 1 for text in texts)


def test_texts_are_taken_evenly_from_the_labels_and_always_the_same() -> None:
    rows = [
        row(f"Item {i}: Acme reports", "Acme", SENTIMENTS[0 if i < 40 else i % 3])
        for i in range(60)
    ]
    texts, taken = single_company_texts(rows, INDEX, 15)
    label = {r.text.replace("Acme", SLOT): r.label for r in rows}
    assert taken == 15
    assert sorted(label[t] for t in texts).count("negative") == 5
    assert single_company_texts(rows[::-1], INDEX, 15)[0] == texts


def test_written_texts_link_nothing_by_themselves() -> None:
    texts, taken = single_company_texts([], INDEX, 300)
    assert taken == 0
    assert len(texts) == 30
    for text in texts:
        assert not INDEX.link(text.replace(SLOT, "Qxvarn"))
        assert normalise(text) == text


def test_placebo_edits_change_what_they_say_and_no_more() -> None:
    text = "Acme's sales rise, shares don't."
    changed = {name: edit(text) for name, edit in edits().items()}
    assert changed["quote"] == (text, "Acme’s sales rise, shares don’t.")
    assert changed["space"][1] == "Acme's sales rise , shares don't."
    assert changed["full stop"] == ("Acme's sales rise, shares don't", text)
    assert changed["weekday"][0].endswith("don't on Tuesday")
