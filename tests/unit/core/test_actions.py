"""What operators accept: exact on the wire, and it covers only what it says."""

import json

import pytest

from streams.core.actions import Action, acceptance, accepted_hole, open_hold

BY = {"who": "ann@desk", "at": 1_790_000_000_000, "why": "seen"}


def hole(first: int, end: int, topic: str = "votes.v1", partition: int = 1) -> Action:
    return Action.hole(topic, partition, first, end, **BY)


def test_a_hole_is_kept_as_it_is_on_the_wire() -> None:
    action = hole(2, 5)
    assert json.loads(action.to_json()) == {
        "id": action.id,
        "kind": "hole",
        "topic": "votes.v1",
        "partition": 1,
        "from": 2,
        "to": 5,
        **BY,
    }
    assert Action.from_json(action.to_json()) == action
    assert action.what == "votes.v1/1 without offsets 2 … 4"


def test_a_flood_is_kept_as_it_is_on_the_wire() -> None:
    action = Action.flood(**BY)
    assert json.loads(action.to_json()) == {"id": action.id, "kind": "dead_letters", **BY}
    assert Action.from_json(action.to_json()) == action


def test_a_hold_ends_with_the_first_acceptance_behind_it() -> None:
    early, hold, late = (
        Action.flood(**{**BY, "at": 1}),
        Action.hold(who="score", at=2, why="too many"),
        Action.flood(**{**BY, "at": 3}),
    )
    assert Action.from_json(hold.to_json()) == hold
    assert not hold.accepts
    assert open_hold([]) is None
    assert open_hold([early]) is None
    assert open_hold([early, hold, hole(2, 5)]) == hold
    assert open_hold([early, hold, late]) is None
    assert acceptance([early, hold, hole(2, 5)], hold) is None
    assert acceptance([early, hold, late, early], hold) == late


def test_accepting_again_does_not_overwrite_who_accepted_first() -> None:
    again = Action.hole("votes.v1", 1, 2, 5, **{**BY, "who": "bob@desk"})
    assert len({hole(2, 5).id, again.id, hole(2, 6).id, Action.flood(**BY).id}) == 4


@pytest.mark.parametrize("value", [None, b"", b"no json", b'{"id": "x", "kind": "silence"}'])
def test_actions_of_other_kinds_are_passed_over(value: bytes | None) -> None:
    assert Action.from_json(value) is None


@pytest.mark.parametrize(
    ("holes", "covered"),
    [
        ([hole(2, 5)], True),
        ([hole(0, 100)], True),
        ([hole(4, 9), hole(2, 4)], True),
        ([hole(2, 4)], False),
        ([hole(3, 5)], False),
        ([hole(2, 3), hole(4, 5)], False),
        ([hole(2, 5, partition=2)], False),
        ([hole(2, 5, topic="texts.news.v1")], False),
        ([Action.flood(**BY)], False),
        ([], False),
    ],
)
def test_a_hole_is_passed_only_if_all_of_it_was_accepted(
    holes: list[Action], covered: bool
) -> None:
    assert bool(accepted_hole(holes, "votes.v1", 1, 2, 5)) == covered
