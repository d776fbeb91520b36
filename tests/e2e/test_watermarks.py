"""Late votes and closed windows when event time comes in every unpleasant way.

All scenarios are played side by side, since most of their time is waiting. In full size, and on the
embedded broker too: `python -m tests.bench.watermarks`.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from streams.settings import KafkaSettings
from tests.support import watermarks
from tests.support.flow import VOTES_PER_TEXT, Outcome, Place

TEXTS = 1000
AT_ONCE = 4
SCENARIOS: Mapping[str, Callable[[Place], Awaitable[Outcome]]] = {
    "killed": lambda place: watermarks.killed(place, 1_200),
    "silent": lambda place: watermarks.silent(place, 50),
    "lagging": lambda place: watermarks.lagging(place, 400, 12),
    "idle": lambda place: watermarks.fast_replay(place, 4, TEXTS, idle_s=2.0),
    "disorder": lambda place: watermarks.disorder(place, 8),
    **{
        f"replay {partitions}": lambda place, partitions=partitions: watermarks.fast_replay(
            place, partitions, TEXTS
        )
        for partitions in (1, 8)
    },
}

Played = Mapping[str, Outcome | BaseException]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def played(kafka: str, triton_url: str, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """What the scenarios left behind, or how they failed."""
    folder = tmp_path_factory.mktemp("watermarks")

    async def all_of_them() -> Played:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> Outcome:
            settings = KafkaSettings(
                bootstrap=kafka, prefix=f"w{uuid.uuid4().hex[:8]}.", session_timeout_s=6
            )
            async with room:
                return await SCENARIOS[name](
                    Place("kafka", settings, triton_url, _new(folder / name.replace(" ", "-")))
                )

        outcomes = await asyncio.gather(*map(one, SCENARIOS), return_exceptions=True)
        return dict(zip(SCENARIOS, outcomes, strict=True))

    return asyncio.run(all_of_them())


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def of(played: Played, name: str, *, late: int = 0) -> Outcome:
    """Return a scenario's account: all is counted, and closed minutes are as folded offline."""
    outcome = played[name]
    if isinstance(outcome, BaseException):
        raise outcome
    print(outcome)
    assert outcome.differing == 0
    assert outcome.windows > 0
    assert outcome.duplicate == 0
    assert outcome.counted + outcome.late == outcome.texts * VOTES_PER_TEXT
    assert outcome.late == outcome.kept == outcome.late_due
    return outcome


@pytest.mark.parametrize("partitions", [1, 8])
def test_a_replay_at_full_speed_makes_nothing_late(played: Played, partitions: int) -> None:
    outcome = of(played, f"replay {partitions}")
    assert (outcome.texts, outcome.late) == (TEXTS, 0)


def test_a_replay_into_idle_workers_makes_nothing_late(played: Played) -> None:
    assert of(played, "idle").late == 0


def test_a_silent_source_does_not_hold_time_while_others_go_on(played: Played) -> None:
    notes = of(played, "silent").notes
    assert 0 < notes["moved_after_s"] <= notes["busy_s"]


def test_a_source_that_was_silent_revises_when_it_speaks_again(played: Played) -> None:
    outcome = of(played, "silent")
    assert outcome.late == 0
    assert outcome.notes["closed_before_it_spoke"] == 4
    assert outcome.notes["revised_by_it"] == 4


def test_time_waits_for_a_source_that_lags_by_hours(played: Played) -> None:
    outcome = of(played, "lagging")
    assert outcome.late == 0
    assert outcome.notes["ahead_of_it_ms"] <= 0


def test_exactly_the_votes_beyond_the_horizon_are_late(played: Played) -> None:
    outcome = of(played, "disorder")
    assert outcome.late > 0
    assert outcome.notes["late_wrongly"] == 0
    assert outcome.notes["revisions_wrong"] == 0
    assert outcome.revised > 0


def test_a_killed_score_worker_makes_nothing_late(played: Played) -> None:
    outcome = of(played, "killed")
    assert outcome.late == 0
    assert outcome.notes["killed"] == 1
    assert outcome.notes["scored_before"] < outcome.texts
