"""What the signals are worth on a replay. Prints figures only, no texts.

    python -m tests.bench.signals --votes FILE --prices FILE [--picture FILE]

FILE: votes as score writes them (JSON lines, gzip), and daily prices (CSV, gzip) with the columns
date, ticker, open, high, low, close, adj_close, volume.
"""

import argparse
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from streams.core.feed import feed_at
from streams.core.records import WindowValues
from streams.core.stories import Story
from streams.core.sums import Sums
from tests.bench.signals.coverage import SIZES, Population, coverage, halves
from tests.bench.signals.picture import Point, draw
from tests.bench.signals.replay import Desk, abnormal_moves, votes

CLOSE_MINUTE = 21 * 60 - 1
"""The exchange closes at 20:00 or 21:00 UTC."""
LEAST_MOVE = 0.05
LEAST_STORIES = 10
RUMOUR = ("2014-05-20", "2014-05-24", ("ticker:AMZN", "ticker:GRPN"))


@dataclass
class Direction:
    """A day on which a price moved, and the tone of the 24 hours before its close."""

    move: float
    stories: int
    tone: float
    whole: bool
    """the whole interval lies on one side of the baseline"""


def minute_of(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) // 60


def main() -> None:
    """Fold the replay and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--prices", type=Path, required=True)
    parser.add_argument("--picture", type=Path, help="PNG of the rumour; needs matplotlib (train)")
    given = parser.parse_args()

    moves = abnormal_moves(given.prices, LEAST_MOVE)
    desk, said = Desk(), {"tickers": Sums(), "market": Sums()}
    directions: list[Direction] = []
    populations: dict[tuple[str, int], Population] = {}
    points: dict[str, list[Point]] = defaultdict(list)
    verdicts: dict[tuple[str, int], tuple[str, Story]] = {}
    first, last = (minute_of(day) for day in RUMOUR[:2])
    hour = 0
    for number, vote in enumerate(votes(given.votes)):
        for at in range(hour or vote.minute // 60, vote.minute // 60):
            _hour(desk, at * 60 + 59, moves, directions, points, (first, last))
        hour = vote.minute // 60
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

    for name, group in said.items():
        print(
            f"echoes, {name}: {group.texts - group.stories} of {group.texts} texts "
            f"({(group.texts - group.stories) / group.texts:.1%}) are copies within the horizon"
        )
    counted = Counter(verdict for verdict, _ in verdicts.values())
    different = len({leader for _, leader in verdicts})
    print(f"stories of 20 and more copies: {different}, within their subjects {dict(counted)}")
    _rumour(points)
    _directions(directions)
    tuned, held = halves(list(populations.values()))
    for size in SIZES:
        for name, half in (("tuned on", tuned), ("held out", held)):
            draws, share, width = coverage(half, size)
            print(
                f"coverage, {size} texts, {name}: {share:.1%} of {draws} draws from {len(half)} "
                f"days, mean width {width:.2f}"
            )
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


def _rumour(points: dict[str, list[Point]]) -> None:
    for name, series in points.items():
        worst = max(series, key=lambda p: p.copies)
        moment = datetime.fromtimestamp(worst.minute * 60, UTC)
        v = worst.values
        print(
            f"rumour, {name}: {worst.copies} copies as one story at {moment:%Y-%m-%d %H:%M}, "
            f"{worst.verdict}; 24 h: {v.texts} texts, {v.stories} stories, echo {v.echo:.1%}, "
            f"index {v.index:+.3f} [{v.low:+.3f}, {v.high:+.3f}], echo index {v.echo_index:+.3f}, "
            f"baseline {v.baseline:+.3f}, effective {v.effective:.1f}, volume z {v.z_volume:.1f}"
        )


def _directions(directions: list[Direction]) -> None:
    for least in (1, 5, LEAST_STORIES):
        known = [d for d in directions if d.stories >= least]
        right = sum((d.tone > 0) == (d.move > 0) for d in known)
        clear = [d for d in known if d.whole]
        clear_right = sum((d.tone > 0) == (d.move > 0) for d in clear)
        print(
            f"direction, moves of {LEAST_MOVE:.0%} and more with {least} stories and more: "
            f"{right} of {len(known)} ({right / max(len(known), 1):.0%}); where the interval "
            f"excludes the baseline {clear_right} of {len(clear)}"
        )


if __name__ == "__main__":
    main()
