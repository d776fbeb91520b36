"""How well fingerprints find near copies, and what they cost. Prints figures only, no texts.

    python -m tests.bench.stories --texts FILE [--pairs N]

FILE: texts as producers send them (JSON lines, gzip). Within a day and company every pair of
different texts is compared: near copies are those whose sets of five-character runs have a Jaccard
similarity of at least 0.6; that is the truth that the fingerprints are held against.
"""

import argparse
import gzip
import random
import re
import time
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import orjson

from streams.core.fingerprint import PLACES, agreement, fingerprint
from streams.core.text import normalise

NEAR = 0.6
UNLIKE = 0.5
LENGTHS = ((1, 5), (6, 9), (10, 14), (15, 999))
_WORD = re.compile(r"[^\W_]+")


def main() -> None:
    """Compare the pairs and print precision and recall."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=100_000)
    given = parser.parse_args()
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    seconds, count = 0.0, 0
    sketches: dict[str, int] = {}
    with gzip.open(given.texts, "rb") as file:
        for line in file:
            record = orjson.loads(line)
            text = normalise(record["text"])
            story = " ".join(_WORD.findall(text.lower().replace("@user", " ")))
            began = time.process_time()
            sketches[story] = int(fingerprint(text), 16)
            seconds += time.process_time() - began
            count += 1
            for ticker in record.get("tickers", ()):
                groups[record["published_at"][:10], ticker].add(story)
    print(f"{count} texts, {1e6 * seconds / count:.0f} µs of CPU each")
    pairs = list(_pairs(groups, given.pairs, sketches))
    print(f"{len(pairs)} pairs, {sum(near >= NEAR for near, _, _ in pairs)} of them near copies")
    for agree in range(PLACES // 2, PLACES + 1):
        _report(f"{agree} of {PLACES} places", pairs, agree)
    for first, last in LENGTHS:
        of = [pair for pair in pairs if first <= pair[2] <= last]
        _report(f"6 of {PLACES} places, shorter text of {first} to {last} words", of, 6)


def _pairs(
    groups: dict[tuple[str, str], set[str]], most: int, sketches: dict[str, int]
) -> list[tuple[float, int, int]]:
    found: list[tuple[float, int, int]] = []
    draw = random.Random(1)
    keys = sorted(groups)
    draw.shuffle(keys)
    for key in keys:
        runs = {story: {story[i : i + 5] for i in range(max(len(story) - 4, 1))} for story in
                sorted(groups[key])[:300]}  # fmt: skip
        for one, other in combinations(runs, 2):
            common = len(runs[one] & runs[other])
            near = common / (len(runs[one]) + len(runs[other]) - common)
            words = min(one.count(" "), other.count(" ")) + 1
            found.append((near, agreement(sketches[one], sketches[other]), words))
        if len(found) >= most:
            break
    return found


def _report(name: str, pairs: list[tuple[float, int, int]], agree: int) -> None:
    said = [near for near, places, _ in pairs if places >= agree]
    right = sum(near >= NEAR for near in said)
    true = sum(near >= NEAR for near, _, _ in pairs)
    unlike = sum(near < UNLIKE for near in said)
    print(
        f"{name}: precision {right / max(len(said), 1):.3f}, recall {right / max(true, 1):.3f} "
        f"({len(said)} found, {true} near copies of {len(pairs)}); "
        f"{unlike / max(len(said), 1):.3f} of the found share less than {UNLIKE}"
    )


if __name__ == "__main__":
    main()
