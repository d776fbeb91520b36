"""The teacher's soft labels on labelled texts and on unlabelled tweets, resumable.

Answers are written in shards as they come; a run that is started again goes on after the last whole
shard. The result is one small file without any text (`models.training.soft`).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from models.data.table import checksum, read_manifest, read_table
from models.network import WEIGHTS, Opinion, load_network
from models.training.config import CONFIG, Data, RunConfig, read_config
from models.training.examples import Collate, Example, Examples, examples
from models.training.soft import SoftLabels
from models.training.tweets import choose_tweets, read_tweets
from streams.core.errors import ConfigurationError

SOFT: Final = "soft.npz"
SHARD: Final = 2048
"""Examples of one shard: about a minute of mpnet on two cores."""
BATCH: Final = 64

_PLAN: Final = "plan.json"
_TEXTS: Final = "tweets.json"
_HEADS: Final = ("sentiment", "topic")

OnProgress = Callable[[str, int, int], None]


def soften(
    teacher: Path,
    data: Path,
    out: Path,
    *,
    replay: Path | None = None,
    tweets: int = 0,
    on_progress: OnProgress = lambda what, done, total: None,
) -> SoftLabels:
    """Write and return the teacher's logits for all training examples and for tweets.

    Documents without role tokens are labelled too, whatever share of them a run uses.

    Args:
        teacher: Run folder.
        data: Folder of the table.
        out: Folder of the result; a started one is gone on with.
        replay: File of tweets; without it, only the table is labelled.
        tweets: How many of them.
        on_progress: Called with what is being done, how much of it is done, and how much it is.

    Raises:
        ConfigurationError: something is missing, or `out` was started with another teacher, table
            or replay file.
    """
    network, tokenizer = load_network(teacher)
    config = read_config(teacher / CONFIG)
    plan = {
        "teacher": checksum(teacher / WEIGHTS),
        "table": read_manifest(data)["table_sha256"],
        "replay": checksum(replay) if replay else "",
        "tweets": tweets if replay else 0,
        "shard": SHARD,
    }
    out.mkdir(parents=True, exist_ok=True)
    _agree(out / _PLAN, plan)
    given = _examples(data, out, replay, tweets, on_progress)
    # Long texts together: little padding. The order depends on the plan alone, so shards fit.
    given.sort(key=lambda one: (-len(one.text), one.id))
    answers = []
    for start in range(0, len(given), SHARD):
        shard = out / f"shard-{start // SHARD:04}.npz"
        part = given[start : start + SHARD]
        if not shard.is_file():
            data_set = Examples(part, tokenizer, config.model_copy(update={"distillation": None}))
            _write_shard(shard, part, _logits(network, data_set, tokenizer.pad_token_id, config))
        with np.load(shard, allow_pickle=False) as file:
            answers.append({name: file[name] for name in ("ids", *_HEADS)})
        on_progress("labelling", min(start + SHARD, len(given)), len(given))
    soft = SoftLabels(
        **{name: np.concatenate([part[name] for part in answers]) for name in ("ids", *_HEADS)},
        teacher=plan["teacher"],
        table=plan["table"],
        replay=plan["replay"],
    )
    soft.save(out / SOFT)
    return soft


def _agree(path: Path, plan: dict[str, Any]) -> None:
    if path.is_file():
        started = json.loads(path.read_text(encoding="utf-8"))
        other = sorted(name for name in plan if started.get(name) != plan[name])
        if other:
            raise ConfigurationError(
                f"{path.parent} was started with another {', '.join(other)}: give another --out"
            )
    path.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")


def _examples(
    data: Path, out: Path, replay: Path | None, tweets: int, on_progress: OnProgress
) -> list[Example]:
    rows = list(read_table(data))
    given = examples(rows, "train", Data(plain=1.0))
    if replay and tweets:
        chosen = out / _TEXTS
        ids: set[str]
        found = {tweet.id: tweet for tweet in read_tweets(replay)}
        if chosen.is_file():
            ids = set(json.loads(chosen.read_text(encoding="utf-8")))
        else:
            held_out = sorted({row.text for row in rows if row.split != "train"})
            picked = choose_tweets(found.values(), held_out, tweets, on_progress)
            ids = {tweet.id for tweet in picked}
            chosen.write_text(json.dumps(sorted(ids)) + "\n", encoding="utf-8")
        given += [tweet.example() for name, tweet in found.items() if name in ids]
    return given


@torch.inference_mode()
def _logits(
    network: Opinion, data_set: Examples, pad: int, config: RunConfig
) -> tuple[np.ndarray[Any, Any], ...]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)
    collate = Collate(pad)
    parts: tuple[list[Any], list[Any]] = ([], [])
    for start in range(0, len(data_set), BATCH):
        items = [data_set[i] for i in range(start, min(start + BATCH, len(data_set)))]
        batch = collate(items)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
            guesses = network(batch["input_ids"].to(device), batch["attention_mask"].to(device))
        for part, guess in zip(parts, guesses, strict=True):
            part.append(guess.float().cpu().numpy().astype(np.float16))
    return tuple(np.concatenate(part) for part in parts)


def _write_shard(
    path: Path, part: Sequence[Example], logits: tuple[np.ndarray[Any, Any], ...]
) -> None:
    unfinished = path.with_suffix(".new.npz")
    np.savez(
        unfinished,
        ids=np.array([one.id for one in part]),
        **dict(zip(_HEADS, logits, strict=True)),
    )
    unfinished.replace(path)
