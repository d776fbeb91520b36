"""The feed of the fault tests holds what they are about, before any fault is in play."""

import asyncio
import json
from collections import Counter
from importlib.resources import files

import pytest

from streams.core.entities import EntityIndex
from streams.core.fold import Fold
from streams.core.records import KIND_HEADER, Opinion
from streams.core.rules import parse_rules
from streams.core.topics import INPUTS, OPINIONS, TEXTS_NEWS, TEXTS_SOCIAL, VOTES
from streams.core.votes import Marker
from streams.pipeline.score import Result, Scorer
from streams.ports import Incoming
from tests.chaos.texts import CRISIS, JITTER_S, texts
from tests.support.triton import OfflineModel

LATENESS_MS = 60_000
PARTITIONS = 2
INGESTED_MS = 1_790_000_000_000
"""After all event times, as in any replay."""


def incoming(records: list[dict]) -> list[Incoming]:
    """Return the records as they lie on the broker, dealt out to the input partitions."""
    found, offsets = [], Counter()
    for number, record in enumerate(records):
        topic = TEXTS_NEWS if record["source"] == "news" else TEXTS_SOCIAL
        place = (topic, number % PARTITIONS)
        value = json.dumps(record).encode()
        found.append(Incoming(*place, offsets[place], INGESTED_MS, None, value, {}))
        offsets[place] += 1
    return found


async def scored(records: list[dict]) -> list[Result]:
    """Return what score makes of the feed in batches of 64."""
    scorer = Scorer(
        OfflineModel(),
        EntityIndex.load(),
        b"test",
        cache_texts=0,
        lateness_ms=LATENESS_MS,
        service="test",
        now_ms=lambda: INGESTED_MS,
    )
    every = incoming(records)
    batches = [every[at : at + 64] for at in range(0, len(every), 64)]
    return [await scorer.score(scorer.plan(batch), batch) for batch in batches]


def folded(results: list[Result], votes_partitions: int) -> list[Fold]:
    """Return the folds after the votes, a marker behind every batch, and the ends of the feed."""
    sources = tuple(f"{topic}/{p}" for topic in INPUTS for p in range(PARTITIONS))
    folds = [Fold(p, votes_partitions, LATENESS_MS) for p in range(votes_partitions)]
    rules = parse_rules((files("streams.core") / "rules.yaml").read_text("utf-8"))
    offset = 0
    for fold in folds:
        fold.adopt(rules)
    reached = dict.fromkeys(sources, 0)
    for result in [*results, None]:
        for out in result.outgoing if result else ():
            if out.topic == VOTES:
                offset += 1
                fold = folds[sum(out.key or b"") % votes_partitions]
                fold.apply(
                    offset, INGESTED_MS, dict(out.headers)[KIND_HEADER].decode(), out.value, 0
                )
        times = result.event_times if result else {s: t + LATENESS_MS for s, t in reached.items()}
        reached |= times
        marker = Marker(1, {s: (t, None) for s, t in times.items()}, sources).to_json()
        offset += 1
        for fold in folds:
            fold.apply(offset, INGESTED_MS, "marker", marker, 0)
    return folds


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return asyncio.run(scored(texts(1, 1000)))


def test_the_feed_makes_an_alert_with_three_revisions_and_no_late_vote(
    results: list[Result],
) -> None:
    folds = folded(results, votes_partitions=4)
    alerts = [alert for fold in folds for alert in fold.emitted.alerts]
    crisis = [a for a in alerts if a.subject == f"ticker:{CRISIS}"]
    assert [(a.revision, a.state, a.severity) for a in crisis] == [
        (1, "confirmed", "warning"),
        (2, "updated", "critical"),
        (3, "resolved", "critical"),
    ]
    assert sum(fold.counts.counted for fold in folds) == sum(r.votes for r in results)
    # Jitter stays within the allowed lateness, so no closed minute is opened again.
    assert {w.revision for fold in folds for w in fold.emitted.windows} <= {0, 1}


def test_the_feed_holds_every_kind_of_text(results: list[Result]) -> None:
    opinions = [
        Opinion.model_validate_json(out.value or b"")
        for result in results
        for out in result.outgoing
        if out.topic == OPINIONS
    ]
    assert len(opinions) == 1000
    assert {opinion.source for opinion in opinions} == {"news", "social"}
    assert sum(opinion.outcome == "filtered" for opinion in opinions) >= 10
    assert sum(opinion.round_up for opinion in opinions) >= 5
    companies = Counter(len(opinion.entities) for opinion in opinions)
    assert min(companies[0], companies[1], companies[2]) >= 50
    assert len({e.subject for opinion in opinions for e in opinion.entities}) == 7
    stories = Counter(opinion.fingerprint for opinion in opinions)
    assert sum(copies > 1 for copies in stories.values()) >= 10


def test_the_same_seed_gives_the_same_texts_in_time_order_but_for_a_little_jitter() -> None:
    one = texts(5, 500)
    assert one == texts(5, 500)
    assert one != texts(6, 500)
    times = [text.get("observed_at", text["published_at"]) for text in one]
    behind = [max(times[:n]) - times[n] for n in range(1, len(times))]
    assert 0 < max(behind) <= 2000 * JITTER_S + 1000
