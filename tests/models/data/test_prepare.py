import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasketch", reason="needs the extra train")

from models.data import prepare as module
from models.data.prepare import TRAIN_SHARE, prepare
from models.data.sets import SETS
from models.data.table import MANIFEST, TABLE, TableRow, checksum, read_table
from streams.core.errors import ConfigurationError, ContractError

Record = dict[str, Any]
Write = Callable[[Path, str, Iterable[Record]], None]
RESEARCH = {name for name, info in SETS.items() if not info.permissive and info.lang == "en"}


@pytest.fixture(autouse=True)
def _few_written_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.data.contrast.INSTANCES", 2)
    monkeypatch.setattr("models.data.statements.INSTANCES", 1)


def add(folder: Path, name: str, *records: Record) -> None:
    with gzip.open(folder / f"{name}.jsonl.gz", "at", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records)


def tweet(text: str, split: str) -> Record:
    return {"text": text, "tickers": [], "label": "neutral", "split": split}


def rows_of(folder: Path, out: Path, **options: Any) -> list[TableRow]:
    prepare(folder, out, **options)
    return list(read_table(out))


def test_the_same_sets_give_the_same_bytes(sets: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "a", tmp_path / "b" / "deep"]
    for out in outs:
        prepare(sets, out)
    for name in (TABLE, MANIFEST):
        one, other = ((out / name).read_bytes() for out in outs)
        assert one == other


def test_documents_and_groups_stand_in_one_split(sets: Path, tmp_path: Path) -> None:
    rows = rows_of(sets, tmp_path / "out")
    documents, families = defaultdict(set), defaultdict(set)
    for row in rows:
        documents[row.source, row.doc].add((row.split, row.group))
        families[row.task, row.group].add(row.split)
    assert {len(places) for places in documents.values()} == {1}
    assert {len(splits) for splits in families.values()} == {1}
    assert len({row.id for row in rows}) == len(rows)
    assert [row.id for row in rows] == sorted(row.id for row in rows)


def test_sets_without_a_split_are_split_by_document(sets: Path, tmp_path: Path) -> None:
    rows = rows_of(sets, tmp_path / "out")
    splits = {(r.source, r.doc): r.split for r in rows if r.source.startswith("en_entity")}
    assert set(splits.values()) == {"train", "valid", "test"}
    share = sum(split == "train" for split in splits.values()) / len(splits)
    assert abs(share - TRAIN_SHARE) < 0.15


def test_sets_for_research_are_test_and_never_train(sets: Path, tmp_path: Path) -> None:
    manifest = prepare(sets, tmp_path)
    rows = list(read_table(tmp_path))
    assert {row.source for row in rows} >= RESEARCH
    assert {(row.split, row.permissive) for row in rows if row.source in RESEARCH} == {
        ("test", False)
    }
    assert all(row.permissive for row in rows if row.split != "test")
    assert manifest["may_be_given_away"]
    uses = {name: entry["use"] for name, entry in manifest["sets"].items()}
    assert {name for name, use in uses.items() if use.endswith("never trains")} == RESEARCH


def test_all_licences_lets_them_train_and_says_so(sets: Path, tmp_path: Path) -> None:
    manifest = prepare(sets, tmp_path, all_licences=True)
    rows = [row for row in read_table(tmp_path) if row.source in RESEARCH]
    assert {row.split for row in rows} == {"train", "valid", "test"}
    assert not any(row.permissive for row in rows)
    assert not manifest["may_be_given_away"]
    assert all(entry["use"] == "training and evaluation" for entry in manifest["sets"].values())


def test_a_training_text_near_a_held_out_one_is_dropped(
    sets: Path, tmp_path: Path, words_of: Callable[[object], str]
) -> None:
    story = words_of("twice")
    add(
        sets,
        "en_sentiment_twitter",
        tweet(f"{story} up 2.1% https://t.co/a", "train"),
        tweet(f"RT @someone: {story.upper()} up 3%", "valid"),
    )
    manifest = prepare(sets, tmp_path)
    entry = manifest["sets"]["en_sentiment_twitter"]
    assert entry["dropped"] == {"near-duplicate of a text held out": 1}
    kept = [row for row in read_table(tmp_path) if "up 3%" in row.text or "up 2.1%" in row.text]
    assert [row.split for row in kept] == ["valid"]
    assert manifest["near_duplicates"]["sentiment"]["pairs"] >= 1


def test_a_near_duplicate_in_another_set_follows_the_split_that_is_given(
    sets: Path, tmp_path: Path, words_of: Callable[[object], str]
) -> None:
    stories = [words_of(("shared", i)) for i in range(12)]
    for at, story in enumerate(stories):
        split = "valid" if at % 2 else "train"
        add(sets, "en_sentiment_twitter", tweet(f"Norvane {story}", split))
        record = {"entity": "Norvane", "label": "neutral", "doc": f"n{at}", "split": "train"}
        add(sets, "en_entity_sentfin", record | {"text": f"Norvane: {story}!"})
    rows = {row.doc: row for row in rows_of(sets, tmp_path) if row.source == "en_entity_sentfin"}
    assert [rows[f"n{at}"].split for at in range(12)] == ["train", "valid"] * 6


def test_a_training_text_near_a_research_text_is_dropped(
    sets: Path, tmp_path: Path, words_of: Callable[[object], str]
) -> None:
    story = words_of(("bank", 3))
    add(sets, "en_sentiment_twitter", tweet(f"{story}.", "train"))
    manifest = prepare(sets, tmp_path)
    assert sum(manifest["sets"]["en_sentiment_twitter"]["dropped"].values()) == 1
    assert manifest["sets"]["en_sentiment_phrasebank"]["rows"] == 40


def test_tasks_do_not_hinder_each_other(
    sets: Path, tmp_path: Path, words_of: Callable[[object], str]
) -> None:
    story = words_of("both tasks")
    add(sets, "en_sentiment_twitter", tweet(story, "valid"))
    add(sets, "en_topic_twitter", tweet(story, "train") | {"label": "Macro"})
    splits = {row.task: row.split for row in rows_of(sets, tmp_path) if row.text == story}
    assert splits == {"sentiment": "valid", "topic": "train"}


def test_the_leak_check_stops_what_the_grouping_missed(
    sets: Path,
    tmp_path: Path,
    words_of: Callable[[object], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(
        sets,
        "en_sentiment_twitter",
        tweet(words_of("leak"), "train"),
        tweet(words_of("leak") + "!", "valid"),
    )
    monkeypatch.setattr(module, "near_duplicates", lambda texts, on_progress: [])
    with pytest.raises(ContractError, match="1 near-duplicates stand in two splits"):
        prepare(sets, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_contrast_templates_are_unlike_each_other(sets: Path, tmp_path: Path) -> None:
    manifest = prepare(sets, tmp_path)
    assert manifest["sets"]["contrast"]["dropped"] == {}
    groups = defaultdict(set)
    for row in read_table(tmp_path):
        if row.source == "contrast":
            assert (row.licence, row.permissive) == ("Apache-2.0", True)
            groups[row.doc.partition("/")[0]].add(row.group)
    assert {len(of_template) for of_template in groups.values()} == {1}
    assert len({min(group) for group in groups.values()}) == len(groups)


def test_the_manifest_adds_up(sets: Path, tmp_path: Path) -> None:
    manifest = prepare(sets, tmp_path)
    assert json.loads((tmp_path / MANIFEST).read_text()) == manifest
    assert manifest["table_sha256"] == checksum(tmp_path / TABLE)
    assert manifest["leak_check"]["pairs"] == 0
    rows = list(read_table(tmp_path))
    assert manifest["rows"] == len(rows) == sum(s["rows"] for s in manifest["sets"].values())
    for name, entry in manifest["sets"].items():
        counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for row in rows:
            if row.source == name:
                counts[row.split][row.label] += 1
        assert entry["splits"] == counts
        if name in SETS:
            assert entry["sha256"] == checksum(sets / entry["file"])


def test_a_permissive_set_must_be_there_and_a_research_set_may_be_missing(
    sets: Path, tmp_path: Path
) -> None:
    (sets / "en_sentiment_phrasebank.jsonl.gz").unlink()
    assert "en_sentiment_phrasebank" not in prepare(sets, tmp_path)["sets"]
    (sets / "en_entity_sentfin.jsonl.gz").unlink()
    with pytest.raises(ConfigurationError, match=r"en_entity_sentfin.* is missing"):
        prepare(sets, tmp_path)


def test_other_languages_come_only_when_asked_for(sets: Path, tmp_path: Path, write: Write) -> None:
    texts = ["股价大涨创新高", "公司亏损扩大"]
    write(
        sets,
        "zh_sentiment_finfe",
        ({"text": text, "label": "positive", "split": "train"} for text in texts),
    )
    assert {row.lang for row in rows_of(sets, tmp_path)} == {"en"}
    rows = rows_of(sets, tmp_path, languages=("zh",))
    assert {(row.lang, row.split, row.permissive) for row in rows} == {("zh", "test", False)}
    with pytest.raises(ConfigurationError, match="no set is in fr"):
        prepare(sets, tmp_path, languages=("en", "fr"))


def test_progress_reaches_its_end(sets: Path, tmp_path: Path) -> None:
    last: dict[str, tuple[int, int]] = {}
    prepare(
        sets, tmp_path, on_progress=lambda what, done, total: last.update({what: (done, total)})
    )
    assert set(last) == {
        "reading",
        *(
            f"{what}: {t}"
            for what in ("near-duplicates", "leak check")
            for t in ("sentiment", "topic")
        ),
    }
    assert all(done == total > 0 for done, total in last.values())
