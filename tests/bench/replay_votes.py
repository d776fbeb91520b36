"""Votes of a replay's texts, made by the scorer of the service: what the other benches fold.

    python -m tests.bench.replay_votes TEXTS --out VOTES [--model triton_repo/opinion/1]

TEXTS: JSON lines as for `tickertone replay`, gzip or not. VOTES: gzipped JSON lines, in the order
of the texts. What the model answered is kept in VOTES.cache, so a run that was stopped goes on, and
one with other dictionaries scores only the texts that look different to the model. It needs the
environment of the training side.
"""

import argparse
import asyncio
import gzip
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from models.predict import AsClassifier, CachedPredictor, open_model
from streams.core.entities import EntityIndex
from streams.core.topics import TEXTS_SOCIAL, VOTES
from streams.pipeline.score import Scorer
from streams.ports import Incoming
from streams.worker import SHIPPED

BATCH = 1024
NOW_MS = 1_700_000_000_000


def main() -> None:
    """Read the arguments, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="triton_repo/opinion/1", help="as `tickertone evaluate`")
    given = parser.parse_args()
    model = open_model(given.model)
    known = CachedPredictor(model, given.out.with_name(given.out.name + ".cache"), lambda _: None)
    scorer = Scorer(
        AsClassifier(known, model.name),
        EntityIndex.load(*SHIPPED),
        b"replay",
        cache_texts=0,
        lateness_ms=60_000,
        service="replay",
        now_ms=lambda: NOW_MS,
    )
    with (gzip.open if given.texts.suffix == ".gz" else open)(given.texts, "rb") as file:
        lines = file.read().splitlines()
    part = given.out.with_name(given.out.name + ".part")
    with gzip.open(part, "wb", 6) as out:
        for start in track(range(0, len(lines), BATCH), "scoring"):
            chunk = enumerate(lines[start : start + BATCH], start)
            for vote in scored(scorer, [incoming(offset, line) for offset, line in chunk]):
                out.write(vote + b"\n")
    part.rename(given.out)


def incoming(offset: int, line: bytes) -> Incoming:
    """Return a line as the record that a replay would have made of it."""
    return Incoming(TEXTS_SOCIAL, 0, offset, NOW_MS, None, line, {})


def scored(scorer: Scorer, records: Sequence[Incoming]) -> list[bytes]:
    """Return the votes of some texts."""
    result = asyncio.run(scorer.score(scorer.plan(records), records))
    return [sent.value for sent in result.outgoing if sent.topic == VOTES and sent.value]


if __name__ == "__main__":
    main()
