"""Sentences of company reports and company news, made from templates of ours.

The labelled sets hold headlines and tweets, few sentences of reports, and no news about a company
that a dictionary lacks. `statements.toml` makes some: figures that rise and fall, good and bad
news, and facts that say nothing about how a company does. Names are invented, and most are not
marked as a target. As with contrast pairs, whole templates are held out.
"""

import random
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from models.data.contrast import SLOT, held_out
from models.data.names import invented
from models.data.reading import Draft
from models.data.sets import STATEMENTS
from models.data.table import Split
from streams.core.errors import ConfigurationError
from streams.core.labels import SENTIMENTS
from streams.core.text import normalise, occurrences

TEMPLATES: Final = Path(__file__).with_name("statements.toml")

INSTANCES: Final = 12
"""Texts made from each template."""
MARKED_SHARE: Final = 0.3
"""Share of the texts with a company in which it is marked as the target."""

_MONEY: Final = (
    "EUR {} mn", "EUR{}mn", "€{} million", "${} million", "USD {} mn", "{} million euros", "£{}m",
    "SEK {} mn", "${}m", "Rs {} crore", "{} billion yen", "CHF {} million",
)  # fmt: skip
_PER_SHARE: Final = ("EUR {}", "${}", "€{}", "{} euros", "SEK {}")
_NUMBERS: Final = {"more", "less", "high", "low", "year", "before"}


def statement_drafts(path: Path = TEMPLATES) -> list[Draft]:
    """Return the instances of all templates; the same templates give the same rows.

    The document is `template/number`.

    Raises:
        ConfigurationError: a template with an unknown slot or label.
    """
    book = tomllib.loads(path.read_text(encoding="utf-8"))
    for name, template in book["template"].items():
        _check(name, template, book["fill"])
    apart = held_out({name: (one["label"],) for name, one in book["template"].items()})
    drafts: dict[str, Draft] = {}
    for name, template in book["template"].items():
        split: Split = "valid" if name in apart else "train"
        for number in range(INSTANCES):
            draft = _instance(name, number, template, book["fill"], split)
            drafts.setdefault(draft.text, draft)
    return list(drafts.values())


def _instance(
    name: str,
    number: int,
    template: Mapping[str, str],
    fill: Mapping[str, Sequence[str]],
    split: Split,
) -> Draft:
    doc = f"{name}/{number}"
    rng = random.Random(f"statements/{doc}")
    company = invented(rng)
    slots = {"A": company, **_numbers(rng)}
    slots |= {key: rng.choice(values) for key, values in fill.items()}
    text = normalise(template["text"].format_map(slots))
    text = text[0].upper() + text[1:]
    spans = tuple(occurrences(text, company)) if "{A}" in template["text"] else ()
    marked = bool(spans) and rng.random() < MARKED_SHARE
    return Draft(
        info=STATEMENTS,
        channel="news",
        doc=doc,
        text=text,
        entity=company if marked else None,
        target=spans if marked else (),
        others=(),
        label=template["label"],
        split=split,
        family=name,
    )


def _numbers(rng: random.Random) -> dict[str, str]:
    """Return amounts of which the first of a pair is the larger, and years in a row."""
    money, share = rng.choice(_MONEY), rng.choice(_PER_SHARE)
    more, high = rng.uniform(1.5, 20) ** 2.2, rng.uniform(0.12, 4)
    year = rng.randrange(2003, 2027)
    return {
        "more": money.format(f"{more:.1f}"),
        "less": money.format(f"{more * rng.uniform(0.3, 0.93):.1f}"),
        "high": share.format(f"{high:.2f}"),
        "low": share.format(f"{high * rng.uniform(0.3, 0.9):.2f}"),
        "year": str(year),
        "before": str(year - 1),
    }


def _check(name: str, template: Mapping[str, str], fill: Mapping[str, Any]) -> None:
    unknown = set(SLOT.findall(template["text"])) - fill.keys() - _NUMBERS - {"A"}
    if unknown:
        raise ConfigurationError(f"statement template {name}: unknown slots {sorted(unknown)}")
    if template["label"] not in SENTIMENTS:
        raise ConfigurationError(f"statement template {name}: label {template['label']!r}")
