"""State rows outlive the code that wrote them: older schemas are read, newer ones refused.

`state_rows_schema_1.json` holds the rows that version 0.1 stood on after `before()`, byte for byte,
and `state_rows_schema_3.json` those of the code before stories, authors and hours were known.

    day 0   1   2   3   4   5  | burst   open | resent  new  late  again |  end
     +   +   +   +   +   +     | ----     -   |  -       -    -     +    |   M
                                     rows written here ^
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.core.errors import StateMismatch
from streams.core.fold import SCHEMA, Fold, Rows
from streams.core.ids import make_id
from streams.core.records import Alert, Kind, Window
from streams.core.rules import Rule

DAY_MS = 86_400_000
MINUTE_MS = 60_000
BEGIN = 19_700 * DAY_MS + DAY_MS // 2
BURST = BEGIN + 6 * DAY_MS
NEWS, SOCIAL = "texts.news.v1", "texts.social.v1"
IDS = {NEWS: "Zm9ydHktdHdvIGlzIGl0Lg", SOCIAL: "c2V2ZW50ZWVuIG1vcmUuLg"}
OLD_SCHEMAS = (1, 3)
UNKNOWN = {"channels", "verdict", "divergence", "z_divergence", "expected", "buzz", "rarity"}
"""what rows before schema 4 don't tell of the texts and days they hold"""
RULE = Rule(
    id="low",
    kind="negative_surge",
    subjects=("*",),
    start_z=0.4,
    end_z=0.2,
    critical_z=9.0,
    min_stories=1,
    min_drop=0.0,
    clear_minutes=40,
)
Record = tuple[str, int, bytes]


def votes(
    topic: str, offset: int, at: int, score: int, text: int | None = None
) -> Iterator[Record]:
    """A text's votes as version 0.1 wrote them: without a source."""
    name = make_id(topic, str(offset if text is None else text))
    for index, subject in enumerate(("ticker:AAPL", "market")):
        fields = {
            "id": f"{name}{subject}",
            "text_id": name,
            "subject": subject,
            "event_time": at,
            "channel": "wire",
            "score": score,
            "label": 2 if score > 0 else 0,
            "relevance": 800_000,
            "confidence": 900_000,
            "fingerprint": make_id(str(offset))[:16],
            "author": "",
            "origin": [topic, 0, offset],
            "index": index,
            "model": "opinion/1",
            "ingested_at": at + 5,
            "scored_at": at + 9,
            "snippet": f"text {offset} of {topic}",
        }
        yield Kind.VOTE, at, orjson.dumps(fields)


def marker(at: int, ids: Mapping[str, str], idle: int | None = None) -> Record:
    names = [f"{topic}@{ids[topic]}/0" if ids else f"{topic}/0" for topic in (NEWS, SOCIAL)]
    marks = {names[0]: (at, None), names[1]: (at, idle)}
    fields = {"generation": 3, "marks": marks, "sources": names}
    return Kind.MARKER, at, orjson.dumps(fields)


def before() -> Iterator[Record]:
    """What version 0.1 had read when it stopped."""
    for day in range(6):
        at = BEGIN + day * DAY_MS
        yield from votes((NEWS, SOCIAL)[day % 2], day, at, 900_000)
        yield marker(at + 2 * MINUTE_MS, {})
    for offset in range(6, 10):
        yield from votes(NEWS, offset, BURST + offset, -950_000)
    yield marker(BURST + 3 * MINUTE_MS, {}, 31_000)
    yield from votes(NEWS, 10, BURST + 4 * MINUTE_MS, -700_000)
    yield from votes(SOCIAL, 10, BURST + 4 * MINUTE_MS, -800_000)


def after() -> Iterator[Record]:
    """What came then, from a score that knows the ids of its topics."""

    def named(records: Iterator[Record]) -> Iterator[Record]:
        for kind, at, value in records:
            fields = orjson.loads(value)
            topic, partition, _ = fields["origin"]
            source = f"{topic}@{IDS[topic]}/{partition}"
            yield kind, at, orjson.dumps({**fields, "source": source})

    yield from named(votes(NEWS, 9, BURST + 9, -950_000))
    yield from named(votes(NEWS, 10, BURST + 4 * MINUTE_MS, -700_000))
    yield from named(votes(SOCIAL, 10, BURST + 4 * MINUTE_MS, -800_000))
    yield from named(votes(NEWS, 11, BURST + 5 * MINUTE_MS, 100_000))
    yield from named(votes(NEWS, 12, BURST + MINUTE_MS // 2, -900_000))
    yield from named(votes(NEWS, 13, BURST + 5 * MINUTE_MS, -1, text=11))
    yield marker(BURST + 8 * MINUTE_MS, IDS, 32_000)
    yield marker(BURST + 2 * DAY_MS, IDS)


def apply(fold: Fold, offset: int, records: Iterator[Record]) -> None:
    for number, (kind, at, value) in enumerate(records):
        fold.apply(offset + number, at, kind, value, 0)


def write(rows: dict[str, bytes], changes: Rows) -> dict[str, bytes]:
    return {k: v for k, v in {**rows, **changes}.items() if v is not None}


def stored(schema: int = 1) -> dict[str, bytes]:
    path = Path(__file__).with_name(f"state_rows_schema_{schema}.json")
    return {key: value.encode() for key, value in orjson.loads(path.read_bytes()).items()}


def known(records: Sequence[Window] | Sequence[Alert]) -> list[Any]:
    """What old rows tell as well as new ones."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            unknown = UNKNOWN | ({"s_score", "s_delta"} if "s_score" in value else set())
            return {k: without(v) for k, v in value.items() if k not in unknown}
        return [without(v) for v in value] if isinstance(value, list) else value

    return [without(record.model_dump(mode="json")) for record in records]


def restored(rows: Mapping[str, bytes]) -> Fold:
    fold = Fold.restore(rows, 0, 4, MINUTE_MS)
    fold.adopt([RULE])
    return fold


def changed(**fields: Any) -> dict[str, bytes]:
    rows = stored()
    rows["@partition"] = orjson.dumps({**orjson.loads(rows["@partition"]), **fields})
    return rows


@pytest.mark.parametrize("schema", OLD_SCHEMAS)
def test_the_stored_rows_are_of_every_kind(schema: int) -> None:
    rows = stored(schema)
    assert orjson.loads(rows["@partition"])["schema"] == schema
    assert {key.count("|") for key in rows if not key.startswith("@")} == {0, 1, 2}
    assert "@control|low" in rows
    assert "low" in orjson.loads(rows["ticker:AAPL"])[3], "an alert is open"


@pytest.mark.parametrize("schema", OLD_SCHEMAS)
def test_rows_of_older_schemas_go_on_as_if_nothing_had_happened(schema: int) -> None:
    whole = Fold(0, 4, MINUTE_MS)
    whole.adopt([RULE])
    first = list(before())
    apply(whole, 0, iter(first))
    whole.take()
    apply(whole, len(first), after())
    fold = restored(stored(schema))
    assert fold.applied == len(first) - 1
    apply(fold, len(first), after())
    wanted, got = whole.take()[0], fold.take()[0]
    assert known(got.windows) == known(wanted.windows)
    assert known(got.alerts) == known(wanted.alerts)
    assert got.late == wanted.late
    assert [alert.state for alert in got.alerts].count("resolved") == 2
    assert {window.revision for window in got.windows} >= {0, 1}
    assert fold.counts == whole.counts
    assert (fold.counts.resent, fold.counts.duplicate) == (6, 2)
    assert fold.watermark.to_row() == whole.watermark.to_row()
    assert fold.topics == whole.topics == IDS


@pytest.mark.parametrize("schema", OLD_SCHEMAS)
def test_what_is_written_then_has_the_new_schema_and_reads_the_same(schema: int) -> None:
    fold = restored(stored(schema))
    rows = write(stored(schema), fold.take()[1])
    assert orjson.loads(rows["@partition"])["schema"] == SCHEMA
    again = restored(rows)
    first = len(list(before()))
    apply(fold, first, after())
    apply(again, first, after())
    assert again.take() == fold.take()


def test_rows_that_old_code_wrote_behind_a_new_score_are_understood() -> None:
    """Score is upgraded first: old code took sources with an id for others, and kept both."""
    row = orjson.loads(stored()["@partition"])["watermark"]
    news, social = (f"{topic}@{IDS[topic]}/0" for topic in (NEWS, SOCIAL))
    old = row["event_times"][f"{NEWS}/0"]
    mixed = {
        **row,
        "event_times": {**row["event_times"], news: old + 5, social: old - 5},
        "idle": {f"{NEWS}/0": 31_000, social: 44_000},
        "listed": [news, social],
    }
    fold = restored(changed(watermark=mixed))
    assert fold.topics == IDS
    now = fold.watermark.to_row()
    assert now["event_times"] == {f"{NEWS}/0": old + 5, f"{SOCIAL}/0": old}
    assert now["idle"] == {f"{SOCIAL}/0": 44_000}
    assert list(now["listed"]) == [f"{NEWS}/0", f"{SOCIAL}/0"]
    with pytest.raises(StateMismatch, match=r"texts\.news\.v1 was made anew"):
        apply(fold, 0, iter([marker(BURST, {**IDS, NEWS: "b3RoZXJvdGhlcm90aGVybw"})]))


def test_rows_of_a_newer_schema_are_refused() -> None:
    with pytest.raises(StateMismatch, match=f"schema {SCHEMA + 1}"):
        restored(changed(schema=SCHEMA + 1))
