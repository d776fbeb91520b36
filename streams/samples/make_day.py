"""Writes the sample stream of `tickertone demo`: thirty thin days and one with a crisis.

Everything is invented and seeded, so the file can be made again, byte for byte:
`python -m streams.samples.make_day`. Alerts need a past to compare with, hence the thin days.
"""

import gzip
import random
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from streams.samples import COMPANIES, STREAM

DAY: Final = date(2026, 10, 15)
"""The trading day; a Thursday in the past, so that its texts are plausible."""

_PHRASES: Final = Path(__file__).parent / "phrases.toml"
_THIN_DAYS: Final = 30
_CHATTER: Final = 360
"""texts of the trading day besides the crisis and the results"""
_SEED: Final = 20_261_015
_REAL: Final = ("AAPL", "MSFT", "KO", "NOK", "TM")
_CRISIS: Final = "AMPV"
_RESULTS: Final = "QLLN"
_FIRST = "amber brisk cedar dusty early fern grey hazel ivory jolly keen lunar misty north olive"
_LAST = "badger crane dove elk finch gull heron ibis jay kite lark mole newt owl pike raven stork"


@dataclass
class _Writer:
    """Collects texts; knows how each kind of source writes."""

    random: random.Random
    phrases: dict[str, Any]
    names: dict[str, str]
    texts: list[dict[str, Any]] = field(default_factory=list)

    def handle(self) -> str:
        """Return some author; a few hundred exist."""
        first, last = self.random.choice(_FIRST.split()), self.random.choice(_LAST.split())
        return f"{first}_{last}{self.random.choice(['', '', '7', '21', '88'])}"

    def fill(self, phrase: str, symbol: str = "") -> str:
        """Return the phrase with its blanks filled."""
        fill = self.phrases["fill"]
        choose = self.random.choice
        return phrase.format(
            n=self.names.get(symbol, symbol),
            t=f"${symbol}",
            p=f"{self.random.uniform(0.2, 2.4):.1f}",
            k=self.random.randint(3, 60),
            c=choose(fill["city"]),
            m=choose(fill["month"]),
            b=choose(fill["broker"]),
            g=choose(fill["product"].get(symbol, ["shares"])),
        )

    def news(self, at: datetime, title: str, symbol: str = "") -> None:
        """Add a headline with its link."""
        channel = self.random.choice(["newswire", "newswire", "marketdesk"])
        slug = "-".join(title.lower().split()[:6]).strip(".,:?")
        text: dict[str, Any] = {
            "source": "news",
            "channel": channel,
            "title": title,
            "text": title,
            "url": f"https://{channel}.example/{at:%Y/%m/%d}/{slug}-{len(self.texts)}",
            "lang": "en",
        }
        if symbol and self.random.random() < 0.5:
            text["tickers"] = [symbol]
        self._add(at, text)

    def social(self, at: datetime, text: str, lang: str | None = "en") -> str:
        """Add a post and return its author."""
        author = self.handle()
        post = {"source": "social", "channel": "chirp", "text": text, "author": author}
        # As in life, the sender's language is missing for many posts.
        if lang and self.random.random() < 0.8:
            post["lang"] = lang
        self._add(at, post)
        return author

    def repeat(self, at: datetime, text: str, author: str) -> None:
        """Add a copy of a post as copies look: forwarded, quoted or with a word put before it."""
        shape = self.random.choice(
            ["RT @{a}: {t}", "RT @{a}: {t}", "{t}", "{t} https://chirp.example/s"]
        )
        self.social(at, shape.format(a=author, t=text))

    def _add(self, at: datetime, text: dict[str, Any]) -> None:
        self.texts.append({"at": at, **text})


def make_day(seed: int = _SEED) -> list[bytes]:
    """Return the lines of the stream in time order, the same for the same seed."""
    with _PHRASES.open("rb") as file:
        phrases = tomllib.load(file)
    names = {row.split(",")[0]: row.split(",")[1] for row in _rows()}
    writer = _Writer(random.Random(seed), phrases, names)  # noqa: S311 (no secrets here)
    for back in range(_THIN_DAYS, 0, -1):
        day = DAY - timedelta(days=back)
        weekend = day.weekday() >= 5
        _chatter(
            writer, day, writer.random.randint(4, 6) if weekend else writer.random.randint(10, 15)
        )
        for _ in range(writer.random.randint(0, 1) if weekend else writer.random.randint(1, 2)):
            _about(writer, _moment(writer, day), _CRISIS)
    _chatter(writer, DAY, _CHATTER)
    for phrase in phrases["other_languages"]["social"]:
        writer.social(_moment(writer, DAY), phrase, None)
    _results(writer)
    for stage in phrases["crisis"]:
        _crisis(writer, stage)
    ordered = sorted(writer.texts, key=lambda text: text["at"])
    return [_line(number, text) for number, text in enumerate(ordered)]


def write(path: Path = STREAM) -> int:
    """Write the stream and return the number of its texts."""
    lines = make_day()
    path.write_bytes(gzip.compress(b"".join(lines), compresslevel=9, mtime=0))
    return len(lines)


def _rows() -> Iterator[str]:
    yield from COMPANIES.read_text(encoding="utf-8").splitlines()[1:]


def _moment(writer: _Writer, day: date) -> datetime:
    """Return a moment between 6:30 and 21:30 UTC, most likely around 14:30."""
    hour = writer.random.triangular(6.5, 21.5, 14.5)
    return datetime.combine(day, time(), UTC) + timedelta(seconds=round(hour * 3600))


def _chatter(writer: _Writer, day: date, count: int) -> None:
    """Add ordinary texts about everybody but the company in the crisis."""
    invented = [symbol for symbol in writer.names if symbol != _CRISIS]
    for _ in range(count):
        at = _moment(writer, day)
        kind = writer.random.random()
        if kind < 0.15:
            group = writer.phrases["market"]
            if writer.random.random() < 0.4:
                writer.news(at, writer.fill(writer.random.choice(group["news"])))
            else:
                writer.social(at, writer.fill(writer.random.choice(group["social"])))
        elif kind < 0.4:
            symbol = writer.random.choice(_REAL)
            phrase = writer.random.choice(writer.phrases["real"]["social"])
            writer.social(at, writer.fill(phrase, symbol))
        else:
            _about(writer, at, writer.random.choice(invented))


def _about(writer: _Writer, at: datetime, symbol: str) -> None:
    """Add an ordinary text about a company."""
    group = writer.phrases["quiet"]
    if writer.random.random() < 0.35:
        writer.news(at, writer.fill(writer.random.choice(group["news"]), symbol), symbol)
    else:
        writer.social(at, writer.fill(writer.random.choice(group["social"]), symbol))


def _results(writer: _Writer) -> None:
    """Add the good results: many texts, none of them bad."""
    begin = datetime.combine(DAY, time(11, 30), UTC)
    group = writer.phrases["results"]
    for number, title in enumerate(group["news"]):
        writer.news(begin + timedelta(minutes=11 * number), title, _RESULTS)
    for text in group["social"]:
        at = begin + timedelta(seconds=writer.random.randint(60, 6 * 3600))
        author = writer.social(at, text)
        if writer.random.random() < 0.3:
            writer.repeat(at + timedelta(seconds=writer.random.randint(20, 900)), text, author)


def _crisis(writer: _Writer, stage: dict[str, Any]) -> None:
    """Add a stage of the crisis: its own texts, and the copies that people and sites make."""
    begin, end = (
        datetime.combine(DAY, time.fromisoformat(stage[edge]), UTC) for edge in ("from", "to")
    )
    for at, title in _spread(writer, begin, end, stage["news"]):
        writer.news(at, title, _CRISIS)
        if writer.random.random() < 0.5:
            writer.news(at + timedelta(seconds=writer.random.randint(60, 600)), title, _CRISIS)
    for at, text in _spread(writer, begin, end, stage["social"]):
        author = writer.social(at, text)
        for _ in range(writer.random.choice([0, 0, 1, 1, 2, 4])):
            later = at + timedelta(seconds=round(writer.random.expovariate(1 / 400)) + 15)
            writer.repeat(later, text, author)


def _spread(
    writer: _Writer, begin: datetime, end: datetime, texts: Sequence[str]
) -> Iterator[tuple[datetime, str]]:
    """Yield the texts in their order with moments between begin and end."""
    span = round((end - begin).total_seconds())
    moments = sorted(writer.random.randrange(span) for _ in texts)
    for seconds, text in zip(moments, texts, strict=True):
        yield begin + timedelta(seconds=seconds), text


def _line(number: int, text: dict[str, Any]) -> bytes:
    at = text.pop("at")
    published = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {"id": f"demo-{number:05d}", "published_at": published, **text}
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    write()
