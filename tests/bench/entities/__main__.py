"""How well companies are linked: precision and recall per kind of mention.

    python -m tests.bench.entities --data ../shared/data

Half of the texts of every source (by a hash of the text) served for improving the dictionaries and
rules; figures are of the other half. `--write` puts the tables into docs/entities.md; `--half
tuned` measures the half that was tuned on, `--sheet FILE` writes the links that nobody has read
yet, with their texts, for judging outside the repository.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from streams.core.entities import EntityIndex
from streams.core.text import normalise
from tests.bench.entities import headlines, labelled, tweets
from tests.bench.entities.judgements import Judgements, write_sheet
from tests.bench.entities.register import Register
from tests.bench.entities.report import BEGIN, END, Measured, render
from tests.support.page import write_between

PAGE: Final = Path(__file__).parents[3] / "docs" / "entities.md"
_TIMED: Final = 10_000


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--half", choices=("held-out", "tuned"), default="held-out")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/entities.md")
    parser.add_argument("--sheet", type=Path, help="write the links to judge, with texts, here")
    arguments = parser.parse_args()
    if arguments.write and arguments.half == "tuned":
        parser.error("--write needs the held-out half")
    console = Console(stderr=True)
    register, judgements = Register(arguments.data), Judgements()
    held_out = arguments.half == "held-out"
    sets: dict[str, labelled.Result] = {}
    for name in labelled.SETS:
        console.print(f"reading {name}")
        sets[name] = labelled.measure(arguments.data, name, register, judgements, held_out=held_out)
    console.print("reading the headlines")
    news = headlines.measure(arguments.data, register, judgements, held_out=held_out)
    console.print("reading the tweets (a minute)")
    social = tweets.measure(arguments.data, register, judgements, held_out=held_out)
    load_s, link_us = _speed(arguments.data)
    tables = render(Measured(sets, news, social, load_s, link_us))
    sys.stdout.write(tables)
    if arguments.sheet:
        unread = [case for result in sets.values() for case in result.unread]
        count = write_sheet(arguments.sheet, [*unread, *news.unread, *social.unread])
        console.print(f"{count} links to read in {arguments.sheet}")
    if arguments.write:
        write_between(PAGE, BEGIN, END, tables)
        console.print(f"wrote {PAGE}")


def _speed(data: Path) -> tuple[float, float]:
    """Return the seconds of loading and the mean microseconds of a tweet, of processor time."""
    texts = [
        normalise(event["text"])
        for event, _ in zip(labelled.read_lines(data / tweets.REPLAY), range(_TIMED), strict=False)
    ]
    loads, links = [], []
    for _ in range(3):
        begin = time.process_time()
        index = EntityIndex.load()
        loads.append(time.process_time() - begin)
        begin = time.process_time()
        for text in texts:
            index.link(text)
        links.append(time.process_time() - begin)
    return min(loads), 1e6 * min(links) / len(texts)


if __name__ == "__main__":
    main()
