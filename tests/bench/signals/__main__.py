"""What the signals are worth on a replay. Prints figures only, no texts.

    python -m tests.bench.signals --votes FILE --prices FILE [--picture FILE] [--write]

FILE: votes as score writes them (JSON lines, gzip; `python -m tests.bench.replay_votes` makes
them), and daily prices (CSV, gzip) with the columns date, ticker, open, high, low, close,
adj_close, volume.
"""

import argparse
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from streams.core.feed import feed_at
from streams.core.records import WindowValues
from streams.core.stories import Story
from streams.core.sums import Sums
from tests.bench.signals.coverage import Population
from tests.bench.signals.picture import Point, draw
from tests.bench.signals.replay import Desk, abnormal_moves, votes
from tests.bench.signals.report import BEGIN, END, LEAST_MOVE, PAGE, Direction, Measured, markdown
from tests.support.page import write_between

CLOSE_MINUTE = 21 * 60 - 1
"""The exchange closes at 20:00 or 21:00 UTC."""
SHOWN = ("--votes FILE", "--prices FILE", "--picture docs/rumour.png", "--write")
RUMOUR = ("2014-05-20", "2014-05-24", ("ticker:AMZN", "ticker:GRPN"))


def minute_of(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) // 60


def main() -> None:
    """Fold the replay and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--prices", type=Path, required=True)
    parser.add_argument("--picture", type=Path, help="PNG of the rumour; needs matplotlib (train)")
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    given = parser.parse_args()

    moves = abnormal_moves(given.prices, LEAST_MOVE)
    desk, said = Desk(), {"tickers": Sums(), "market": Sums()}
    directions: list[Direction] = []
    populations: dict[tuple[str, int], Population] = {}
    points: dict[str, list[Point]] = defaultdict(list)
    verdicts: dict[tuple[str, int], tuple[str, Story]] = {}
    first, last = (minute_of(day) for day in RUMOUR[:2])
    hour, number, model = 0, -1, ""
    for number, vote in enumerate(votes(given.votes)):
        for at in range(hour or vote.minute // 60, vote.minute // 60):
            _hour(desk, at * 60 + 59, moves, directions, points, (first, last))
        hour, model = vote.minute // 60, vote.model
        subject, weight, new = desk.take(vote)
        group = said["market" if vote.subject == "market" else "tickers"]
        group.texts += 1
        group.stories += new
        day = (vote.subject, vote.minute // 1440)
        population = populations.setdefault(day, Population(vote.subject))
        population.texts.append((weight, vote.score))
        population.stories += new
        leader = subject.stories.join(int(vote.fingerprint, 16), vote.minute)
        spread = subject.stories.spread(leader)
        if spread.copies >= subject.stories.spread(desk.largest.get(vote.subject, 0)).copies:
            desk.largest[vote.subject] = leader
        if spread.copies >= 20:
            verdicts[vote.subject, leader] = spread.verdict, subject.stories.of(leader)
        if number % 20_000 == 0:
            print(f"... {number} votes", flush=True)

    measured = Measured(
        command=f"python -m tests.bench.signals {' '.join(SHOWN)}",
        model=model,
        votes=number + 1,
        said=said,
        verdicts=list(verdicts.items()),
        points=points,
        directions=directions,
        populations=list(populations.values()),
    )
    page = markdown(measured)
    print(page)
    if given.write:
        write_between(PAGE, BEGIN, END, page)
    if given.picture:
        draw(points, given.picture)


def _hour(
    desk: Desk,
    minute: int,
    moves: dict[tuple[int, str], float],
    directions: list[Direction],
    points: dict[str, list[Point]],
    rumour: tuple[int, int],
) -> None:
    day = minute // 1440
    if rumour[0] <= minute < rumour[1]:
        for name in RUMOUR[2]:
            values = _values(desk, name, minute)
            if values is not None:
                spread = desk.subjects[name].stories.spread(desk.largest[name])
                points[name].append(Point(minute, values, spread.copies, spread.verdict))
    if minute % 1440 == CLOSE_MINUTE:
        for (of, symbol), move in moves.items():
            if of != day or f"ticker:{symbol}" not in desk.subjects:
                continue
            values = _values(desk, f"ticker:{symbol}", minute)
            if values is None or values.index is None or values.baseline is None:
                continue
            assert values.low is not None
            assert values.high is not None
            whole = not values.low <= values.baseline <= values.high
            directions.append(
                Direction(move, values.stories, values.index - values.baseline, whole)
            )


def _values(desk: Desk, name: str, minute: int) -> WindowValues | None:
    subject = desk.subjects.get(name)
    if subject is None:
        return None
    return subject.values(minute, feed_at(desk.days, minute))["24h"]


if __name__ == "__main__":
    main()
