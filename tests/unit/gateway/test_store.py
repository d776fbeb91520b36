"""The read model: newest revision wins, nothing grows without bound."""

from typing import Any

import orjson
import pytest

from streams.core.ids import alert_id
from streams.core.records import (
    Alert,
    Entity,
    Numbers,
    Opinion,
    Origin,
    Sentiment,
    Window,
    WindowValues,
)
from streams.gateway.shapes import AlertItem, WindowItem
from streams.gateway.store import Limits, Store, subjects_of

TONE = Sentiment(negative=0.1, neutral=0.2, positive=0.7, score=0.6)


def values(**changes: Any) -> WindowValues:
    plain: dict[str, Any] = dict.fromkeys(
        ("index", "echo_index", "low", "high", "baseline", "z_tone", "z_volume")
    )
    counts = dict.fromkeys(("texts", "stories", "negative", "neutral", "positive"), 1)
    return WindowValues(**{**plain, **counts, "effective": 1.0, "evidence": [], **changes})


def window(minute: int, revision: int = 0, subject: str = "ticker:X", index: float = 0.0) -> Window:
    return Window(
        subject=subject,
        minute=minute,
        revision=revision,
        windows={"24h": values(index=index)},
        watermark=0,
        model="m",
        closed_at=0,
    )


def opinion(number: int, *subjects: str, **changes: Any) -> Opinion:
    entities = [Entity(subject=each, spans=[], relevance=1, sentiment=TONE) for each in subjects]
    fields: dict[str, Any] = {
        "id": f"{number:032x}",
        "outcome": "scored",
        "origin": Origin("texts.news.v1", 0, number),
        "source": "news",
        "channel": "wire",
        "event_time": number,
        "text": f"text {number}",
        "sentiment": TONE,
        "entities": entities,
    }
    return Opinion(**{**fields, **changes})


def alert(number: int, revision: int = 0, state: str = "confirmed") -> Alert:
    return Alert(
        id=alert_id("r", "ticker:X", number),
        revision=revision,
        state=state,
        severity="info",
        rule="r",
        subject="ticker:X",
        window="8h",
        first_minute=number,
        minute=number,
        summary="s",
        numbers=values(),
        evidence=[],
        model="m",
        stages={},
    )


def minutes(store: Store, subject: str = "ticker:X", **changes: Any) -> list[int]:
    asked = {"start": None, "end": None, "limit": 100, "every": 1, **changes}
    return [orjson.loads(each)["minute"] for each in store.windows(subject, **asked)]


def test_larger_revision_of_a_minute_wins_in_any_order() -> None:
    for revisions in ([0, 1, 2], [2, 0, 1], [1, 2, 2]):
        store = Store()
        taken = [store.apply_window(window(7, each, index=each / 10)) for each in revisions]
        (found,) = map(orjson.loads, store.windows("ticker:X", None, None, 10, 1))
        assert (found["revision"], found["windows"]["24h"]["index"]) == (2, 0.2)
        assert WindowItem.model_validate(found, extra="forbid").end == 8 * 60_000
        assert taken.count(True) == len({each for n, each in enumerate(revisions)
                                         if each > max(revisions[:n], default=-1)})  # fmt: skip
        kept = found["windows"]["24h"].keys()
        assert kept == Numbers.model_fields.keys()  # all numbers, no evidence


def test_windows_come_newest_but_in_order_and_thinned() -> None:
    store = Store()
    for minute in (5, 3, 9, 4, 8):
        store.apply_window(window(minute))
    assert minutes(store) == [3, 4, 5, 8, 9]
    assert minutes(store, limit=2) == [8, 9]
    assert minutes(store, start=4, end=9) == [4, 5, 8]
    assert minutes(store, every=5) == [4, 9]
    assert minutes(store, subject="ticker:Y") == []


def test_windows_are_bounded_per_subject_and_in_all() -> None:
    store = Store(Limits(windows_per_subject=3, windows=5))
    for minute in range(5):
        store.apply_window(window(minute))
    assert minutes(store) == [2, 3, 4]
    assert not store.apply_window(window(1))
    for minute in range(3):
        store.apply_window(window(minute, subject="ticker:Y"))
    assert store.counts()["windows"] <= 5
    assert len(minutes(store)) + len(minutes(store, "ticker:Y")) == store.counts()["windows"]


def test_text_reaches_its_companies_its_topic_and_the_market_once() -> None:
    store = Store()
    one = opinion(1, "ticker:X", "ticker:Y", topic="earnings")
    assert subjects_of(one) == ["ticker:X", "ticker:Y", "topic:earnings", "market"]
    assert store.apply_opinion(one)
    assert not store.apply_opinion(one)
    assert not store.apply_opinion(opinion(2, outcome="filtered"))
    assert store.subject_ids() == ["market", "topic:earnings", "ticker:X", "ticker:Y"]
    assert store.texts("ticker:Y", 10) == [one]


def test_texts_are_newest_first_and_bounded() -> None:
    store = Store(Limits(texts=6, texts_per_subject=3))
    for number in (3, 1, 5, 2, 6):
        store.apply_opinion(opinion(number, "ticker:X"))
    assert [each.event_time for each in store.texts("ticker:X", 10)] == [6, 5, 3]
    for number in (7, 8, 9):
        store.apply_opinion(opinion(number))
    assert store.counts()["texts"] == 6
    assert [each.event_time for each in store.texts("ticker:X", 10)] == [6, 5]


def test_alert_keeps_its_history_and_the_subject_counts_open_ones() -> None:
    store = Store()
    store.apply_window(window(1))
    assert store.apply_alert(alert(1), 0)
    assert store.apply_alert(alert(2), 1)
    assert store.apply_alert(alert(1, 2, "resolved"), 2)
    assert not store.apply_alert(alert(1, 1, "updated"), 3)
    view = store.alert(alert(1).id)
    assert view is not None
    assert [each.revision for each in view.revisions] == [0, 2]
    assert view.offset == 2
    assert [each.newest.id for each in store.alerts()] == [alert(1).id, alert(2).id]
    subject = store.subject("ticker:X")
    assert subject is not None
    assert subject.alerts == 1


def test_alerts_and_revisions_are_bounded_and_the_first_stays() -> None:
    store = Store(Limits(alerts=2, revisions=3))
    for revision in range(6):
        store.apply_alert(alert(1, revision), revision)
    view = store.alert(alert(1).id)
    assert view is not None
    assert [each.revision for each in view.revisions] == [0, 4, 5]
    for number in (2, 3):
        store.apply_alert(alert(number), 6 + number)
    assert store.alert(alert(1).id) is None


def test_least_recently_fed_subject_goes_first() -> None:
    store = Store(Limits(subjects=2))
    for subject in ("ticker:A", "ticker:B", "ticker:A", "ticker:C"):
        store.apply_window(window(1, subject=subject))
    assert store.subject_ids() == ["ticker:A", "ticker:C"]
    assert store.counts()["windows"] == 2


@pytest.mark.parametrize("topic", ["earnings", "Earnings", "topic:earnings"])
def test_topic_is_understood_by_slug_name_or_subject(topic: str) -> None:
    assert subjects_of(opinion(1, topic=topic)) == ["topic:earnings", "market"]


def test_the_api_shows_all_that_alerts_and_windows_say() -> None:
    assert Alert.model_fields.keys() <= AlertItem.model_fields.keys()
    assert Window.model_fields.keys() - WindowItem.model_fields.keys() == {"subject", "echoes"}
