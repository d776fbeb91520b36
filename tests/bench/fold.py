"""What the fold alone does: votes per second on one core, and bytes per subject and hour as sent.

    python -m tests.bench.fold [--votes FILE] [--count N] [--hot N] [--rate N]

No broker. Two loads: the mix of subjects of a file of votes (JSON lines, gzip or not) or of a drawn
one, and everything on `market` at a steady rate, each text a story of its own but for every third.
Each batch is applied, its outputs and rows are made as bytes, and every row's size is looked at.
"""

import argparse
import gc
import gzip
import resource
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from streams.core.fold import Fold
from streams.core.ids import make_id
from streams.core.records import Kind, Origin
from streams.core.votes import Marker, Vote
from streams.worker import load_rules

SOURCE = "texts.social.v1/0"
BEGIN = 1_760_000_040_000
MINUTE_MS = 60_000
BATCH = 2_000
LATENESS_MS = 60_000


@dataclass
class Cost:
    """What a load cost."""

    votes: int = 0
    seconds: float = 0.0
    windows: int = 0
    outputs: int = 0
    rows: int = 0
    largest: int = 0
    subject_hours: int = 0

    def report(self, name: str) -> str:
        hours = max(self.subject_hours, 1)
        return (
            f"{name}: {self.votes} votes in {self.seconds:.1f} s of CPU, "
            f"{self.votes / self.seconds:,.0f} a second, "
            f"{1000 * self.seconds / self.votes:.3f} ms a vote; {self.windows} windows, "
            f"{1000 * self.seconds / max(self.windows, 1):.3f} ms a window\n"
            f"  per subject and hour with votes: windows and alerts {self.outputs / hours:,.0f} B, "
            f"rows {self.rows / hours:,.0f} B; largest row {self.largest:,} B; "
            f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB"
        )


def measure(votes: Iterable[tuple[int, bytes]]) -> Cost:
    """Fold votes (event time, record) in batches, each with its marker."""
    fold = Fold(0, 1, LATENESS_MS)
    fold.adopt(load_rules(None))
    cost, seen, offset = Cost(), set(), 0
    left = iter(votes)
    while batch := list(islice(left, BATCH)):
        reached = max(at for at, _ in batch)
        marker = Marker(1, {SOURCE: (reached, None)}, (SOURCE,)).to_json()
        began = time.process_time()
        for _, record in batch:
            fold.apply(offset, 0, Kind.VOTE, record, 0)
            offset += 1
        fold.apply(offset, 0, Kind.MARKER, marker, 0)
        offset += 1
        emitted, rows = fold.take()
        sent = [r.model_dump_json().encode() for r in (*emitted.windows, *emitted.alerts)]
        cost.seconds += time.process_time() - began
        cost.votes += len(batch)
        cost.windows += len(emitted.windows)
        cost.outputs += sum(map(len, sent))
        sizes = [len(value) for value in rows.values() if value is not None]
        cost.rows += sum(sizes)
        cost.largest = max(cost.largest, *sizes)
        seen |= {(w.subject, w.minute // 60) for w in emitted.windows}
    cost.subject_hours = len(seen)
    return cost


def stored(path: Path, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield votes of a file in its order."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        for line in islice(file, count):
            yield orjson.loads(line)["event_time"], line


def drawn(count: int, rate: float, subjects: int) -> Iterator[tuple[int, bytes]]:
    """Yield votes at a rate a second over so many subjects; a third repeats the text before."""
    for number in range(count):
        at = BEGIN + round(number * 1000 / rate)
        story = make_id(str(number - (number % 3 == 2)))
        vote = Vote(
            id=make_id("vote", str(number)),
            text_id=make_id("text", str(number)),
            subject="market" if subjects == 1 else f"ticker:S{number % subjects}",
            event_time=at,
            channel="wire",
            score=number * 7919 % 2_000_001 - 1_000_000,
            label=number % 3,
            relevance=800_000,
            confidence=900_000,
            fingerprint=story[:16],
            author=make_id("author", str(number * 31 % 50_000))[:16],
            origin=Origin("texts.social.v1", 0, number),
            index=0,
            model="opinion/1",
            ingested_at=at + 5,
            scored_at=at + 9,
            snippet="A sentence of about the length of a message about a company. " * 2,
        )
        yield at, vote.to_json()


def main() -> None:
    """Measure both loads."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", type=Path, help="votes as JSON lines; drawn ones without it")
    parser.add_argument("--count", type=int, default=20_000, help="votes of the mix")
    parser.add_argument("--hot", type=int, default=240_000, help="votes on market")
    parser.add_argument("--rate", type=float, default=2_000, help="votes on market a second")
    given = parser.parse_args()
    gc.collect()
    mix = stored(given.votes, given.count) if given.votes else drawn(given.count, 0.05, 86)
    print(measure(mix).report("mix"))
    print(measure(drawn(given.hot, given.rate, 1)).report("market"))


if __name__ == "__main__":
    main()
