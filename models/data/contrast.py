"""Contrast pairs: texts that say different things about the companies they name.

The labelled sets hold few texts that judge two companies differently, so a model can do well on
them without looking at its target. The templates of `contrast.toml` make more of them, with
controls that judge both alike or neither. Templates, not instances, are split into train and
valid, so that what is measured is sentences of a form that training has not seen.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from models.data.reading import Draft, spans_of, unit
from models.data.sets import CONTRAST
from models.data.table import Split
from streams.core.errors import ConfigurationError
from streams.core.labels import SENTIMENTS
from streams.core.text import normalise

TEMPLATES: Final = Path(__file__).parent / "contrast.toml"

INSTANCES: Final = 8
"""Texts made from each template."""
VALID_SHARE: Final = 0.3
"""Share of the templates that are held out."""
UNLINKED_SHARE: Final = 0.25
"""Share of the texts in which only the target is marked, as where a dictionary lacks the others."""

SLOT: Final = re.compile(r"\{(\w+)\}")
"""A slot of a template."""

_ROLES = ("A", "B", "C")


def contrast_drafts(path: Path = TEMPLATES) -> list[Draft]:
    """Return the instances of all templates; the same templates give the same rows.

    The document is `template/number`; rows of one document differ in their target only.

    Raises:
        ConfigurationError: a template with an unknown slot, label or channel.
    """
    book = tomllib.loads(path.read_text(encoding="utf-8"))
    for name, template in book["template"].items():
        _check(name, template, book["fill"])
    apart = held_out(
        {
            name: [template[role] for role in _ROLES if role in template]
            for name, template in book["template"].items()
        }
    )
    drafts: list[Draft] = []
    for name, template in book["template"].items():
        split: Split = "valid" if name in apart else "train"
        for number in range(INSTANCES):
            drafts += _instance(f"{name}/{number}", template, book, name, split)
    return drafts


def held_out(labels: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the templates of the valid split: `VALID_SHARE` of each combination of labels.

    Args:
        labels: By template, what its text says about its companies.
    """
    kinds: dict[frozenset[str], list[str]] = {}
    for name, given in labels.items():
        kinds.setdefault(frozenset(given), []).append(name)
    chosen: set[str] = set()
    for names in kinds.values():
        names.sort(key=lambda name: unit(f"contrast/{name}"))
        chosen.update(names[: round(VALID_SHARE * len(names))])
    return chosen


def _instance(
    doc: str, template: Mapping[str, str], book: Mapping[str, Any], family: str, split: Split
) -> list[Draft]:
    left = list(book["names"]["companies"])
    chosen = {role: left.pop(_draw(f"{doc}/{role}", left)) for role in _ROLES if role in template}
    slots = {key: values[_draw(f"{doc}/{key}", values)] for key, values in book["fill"].items()}
    for role, (company, symbol) in chosen.items():
        slots |= {role: company, role.lower(): f"${symbol}"}
    text = normalise(template["text"].format_map(slots))
    text = text[0].upper() + text[1:]
    names = {role: (company, f"${symbol}") for role, (company, symbol) in chosen.items()}
    found = spans_of(text, [name for both in names.values() for name in both])
    spans = {r: [s for name in both for s in found.get(name, ())] for r, both in names.items()}
    linked = unit(f"{doc}/linked") >= UNLINKED_SHARE
    return [
        Draft(
            info=CONTRAST,
            channel="social" if template["channel"] == "social" else "news",
            doc=doc,
            text=text,
            entity=company,
            target=tuple(sorted(spans[role])),
            others=tuple(sorted(s for r in chosen if r != role for s in spans[r] if linked)),
            label=template[role],
            split=split,
            family=family,
        )
        for role, (company, _) in chosen.items()
    ]


def _draw(key: str, choices: Sequence[object]) -> int:
    return int(unit(f"contrast/{key}") * len(choices))


def _check(name: str, template: Mapping[str, str], fill: Mapping[str, Any]) -> None:
    roles = {role for role in _ROLES if role in template}
    slots = set(SLOT.findall(template["text"]))
    if unknown := slots - fill.keys() - roles - {role.lower() for role in roles}:
        raise ConfigurationError(f"contrast template {name}: unknown slots {sorted(unknown)}")
    if {slot.upper() for slot in slots & {*_ROLES, "a", "b", "c"}} != roles:
        raise ConfigurationError(f"contrast template {name}: slots and labels do not agree")
    if template["channel"] not in ("news", "social"):
        raise ConfigurationError(f"contrast template {name}: channel {template['channel']!r}")
    if wrong := {template[role] for role in roles} - set(SENTIMENTS):
        raise ConfigurationError(f"contrast template {name}: labels {sorted(wrong)}")
