from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from models.data.reading import Draft, read_set, spans_of
from models.data.sets import SETS
from streams.core.errors import ConfigurationError
from streams.core.text import with_roles

Record = dict[str, Any]
Write = Callable[[Path, str, Iterable[Record]], None]


def marked(draft: Draft) -> str:
    return with_roles(draft.text, draft.target, draft.others)


@pytest.fixture
def read(
    tmp_path: Path, write: Write
) -> Callable[[str, list[Record]], tuple[list[Draft], dict[str, int]]]:
    def read(name: str, records: list[Record]) -> tuple[list[Draft], dict[str, int]]:
        write(tmp_path, name, records)
        return read_set(tmp_path / SETS[name].file, SETS[name])

    return read


Read = Callable[[str, list[Record]], tuple[list[Draft], dict[str, int]]]


def pair(entity: str, label: str, text: str, doc: str = "1") -> Record:
    return {"text": text, "entity": entity, "label": label, "doc": doc, "split": "train"}


def tweet(text: str, *tickers: str, split: str = "train") -> Record:
    return {"text": text, "tickers": list(tickers), "label": "neutral", "split": split}


def test_each_company_of_a_headline_is_once_the_target(read: Read) -> None:
    text = "Norvane beats   Vesper Air &amp; Quillon https://t.co/x"
    names = {"Norvane": "positive", "Vesper Air": "negative", "Quillon": "negative"}
    drafts, dropped = read("en_entity_sentfin", [pair(n, s, text) for n, s in names.items()])
    assert [marked(draft) for draft in drafts] == [
        "[T] beats [O] & [O]",
        "[O] beats [T] & [O]",
        "[O] beats [O] & [T]",
    ]
    assert [draft.label for draft in drafts] == list(names.values())
    assert {(draft.doc, draft.split, draft.channel) for draft in drafts} == {("1", None, "news")}
    assert dropped == {}


def test_a_name_inside_a_longer_one_is_not_a_mention() -> None:
    text = "Vesper Air Cargo splits from Vesper Air, and Vesper stays"
    found = spans_of(text, ["Vesper", "Vesper Air", "Vesper Air Cargo", "Quillon"])
    places = {name: [text[s:e] for s, e in spans] for name, spans in found.items()}
    assert places == {name: [name] for name in ("Vesper Air Cargo", "Vesper Air", "Vesper")}
    assert found["Vesper"][0][0] == text.index("Vesper stays")


def test_records_that_say_nothing_certain_are_left_out_and_counted(read: Read) -> None:
    text = "Norvane beats Vesper Air"
    drafts, dropped = read(
        "en_entity_finentity",
        [
            pair("Norvane", "positive", text),
            pair("Norvane", "positive", text),
            pair("Vesper Air", "negative", text),
            pair("Vesper Air", "neutral", text),
            pair("Quillon", "neutral", text),
        ],
    )
    assert [(draft.entity, draft.label) for draft in drafts] == [("Norvane", "positive")]
    assert dropped == {"repeat": 1, "contradiction": 2, "entity not in text": 1}


def test_about_half_of_the_tweets_with_a_cashtag_show_roles(read: Read) -> None:
    records = [tweet(f"$NRVN story number {i}", "NRVN") for i in range(400)]
    drafts, _ = read("en_sentiment_twitter", records)
    shown = [draft for draft in drafts if draft.target]
    assert 160 < len(shown) < 240
    assert all(marked(draft).startswith("[T] story") for draft in shown)
    assert all(draft.entity == ("NRVN" if draft.target else None) for draft in drafts)
    assert read("en_sentiment_twitter", records)[0] == drafts


def test_tweets_replace_what_serving_would_replace(read: Read) -> None:
    records = [
        tweet(f"$AAPL up {i}, Apple Inc. and Microsoft too, $NRVN", "AAPL") for i in range(9)
    ]
    shown = [draft for draft in read("en_sentiment_twitter", records)[0] if draft.target]
    assert shown
    for draft in shown:
        at = draft.text.split()[2]
        assert marked(draft) == f"[T] up {at} [T] and [O] too, [O]"


def test_tweets_keep_the_split_of_their_authors(read: Read) -> None:
    records = [tweet("one thing"), tweet("another thing", split="valid")]
    drafts, _ = read("en_sentiment_twitter", records)
    assert [draft.split for draft in drafts] == ["train", "valid"]


def test_a_set_may_hold_both_channels_and_names_that_the_text_lacks(read: Read) -> None:
    name = "en_sentiment_semeval"
    records = [
        {"text": "Quillon soars", "entity": "Quillon", "source": "semeval2017-task5-headline"},
        {"text": "finding support", "entity": "$QLLN", "source": "semeval2017-task5-microblog"},
    ]
    drafts, dropped = read(name, [r | {"label": "positive", "split": "train"} for r in records])
    assert [(draft.channel, marked(draft)) for draft in drafts] == [
        ("news", "[T] soars"),
        ("social", "finding support"),
    ]
    assert dropped == {}


def test_chinese_names_need_no_border(read: Read) -> None:
    record = pair("长江电子", "positive", "公司公告长江电子获得大单") | {"start": 4, "end": 8}
    del record["doc"]
    (draft,), _ = read("zh_entity_cfsc", [record])
    assert marked(draft) == "公司公告[T]获得大单"


def test_how_far_annotators_agreed_is_kept(read: Read) -> None:
    record = {"text": "Sales rose", "label": "positive", "split": "train"}
    drafts, _ = read("en_sentiment_phrasebank", [record | {"agreement": "66"}])
    assert [draft.agreement for draft in drafts] == ["66"]


@pytest.mark.parametrize(
    "record",
    [
        {"text": "no label", "tickers": [], "split": "train"},
        tweet("unknown label") | {"label": "bullish"},
        tweet("unknown split", split="dev"),
        tweet("https://t.co/only-a-link"),
    ],
)
def test_a_faulty_file_is_named(read: Read, record: Record) -> None:
    with pytest.raises(ConfigurationError, match="en_sentiment_twitter"):
        read("en_sentiment_twitter", [record])


def test_a_document_has_one_text(read: Read) -> None:
    with pytest.raises(ConfigurationError, match="document 1 has two texts"):
        read("en_entity_sentfin", [pair("A", "neutral", "A one"), pair("A", "neutral", "A two")])


def test_a_file_that_is_no_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "en_sentiment_twitter.jsonl.gz"
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match=path.name):
        read_set(path, SETS["en_sentiment_twitter"])
