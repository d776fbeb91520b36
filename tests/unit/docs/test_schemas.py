"""The JSON Schemas in the documents are those of the code, and real records keep to them."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from streams.core.fold import Fold
from streams.core.ids import make_id
from streams.core.records import Kind, Origin
from streams.core.rules import Rule
from streams.core.votes import Marker, Vote
from streams.reference import schemas

FOLDER = Path(__file__).parents[3] / "docs" / "schemas"
DAY_MS = 86_400_000
BEGIN = 19_700 * DAY_MS
SOURCE = "texts.news.v1/0"


@pytest.mark.parametrize("name", schemas())
def test_a_schema_of_the_documents_is_that_of_the_code(name: str) -> None:
    assert (FOLDER / name).read_bytes() == schemas()[name], "run `make docs`"


def vote(number: int, at: int, score: int) -> Vote:
    return Vote(
        id=make_id("vote", str(number)),
        text_id=make_id("text", str(number)),
        subject="ticker:AAPL",
        event_time=at,
        channel="wire",
        score=score,
        label=0 if score < 0 else 2,
        relevance=800_000,
        confidence=900_000,
        fingerprint=make_id("story", str(number // 3))[:16],
        author=make_id("author", str(number % 5))[:16],
        origin=Origin("texts.news.v1", 0, number),
        index=0,
        model="opinion/1",
        ingested_at=at,
        scored_at=at,
        snippet="Acme warns",
    )


def errors(name: str, record: bytes) -> list[str]:
    validator: Any = Draft202012Validator(orjson.loads((FOLDER / name).read_bytes()))
    return [error.message for error in validator.iter_errors(orjson.loads(record))]


def test_records_keep_to_their_schemas() -> None:
    fold = Fold(0, 1, 0)
    fold.adopt([Rule(id="low", kind="negative_surge", start_z=3, min_stories=3, min_drop=0.1)])
    votes = [vote(day * 3, BEGIN + day * DAY_MS, 900_000) for day in range(6)]
    burst = BEGIN + 6 * DAY_MS
    votes += [vote(100 + n, burst + n * 100, -900_000) for n in range(60)]
    for each in votes:
        fold.apply(fold.applied + 1, each.event_time, Kind.VOTE, each.to_json(), 0)
    marker = Marker(1, {SOURCE: (burst + DAY_MS, None)}, (SOURCE,))
    fold.apply(fold.applied + 1, burst, Kind.MARKER, marker.to_json(), 0)
    emitted, _ = fold.take()
    assert emitted.alerts
    assert emitted.alerts[0].movers
    assert any(window.echoes for window in emitted.windows)
    assert not [e for v in votes for e in errors("votes.v1.schema.json", v.to_json())]
    for name, records in (("windows.v1", emitted.windows), ("alerts.v1", emitted.alerts)):
        for record in records:
            assert not errors(f"{name}.schema.json", record.model_dump_json().encode())
    assert errors("windows.v1.schema.json", b'{"subject": 1}')
