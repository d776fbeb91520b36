"""What must hold after any fault (design section 2, a to d), and how far it was from holding."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from streams.adapters.kafka_scan import scan
from streams.core.records import KIND_HEADER, Alert, Kind, Window
from streams.core.topics import ALERTS, VOTES, WINDOWS
from streams.ledger import check_ledger
from streams.offline import Closed, differing, fold_votes, published_windows
from streams.worker import load_rules
from tests.chaos.arena import Arena

LATENESS_MS = 60_000
# Two logs of the same texts differ in these: in when things were done, how far other sources had
# come meanwhile, and in offsets, which aborted transactions shift.
_OF_THE_LOG = {"watermark", "revision", "stages", "origin"}


@dataclass
class World:
    """What a run left behind."""

    votes: Counter[str]
    """vote id → how often it was sent"""
    counts: Counter[str]
    """what became of the votes, over all partitions"""
    texts: int
    """readable input records"""
    unaccounted: int
    balanced: bool
    windows: Closed
    """without what says when they were written and where their texts lay"""
    misfolded: int
    """windows that differ from the offline fold"""
    windows_repeated: int
    """window revisions that a reader of committed records sees more than once"""
    alerts: dict[str, Any]
    """event id → alert, in the same way"""
    alerts_repeated: int


@dataclass
class Verdict:
    """A scenario's figures, all of which are zero where nothing went wrong."""

    lost: int = 0
    """texts without an outcome, and votes that an undisturbed run has and this one has not"""
    double: int = 0
    """votes counted more than once or that an undisturbed run has not"""
    windows_wrong: int = 0
    """windows that differ from the offline fold or from the undisturbed run"""
    windows_repeated: int = 0
    alerts_lost: int = 0
    alerts_repeated: int = 0
    """alert revisions seen twice or that the undisturbed run has not"""
    resent: int = 0
    """votes written again after a crash and dropped: no fault"""
    notes: list[str] = field(default_factory=list)

    def zeros(self, *, exactly_once: bool) -> bool:
        """Whether all is as promised; repeated outputs are only excluded by transactions."""
        always = (self.lost, self.double, self.windows_wrong, self.alerts_lost)
        return not any(always) and not (
            exactly_once and (self.windows_repeated or self.alerts_repeated)
        )


async def observe(arena: Arena) -> World:
    """Read what a run left behind."""
    names, bootstrap = arena.names, arena.bootstrap
    report = await check_ledger(bootstrap, names)
    counts: Counter[str] = Counter()
    for ledger in report.votes:
        counts.update(ledger.counts)
    votes: Counter[str] = Counter()
    async with scan(bootstrap, names.topic(VOTES)) as opened:
        async for _, records in opened.batches():
            for record in records:
                if dict(record.headers).get(KIND_HEADER, b"").decode() == Kind.VOTE:
                    votes[json.loads(record.value)["id"]] += 1
    published = await published_windows(bootstrap, names)
    offline = await fold_votes(bootstrap, names, load_rules(None), LATENESS_MS)
    revisions = await _revisions(arena)
    alerts: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    async with scan(bootstrap, names.topic(ALERTS)) as opened:
        async for _, records in opened.batches():
            for record in records:
                alert = Alert.model_validate_json(record.value)
                seen[alert.event_id] += 1
                alerts[alert.event_id] = _comparable(alert.model_dump())
    return World(
        votes=votes,
        counts=counts,
        texts=sum(p.readable for p in report.inputs),
        unaccounted=sum(p.missing for p in report.inputs),
        balanced=report.balanced,
        windows={place: _comparable(window) for place, window in published.items()},
        misfolded=len(differing(offline, published)),
        windows_repeated=_repeats(revisions),
        alerts=alerts,
        alerts_repeated=_repeats(seen),
    )


async def _revisions(arena: Arena) -> Counter[tuple[str, int, int]]:
    revisions: Counter[tuple[str, int, int]] = Counter()
    async with scan(arena.bootstrap, arena.names.topic(WINDOWS)) as opened:
        async for _, records in opened.batches():
            for record in records:
                window = Window.model_validate_json(record.value)
                revisions[window.subject, window.minute, window.revision] += 1
    return revisions


def _comparable(value: Any) -> Any:
    """Return a record without what belongs to one log rather than to its texts."""
    if isinstance(value, dict):
        return {k: _comparable(v) for k, v in value.items() if k not in _OF_THE_LOG}
    return [_comparable(v) for v in value] if isinstance(value, list | tuple) else value


def _repeats(seen: Counter[Any]) -> int:
    return sum(seen.values()) - len(seen)


def judge(calm: World, world: World) -> Verdict:
    """Compare a disturbed run with an undisturbed one of the same texts."""
    missing = calm.votes.keys() - world.votes.keys()
    surplus = world.votes.keys() - calm.votes.keys()
    counted, due = world.counts["counted"], calm.counts["counted"]
    alerts_missing = calm.alerts.keys() - world.alerts.keys()
    verdict = Verdict(
        lost=world.unaccounted + len(missing) + max(0, due - counted - len(missing)),
        double=len(surplus) + max(0, counted - due - len(surplus)),
        windows_wrong=world.misfolded + len(differing(calm.windows, world.windows)),
        windows_repeated=world.windows_repeated,
        alerts_lost=len(alerts_missing),
        alerts_repeated=world.alerts_repeated + len(world.alerts.keys() - calm.alerts.keys()),
        resent=world.counts["resent"],
    )
    if not world.balanced:
        verdict.notes.append("ledger not balanced")
        verdict.lost = max(1, verdict.lost)
    if world.counts["late"] or world.counts["duplicate"] != calm.counts["duplicate"]:
        verdict.notes.append(f"late {world.counts['late']}, {world.counts['duplicate']} duplicate")
    for event_id, alert in calm.alerts.items():
        if event_id in world.alerts and world.alerts[event_id] != alert:
            verdict.windows_wrong += 1
            verdict.notes.append(f"alert {event_id} differs")
    return verdict
