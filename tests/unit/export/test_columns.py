"""Columns come from the records, so no number can be forgotten."""

from typing import Any, Literal, NamedTuple

import orjson
import pytest
from pydantic import BaseModel

from streams.core.records import Evidence, Move, Origin, Window, WindowValues
from streams.export.columns import (
    EVIDENCE_ROW,
    LEFT_OUT,
    ROW,
    Column,
    Kind,
    columns_of,
    evidence_rows,
    rows,
)


def record(**changes: Any) -> dict[str, Any]:
    """Return a window record as it lies on the topic."""
    plain: dict[str, Any] = dict.fromkeys(WindowValues.model_fields)
    counts = dict.fromkeys(("texts", "stories", "negative", "neutral", "positive"), 1)
    text = Evidence(
        text_id="a" * 32, event_time=60_000, channel="wire", score=-0.5, weight=0.25,
        origin=Origin("texts.news.v1", 1, 7), copies=3, snippet='Nordwind, "grounded"\n',
    )  # fmt: skip
    move = Move(
        since="window", before=0, now=-500_000, total=-500_000, volume=0, tone=-500_000, novelty=0,
        contributions=(-500, 20), remainder=-499_520, remaining_texts=0,
    )  # fmt: skip
    numbers = {**plain, **counts, "index": -0.5, "effective": 1.0, "evidence": [text, text]}
    numbers["move"] = move
    window = Window.model_construct(
        subject="ticker:NWA", minute=5, revision=2, watermark=400_000, model="opinion/1",
        closed_at=1_000, windows=dict.fromkeys(("24h", "5m"), numbers),
    )  # fmt: skip
    found: dict[str, Any] = orjson.loads(window.model_dump_json(warnings=False))
    return found | changes


def test_every_field_of_a_window_is_a_column_or_left_out_on_purpose() -> None:
    names = [column.name for column in ROW]
    assert len(names) == len(set(names))
    fields = {*WindowValues.model_fields, *Window.model_fields} - {"windows"}
    missing = {f for f in fields if not any(n == f or n.startswith(f"{f}_") for n in names)}
    assert missing == {"evidence", "echoes"}
    assert set(LEFT_OUT) == missing | {"move_contributions"}


def test_a_record_becomes_a_row_per_window_the_shortest_first() -> None:
    found = [dict(zip((c.name for c in ROW), row, strict=True)) for row in rows(record())]
    assert [row["window"] for row in found] == ["5m", "24h"]
    one = found[0]
    assert (one["subject"], one["minute"], one["end"]) == ("ticker:NWA", 5, 360_000)
    assert (one["revision"], one["index"], one["low"], one["texts"]) == (2, -0.5, None, 1)
    assert (one["watermark"], one["closed_at"], one["model"]) == (400_000, 1_000, "opinion/1")
    assert [row[3] for row in rows(record(), ["24h"])] == ["24h"]


def test_evidence_becomes_a_row_per_text_in_its_order() -> None:
    names = [column.name for column in EVIDENCE_ROW]
    found = [dict(zip(names, row, strict=True)) for row in evidence_rows(record(), ["5m"])]
    assert [(row["rank"], row["contribution"]) for row in found] == [(1, -500), (2, 20)]
    one = found[0]
    assert (one["origin_topic"], one["origin_offset"]) == ("texts.news.v1", 7)
    assert (one["score"], one["copies"], one["end"]) == (-0.5, 3, 360_000)


def test_a_field_that_an_older_record_lacks_is_empty() -> None:
    old = record()
    for values in old["windows"].values():
        del values["z_volume"], values["move"]
        values["evidence"] = [{"text_id": "b" * 32}]
    (row, _) = rows(old)
    assert row[[c.name for c in ROW].index("z_volume")] is None
    (text,) = evidence_rows(old, ["5m"])
    assert text[[c.name for c in EVIDENCE_ROW].index("origin_offset")] is None


@pytest.mark.parametrize(
    "change",
    [
        {"subject": None},
        {"minute": "5"},
        {"revision": True},
        {"windows": []},
        {"windows": {"5m": []}},
        {"windows": {"5m": {"index": "high"}}},
        {"windows": {"5m": {"texts": 1.5}}},
        {"windows": {"5m": {"move": {"total": "far"}}}},
        {"closed_at": 1.5},
    ],
)
def test_what_is_no_window_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        list(rows(record(**change)))


class Place(NamedTuple):
    topic: str
    offset: int


class Part(BaseModel):
    share: float | None
    place: Place


class Whole(BaseModel):
    state: Literal["fine", "blind"] | None
    organic: bool
    event_time: int
    part: Part
    parts: list[Part]


def test_nested_records_are_spread_and_lists_named() -> None:
    columns, lists = columns_of(Whole)
    assert lists == ["parts"]
    assert columns == [
        Column("state", Kind.TEXT, ("state",)),
        Column("organic", Kind.FLAG, ("organic",)),
        Column("event_time", Kind.TIME, ("event_time",)),
        Column("part_share", Kind.NUMBER, ("part", "share")),
        Column("part_place_topic", Kind.TEXT, ("part", "place", 0)),
        Column("part_place_offset", Kind.INTEGER, ("part", "place", 1)),
    ]
    given = {"state": "blind", "organic": False, "part": {"share": 1, "place": ["t", 4]}}
    assert [c.read(given) for c in columns] == ["blind", False, None, 1.0, "t", 4]


def test_a_type_without_a_place_in_a_row_is_said_when_the_program_is_made() -> None:
    class Odd(BaseModel):
        shares: dict[str, float]

    with pytest.raises(TypeError, match="shares"):
        columns_of(Odd)
