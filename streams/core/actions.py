"""What an operator has decided, and what waits for that, as it stands on actions.v1 (key = id)."""

import itertools
from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.core.ids import make_id


class Action(BaseModel):
    """An accepted loss, with who has looked at it, when and why it may be passed; or a hold."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    id: str
    kind: Literal["hole", "held", "dead_letters"]
    """`held` opens a hold for dead letters, `dead_letters` ends those before it"""
    topic: str | None = None
    """of a hole, without the prefix"""
    partition: int | None = None
    first: int | None = Field(None, alias="from")
    """first offset of a hole"""
    end: int | None = Field(None, alias="to")
    """first offset behind it"""
    who: str
    at: int
    """milliseconds since the epoch"""
    why: str

    @classmethod
    def hole(
        cls, topic: str, partition: int, first: int, end: int, *, who: str, at: int, why: str
    ) -> Self:
        """Accept that the records [first, end) of a partition are lost."""
        place = ("hole", topic, str(partition), str(first), str(end))
        return cls(
            id=make_id(*place, who, str(at)),
            kind="hole",
            topic=topic,
            partition=partition,
            first=first,
            end=end,
            who=who,
            at=at,
            why=why,
        )

    @classmethod
    def flood(cls, *, who: str, at: int, why: str) -> Self:
        """Accept the flood of dead letters for which score holds."""
        id_ = make_id("dead_letters", who, str(at))
        return cls(id=id_, kind="dead_letters", who=who, at=at, why=why)

    @classmethod
    def hold(cls, *, who: str, at: int, why: str) -> Self:
        """Say that score holds for a flood of dead letters."""
        return cls(id=make_id("held", who, str(at)), kind="held", who=who, at=at, why=why)

    @property
    def accepts(self) -> bool:
        """Whether it accepts something; a hold only asks for that."""
        return self.kind != "held"

    @property
    def what(self) -> str:
        """What was accepted, in words."""
        if self.kind == "dead_letters":
            return "a flood of dead letters"
        last = (self.end or 0) - 1
        return f"{self.topic}/{self.partition} without offsets {self.first} … {last}"

    def to_json(self) -> bytes:
        """Return the value of its record."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()

    @classmethod
    def from_json(cls, value: bytes | None) -> Self | None:
        """Read a record's value; None if it is of a kind that is not known here."""
        try:
            return cls.model_validate_json(value or b"")
        except ValidationError:
            return None


def open_hold(actions: Iterable[Action]) -> Action | None:
    """Return the last hold for dead letters, unless one was accepted behind it."""
    hold = None
    for action in actions:
        if action.kind != "hole":
            hold = action if action.kind == "held" else None
    return hold


def acceptance(actions: Iterable[Action], hold: Action) -> Action | None:
    """Return the acceptance of dead letters that stands behind a hold, if there is one."""
    behind = itertools.dropwhile(lambda action: action.id != hold.id, actions)
    return next((action for action in behind if action.kind == "dead_letters"), None)


def accepted_hole(
    actions: Iterable[Action], topic: str, partition: int, first: int, end: int
) -> list[Action]:
    """Return accepted holes that together cover [first, end) of a partition, or none."""
    used = []
    holes = [
        (action.first, action.end, action)
        for action in actions
        if action.kind == "hole"
        and (action.topic, action.partition) == (topic, partition)
        and action.first is not None
        and action.end is not None
    ]
    for start, stop, action in sorted(holes, key=lambda hole: hole[:2]):
        if start <= first < stop:
            used.append(action)
            first = stop
    return used if first >= end else []
