"""A feed for fault tests: thin days, a day with a crisis, and two thin days after it.

Everything is invented; companies are those of the shipped dictionary. With the scores of the
stand-in model the shipped rule raises an alert about the company in the crisis, makes it
critical, and resolves it.
"""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

CRISIS: Final = "NOK"
"""The company that the alert is about."""
DAY: Final = date(2026, 9, 17)
"""The busy day; a Thursday."""
JITTER_S: Final = 20.0
"""A text lies at most twice this behind a later one; the allowed lateness is 60 s."""

_THIN_DAYS: Final = 30
_DAYS_AFTER: Final = 2
_THIN_SHARE: Final = 0.006
"""Share of all texts that a thin day has."""
_SOURCES: Final = ("news", "social", "social")
_LAST: Final = ("news",) * 8 + ("social",) * 8
"""Sources of the last texts: whichever way a caller deals texts out to up to four partitions,
each partition gets one of them, and none is left behind."""
_NAMES: Final = {
    "AAPL": "Apple Inc.",
    "BA": "Boeing",
    "INTC": "Intel Corp",
    "KO": "Coca-Cola",
    "MSFT": "Microsoft",
    "NOK": "Nokia",
    "PFE": "Pfizer",
}
_PLACES: Final = ["Oslo", "Lyon", "Graz", "Turin", "Leeds", "Porto", "Gdansk", "Malmo", "Basel"]
_MONTHS: Final = ["January", "March", "April", "June", "August", "October"]
_CALM: Final = (
    "{c} opens an office in {p} with {k} people",
    "{c} says its {m} meeting takes place in {p} as planned",
    "Holding {k} of {c} and not looking at it before {m}",
    "{c} raises its outlook for {m} by {k} points after strong orders from {p}",
    "{c} wins a contract in {p} worth {k} million",
    "What does everybody think of {c} at {k}? Asking from {p}",
    "{c} names a new site manager in {p}, {k} of the staff vote in {m}",
    "{c} gains {k} points after a good {m}",
    "{c} cuts {k} jobs in {p} by {m}",
)
_BAD: Final = (
    "{c} shares plunge {k} points after the fraud probe in {p}",
    "Investors in {p} fear a loss at {c}, {k} million they say",
    "{c} admits weak controls in {p}, lawsuit over {k} million follows",
    "{c} falls again, down {k} since the warning from {p}",
    "Why did {c} say nothing of the losses in {p} before {m}? {k} million gone",
    "{c} sinks as its plant in {p} is halted until {m}, {k} orders lost",
    "Bad day for {c}: recall in {p}, {k} thousand units, and the {m} cut on top",
)
_BOTH: Final = (
    "{c} falls {k} points as {d} gains in {p}",
    "{d} beats {c} to the order of {k} million in {p}",
    "{c} and {d} share a plant in {p} from {m} on, {k} jobs move",
)
_MARKET: Final = (
    "Stocks in {p} rise {k} points before the {m} figures",
    "The market in {p} is weak, {k} names fall",
    "Oil and gold go nowhere for {k} days, says a desk in {p}",
)
_FOREIGN: Final = (
    "{p}の市場は今日も静かで、{k}銘柄が動いただけだった",
    "Рынок в городе {p} сегодня спокоен, сделок всего {k}",
)


def texts(seed: int, count: int) -> list[dict[str, Any]]:
    """Return text records in the order in which a feed would send them.

    Args:
        seed: The same seed and count give the same texts.
        count: How many; from 300 on there is an alert with three revisions.
    """
    rng = random.Random(f"{seed}/{count}")
    thin = max(2, round(count * _THIN_SHARE))
    days = [DAY - timedelta(days=back) for back in range(_THIN_DAYS, 0, -1)]
    days += [DAY + timedelta(days=after) for after in range(1, _DAYS_AFTER + 1)]
    made = [one for day in days for one in _thin_day(rng, day, thin)]
    busy = count - len(made) - len(_LAST)
    if busy < 1:
        raise ValueError(f"{count} texts are too few for {len(days)} thin days: ask for 100")
    made += _busy_day(rng, busy)
    # Jitter moves a text in the feed, not in time.
    made.sort(key=lambda one: one[0].timestamp() + rng.uniform(-JITTER_S, JITTER_S))
    sources = [rng.choice(_SOURCES) for _ in made] + list(_LAST)
    evening = datetime.combine(days[-1], time(21, 30), UTC)
    made += [(evening + timedelta(seconds=n), _fill(rng, _MARKET[0])) for n in range(len(_LAST))]
    return [
        _record(rng, f"{seed}-{n:06d}", at, text, source)
        for n, ((at, text), source) in enumerate(zip(made, sources, strict=True))
    ]


def _thin_day(rng: random.Random, day: date, count: int) -> Iterator[tuple[datetime, str]]:
    """Yield a few calm texts; one is about the company of the crisis, so that it has a usual.

    After the crisis nobody says more of it, so that its alert can end.
    """
    for number in range(count):
        anyone = [symbol for symbol in _NAMES if day < DAY or symbol != CRISIS]
        symbol = CRISIS if number == 0 else rng.choice(anyone)
        yield _moment(rng, day), _fill(rng, rng.choice(_CALM), symbol)


def _busy_day(rng: random.Random, count: int) -> Iterator[tuple[datetime, str]]:
    """Yield ordinary texts, and over five hours ever more about the crisis, some of them copies."""
    others = [symbol for symbol in _NAMES if symbol != CRISIS]
    begin = datetime.combine(DAY, time(13), UTC)
    told: list[str] = []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.4:
            text = _fill(rng, rng.choice(_BAD), CRISIS)
            if told and rng.random() < 0.15:
                text = f"RT @{rng.choice(_PLACES).lower()}{rng.randint(1, 99)}: {rng.choice(told)}"
            told.append(text)
            # The root makes it begin slowly, so that the alert passes through both severities.
            yield begin + timedelta(hours=5) * rng.random() ** 0.5, text
        elif kind < 0.75:
            yield _moment(rng, DAY), _fill(rng, rng.choice(_CALM), rng.choice(others))
        elif kind < 0.87:
            symbols = rng.sample(others, 2)
            yield _moment(rng, DAY), _fill(rng, rng.choice(_BOTH), *symbols)
        elif kind < 0.89:
            every = ", ".join(f"${symbol}" for symbol in rng.sample(others, len(others)))
            text = f"On the list for {rng.choice(_MONTHS)}: {every}. {rng.randint(2, 90)} calls"
            yield _moment(rng, DAY), text
        elif kind < 0.96:
            yield _moment(rng, DAY), _fill(rng, rng.choice(_MARKET))
        else:
            yield _moment(rng, DAY), _fill(rng, rng.choice(_FOREIGN))


def _moment(rng: random.Random, day: date) -> datetime:
    return datetime.combine(day, time(7), UTC) + timedelta(seconds=rng.randrange(14 * 3600))


def _fill(rng: random.Random, phrase: str, *symbols: str) -> str:
    """Return the phrase with its blanks filled; companies by name or by cashtag."""
    said = [f"${symbol}" if rng.random() < 0.5 else _NAMES[symbol] for symbol in symbols]
    return phrase.format(
        **dict(zip("cd", said, strict=False)),
        p=rng.choice(_PLACES),
        m=rng.choice(_MONTHS),
        k=rng.randint(2, 990),
    )


def _record(rng: random.Random, own: str, at: datetime, text: str, source: str) -> dict[str, Any]:
    """Return the record of a text, as feeds differ in what they say besides it."""
    stamp = round(at.timestamp()) * 1000
    record: dict[str, Any] = {"id": own, "source": source, "text": text, "published_at": stamp}
    if text.isascii():
        record["lang"] = "en"
    if rng.random() < 0.1:
        record |= {"published_at": stamp - rng.randint(1, 300) * 1000, "observed_at": stamp}
    if source == "news":
        return record | {"channel": "wire", "url": f"https://wire.example/{at:%Y/%m/%d}/{own}"}
    author = f"{rng.choice(_PLACES).lower()}_{rng.randint(1, 40)}"
    return record | {"channel": "chirp", "author": author}
