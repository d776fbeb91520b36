"""From the files of the sets to one table: read, grouped, split, checked for leaks, written."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.data import contrast, statements
from models.data.duplicates import THRESHOLD, groups, leaks, near_duplicates
from models.data.reading import Draft, read_set, unit
from models.data.sets import CONTRAST, SETS, STATEMENTS, SetInfo
from models.data.table import (
    MANIFEST,
    VERSION,
    Split,
    TableRow,
    Task,
    checksum,
    row_id,
    write_table,
)
from streams.core.entities import SHIPPED
from streams.core.errors import ConfigurationError, ContractError

TRAIN_SHARE: Final = 0.7
VALID_SHARE: Final = 0.15
"""Shares of the groups of sets without a split of their own; the rest is test."""

_STRICTEST: Final[tuple[Split, ...]] = ("test", "valid", "train")
_NEAR: Final = "near-duplicate of a text held out"

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much it is."""

_Document = tuple[str, str]
"""Set and document."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a document stands; without a split it is dropped."""

    group: str
    split: Split | None


def prepare(
    source: Path,
    out: Path,
    *,
    all_licences: bool = False,
    languages: Collection[str] = ("en",),
    on_progress: OnProgress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Write `table.jsonl.gz` and `manifest.json`; return the manifest.

    The same files give the same bytes. Documents that are nearly equal share a group and stand
    in one split. A set's own split is kept, but where a group would stand in two, what is held
    out stays (test before valid before train) and the rest of the group is dropped and counted.
    Groups without a given split are split by a hash of their name.

    Args:
        source: Folder of the sets' files. Sets that may not train can be missing.
        out: Folder of the result; made where it is missing.
        all_licences: Split the sets whose licence forbids commercial use like the others, so that
            they train. Otherwise all their rows are test.
        languages: Languages of the sets to read, such as `en`.
        on_progress: Called many times a second.

    Raises:
        ConfigurationError: an unknown language, or a set that is missing or not of its form.
        ContractError: the leak check found near-duplicates in two splits; nothing was written.
    """
    infos = [info for info in SETS.values() if info.lang in languages]
    if unknown := set(languages) - {info.lang for info in SETS.values()}:
        raise ConfigurationError(f"no set is in {', '.join(sorted(unknown))}; known: en, zh")
    drafts, sets = _read(source, infos, all_licences, on_progress)
    if "en" in languages:
        drafts += contrast.contrast_drafts() + statements.statement_drafts()
        sets[CONTRAST.name] = _entry(CONTRAST, contrast.TEMPLATES, {}, trains=True)
        sets[STATEMENTS.name] = _entry(STATEMENTS, statements.TEMPLATES, {}, trains=True)
    places: dict[_Document, _Place] = {}
    duplicates: dict[str, dict[str, int]] = {}
    leak_check = {"threshold": THRESHOLD, "texts": 0, "pairs": 0}
    for task in sorted({draft.info.task for draft in drafts}):
        of_task = [draft for draft in drafts if draft.info.task == task]
        placed, duplicates[task] = _place(task, of_task, all_licences, on_progress)
        places |= placed
        compared, found = _leaks(task, of_task, placed, on_progress)
        leak_check["texts"] += compared
        leak_check["pairs"] += found
    if leak_check["pairs"]:
        raise ContractError(
            f"{leak_check['pairs']} near-duplicates stand in two splits; nothing was written"
        )
    rows = _rows(drafts, places, sets)
    out.mkdir(parents=True, exist_ok=True)
    manifest = {
        "version": VERSION,
        "languages": sorted(languages),
        "all_licences": all_licences,
        "may_be_given_away": all(row.permissive for row in rows if row.split != "test"),
        "rows": len(rows),
        "table_sha256": write_table(out, rows),
        "dictionaries_sha256": [checksum(path) for path in SHIPPED],
        "sets": sets,
        "near_duplicates": {"threshold": THRESHOLD, **duplicates},
        "leak_check": leak_check,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True)
    (out / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def _read(
    source: Path, infos: Sequence[SetInfo], all_licences: bool, on_progress: OnProgress
) -> tuple[list[Draft], dict[str, dict[str, Any]]]:
    drafts: list[Draft] = []
    sets: dict[str, dict[str, Any]] = {}
    for done, info in enumerate(infos):
        on_progress("reading", done, len(infos))
        path = source / info.file
        if not info.permissive and not path.is_file():
            continue
        of_set, dropped = read_set(path, info)
        drafts += of_set
        sets[info.name] = _entry(info, path, dropped, trains=info.permissive or all_licences)
    on_progress("reading", len(infos), len(infos))
    return drafts, sets


def _entry(info: SetInfo, path: Path, dropped: dict[str, int], *, trains: bool) -> dict[str, Any]:
    return {
        "file": path.name,
        "sha256": checksum(path),
        "title": info.title,
        "attribution": info.attribution,
        "licence": info.licence,
        "permissive": info.permissive,
        "use": "training and evaluation" if trains else "evaluation only: never trains",
        "task": info.task,
        "lang": info.lang,
        "rows": 0,
        "dropped": dropped,
        "splits": {},
    }


def _given(draft: Draft, all_licences: bool) -> Split | None:
    """Return the split that a draft brings along, if any."""
    return "test" if not (draft.info.permissive or all_licences) else draft.split


def _place(
    task: Task, drafts: Sequence[Draft], all_licences: bool, on_progress: OnProgress
) -> tuple[dict[_Document, _Place], dict[str, int]]:
    documents = {(draft.info.name, draft.doc): draft for draft in drafts}
    names = sorted(documents)
    ordered = [documents[name] for name in names]
    pairs = near_duplicates(
        [draft.text for draft in ordered],
        lambda done: on_progress(f"near-duplicates: {task}", done, len(ordered)),
    )
    families: dict[tuple[str, str], int] = {}
    kin = [
        (at, families.setdefault((draft.info.name, draft.family), at))
        for at, draft in enumerate(ordered)
        if draft.family is not None
    ]
    heads = groups(len(ordered), [*pairs, *kin])
    given = [_given(draft, all_licences) for draft in ordered]
    splits: dict[int, set[Split]] = {}
    for head, split in zip(heads, given, strict=True):
        splits.setdefault(head, set()).update({split} if split else ())
    placed: dict[_Document, _Place] = {}
    for name, head, own in zip(names, heads, given, strict=True):
        group = hashlib.blake2b(json.dumps(names[head]).encode(), digest_size=8).hexdigest()
        split = next((s for s in _STRICTEST if s in splits[head]), None) or _drawn(group)
        placed[name] = _Place(group, split if own in (None, split) else None)
    sizes = Counter(heads)
    return placed, {
        "texts": len(ordered),
        "pairs": len(pairs),
        "groups": len(sizes),
        "groups_of_several": sum(size > 1 for size in sizes.values()),
        "largest_group": max(sizes.values()),
    }


def _drawn(group: str) -> Split:
    chance = unit(f"split/{group}")
    if chance < TRAIN_SHARE:
        return "train"
    return "valid" if chance < TRAIN_SHARE + VALID_SHARE else "test"


def _leaks(
    task: Task,
    drafts: Sequence[Draft],
    placed: dict[_Document, _Place],
    on_progress: OnProgress,
) -> tuple[int, int]:
    """Return how many texts stand in a split, and how many pairs of them leak."""
    kept = {(draft.text, placed[draft.info.name, draft.doc].split) for draft in drafts}
    texts = sorted((text, split) for text, split in kept if split is not None)
    found = leaks(
        [text for text, _ in texts],
        [split for _, split in texts],
        lambda done, total: on_progress(f"leak check: {task}", done, total),
    )
    return len(texts), len(found)


def _rows(
    drafts: Sequence[Draft], places: dict[_Document, _Place], sets: dict[str, dict[str, Any]]
) -> list[TableRow]:
    """Return the rows in the order of their ids, and count them in the sets' entries."""
    rows: list[TableRow] = []
    for draft in drafts:
        info = draft.info
        entry = sets[info.name]
        place = places[info.name, draft.doc]
        if place.split is None:
            entry["dropped"][_NEAR] = entry["dropped"].get(_NEAR, 0) + 1
            continue
        entry["rows"] += 1
        counts = entry["splits"].setdefault(place.split, {})
        counts[draft.label] = counts.get(draft.label, 0) + 1
        rows.append(
            TableRow(
                id=row_id(info.name, draft.doc, draft.entity),
                source=info.name,
                licence=info.licence,
                permissive=info.permissive,
                channel=draft.channel,
                lang=info.lang,
                task=info.task,
                text=draft.text,
                entity=draft.entity,
                target=draft.target,
                others=draft.others,
                label=draft.label,
                doc=draft.doc,
                group=place.group,
                split=place.split,
                agreement=draft.agreement,
            )
        )
    return sorted(rows, key=lambda row: row.id)
