"""Whatever comes in, every text ends as its kind says, and no good one is lost on the way.

By default 200 malformed texts among 2,000 good ones; TICKERTONE_TEST_MALFORMED and
TICKERTONE_TEST_GOOD set other numbers.
"""

import asyncio
import gzip
import json
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.adapters.actions import write_action
from streams.adapters.clock import now_ms
from streams.adapters.kafka_scan import scan
from streams.adapters.publisher import Publisher
from streams.core.actions import Action
from streams.core.deadletter import MAX_ERROR_BYTES, REPLAYED_HEADER, DeadLetter
from streams.core.entities import MAX_ENTITIES
from streams.core.records import KIND_HEADER, Opinion
from streams.core.text import MAX_CHARS
from streams.core.topics import DEAD, INPUTS, OPINIONS, TEXTS_SOCIAL
from streams.deadletters import Selection, replay_dead
from streams.ledger import check_ledger
from streams.ports import Headers, Outgoing
from streams.settings import KafkaSettings

GOOD = int(os.environ.get("TICKERTONE_TEST_GOOD", "2000"))
MALFORMED = int(os.environ.get("TICKERTONE_TEST_MALFORMED", "200"))
PARTITIONS = 4
STEP_MS = 200
HOUR_MS = 3_600_000
BEFORE_NOW_MS = 2 * HOUR_MS
CHUNK = 500
MEGABYTE = 1_000_000
SECRET: Final = "quokka"
"""Stands in every malformed text that can hold it, and must never stand in an error message."""

UNDECODABLE, SCHEMA = "undecodable", "schema"
IMPLAUSIBLE, UNUSABLE = "implausible_time", "unusable_text"
SCORED, FILTERED, NOTHING = "scored", "filtered", "nothing"

COMPANIES = ("$AAPL", "$MSFT", "$IBM", "$GE", "$NVDA", "Nokia", "Siemens", "$XOM", "$BA", "$KO")
SENTENCES = (
    "{0} gains after a strong quarter",
    "{0} sinks on a profit warning",
    "{0} holds its meeting as {1} looks on",
    "{0} beats {1} and {2} by a wide margin",
    "Analysts say that the outlook for {0} is not what it was",
    "The Fed leaves rates where they are 🚀",
)

Place = tuple[str, int, int]
Make = Callable[[dict[str, Any]], bytes | None]


@dataclass(frozen=True)
class Kind:
    """One way of being wrong, or of looking wrong, and how it must end."""

    name: str
    outcome: str
    make: Make
    field: str = ""
    """which the dead letter must name"""
    why: str = ""
    """why it is accepted, where it is"""
    check: Callable[[Opinion], bool] = lambda opinion: True
    headers: Headers = ()


@dataclass(frozen=True)
class Sample:
    """A record to send."""

    kind: Kind
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


@dataclass
class Sent:
    """What was sent, by the place where it must lie."""

    samples: dict[Place, Sample] = field(default_factory=dict)
    times: dict[Place, int] = field(default_factory=dict)
    ends: Counter[tuple[str, int]] = field(default_factory=Counter)

    @property
    def expected(self) -> int:
        """How many of them must have an outcome."""
        return sum(sample.kind.outcome != NOTHING for sample in self.samples.values())


def dumps(text: Any) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def edited(edit: Callable[[bytes], bytes]) -> Make:
    return lambda text: edit(dumps(text))


def given(**fields: Any) -> Make:
    return lambda text: dumps({**text, **fields})


def without(name: str) -> Make:
    return lambda text: dumps({k: v for k, v in text.items() if k != name})


def literal(name: str, raw: str) -> Make:
    """Set a field to JSON that `json.dumps` would not write."""
    return lambda text: dumps({**text, name: 0})[:-2] + raw.encode() + b"}"


def cashtags(count: int) -> list[str]:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return [f"Q{letters[n // 26]}{letters[n % 26]}" for n in range(count)]


def inside(raw: bytes) -> Make:
    """Put bytes into the middle of the text's string."""
    return edited(lambda value: value.replace(SECRET.encode(), SECRET.encode() + raw, 1))


KINDS: Final = (
    # not UTF-8
    Kind("a byte that is no UTF-8", UNDECODABLE, inside(b"\xff")),
    Kind("Latin-1", UNDECODABLE, inside("é".encode("latin-1"))),
    Kind("UTF-16", UNDECODABLE, edited(lambda v: v.decode().encode("utf-16"))),
    Kind("a byte order mark", UNDECODABLE, edited(lambda v: b"\xef\xbb\xbf" + v)),
    Kind("gzip", UNDECODABLE, edited(lambda v: gzip.compress(v, mtime=0))),
    Kind("1 MB that is no UTF-8", UNDECODABLE, inside(b"\xfe" * MEGABYTE)),
    # not JSON, or no object
    Kind("no value", UNDECODABLE, lambda text: None),
    Kind("an empty value", UNDECODABLE, lambda text: b""),
    Kind("NUL bytes", UNDECODABLE, lambda text: b"\0" * 64),
    Kind("plain words", UNDECODABLE, lambda text: text["text"].encode()),
    Kind("JSON cut off", UNDECODABLE, edited(lambda v: v[: len(v) // 2])),
    Kind("two objects", UNDECODABLE, edited(lambda v: v + b"\n" + v)),
    Kind("a list of texts", UNDECODABLE, edited(lambda v: b"[" + v + b"]")),
    Kind("a JSON string", UNDECODABLE, lambda text: dumps(text["text"])),
    Kind("a JSON number", UNDECODABLE, lambda text: b"42"),
    Kind("JSON null", UNDECODABLE, lambda text: b"null"),
    Kind("a raw control character", UNDECODABLE, inside(b"\x07")),
    Kind("half a surrogate pair", UNDECODABLE, inside(rb"\ud83d")),
    Kind("5,000 brackets", UNDECODABLE, literal("more", "[" * 5000 + "]" * 5000)),
    Kind("a number of 5,000 digits", UNDECODABLE, literal("published_at", "9" * 5000)),
    # missing fields and wrong types
    Kind("no text", SCHEMA, without("text"), "text"),
    Kind("no time", SCHEMA, without("published_at"), "published_at"),
    Kind("an empty object", SCHEMA, lambda text: b"{}", "text"),
    Kind("text is a number", SCHEMA, given(text=42), "text"),
    Kind("text is null", SCHEMA, given(text=None), "text"),
    Kind("text is a list", SCHEMA, given(text=[SECRET]), "text"),
    Kind("time is null", SCHEMA, given(published_at=None), "published_at"),
    Kind("time is true", SCHEMA, given(published_at=True), "published_at"),
    Kind("time is a fraction", SCHEMA, given(published_at=1.5e12), "published_at"),
    Kind("time is not a number", SCHEMA, literal("published_at", "NaN"), "published_at"),
    Kind("time is infinite", SCHEMA, literal("published_at", "1e400"), "published_at"),
    Kind("time is a word", SCHEMA, given(published_at=SECRET), "published_at"),
    Kind("no such day", SCHEMA, given(published_at="2026-02-30"), "published_at"),
    Kind("observed_at is empty", SCHEMA, given(observed_at=""), "observed_at"),
    Kind("tickers is a string", SCHEMA, given(tickers=SECRET), "tickers"),
    Kind("a ticker is empty", SCHEMA, given(tickers=["AAPL", ""]), "tickers.1"),
    Kind("an unknown source", SCHEMA, given(source=SECRET), "source"),
    Kind("a channel with a space", SCHEMA, given(channel=f"{SECRET} x"), "channel"),
    Kind("an id of 600 characters", SCHEMA, given(id=SECRET * 100), "id"),
    Kind("an id that is a number", SCHEMA, given(id=7), "id"),
    Kind("a title of 5,000 characters", SCHEMA, given(title="x" * 5000), "title"),
    Kind("a URL of 5,000 characters", SCHEMA, given(url="https://" + "x" * 5000), "url"),
    Kind("an author that is an object", SCHEMA, given(author={"name": SECRET}), "author"),
    Kind("a language of 40 characters", SCHEMA, given(lang="e" * 40), "lang"),
    # times that can't be
    Kind("1900", IMPLAUSIBLE, given(published_at="1900-01-01T00:00:00Z"), "published_at"),
    Kind("1900 in ms", IMPLAUSIBLE, given(published_at=-2_208_988_800_000), "published_at"),
    Kind("2100", IMPLAUSIBLE, given(published_at="2100-01-01T00:00:00Z"), "published_at"),
    Kind("2100 in ms", IMPLAUSIBLE, given(published_at=4_102_444_800_000), "published_at"),
    Kind("the year 1", IMPLAUSIBLE, given(published_at="0001-01-01T00:00+23:59"), "published_at"),
    Kind("the year 9999", IMPLAUSIBLE, given(published_at="9999-12-31T23:59-23:59"),
         "published_at"),
    Kind("seconds", IMPLAUSIBLE, lambda t: given(published_at=t["published_at"] // 1000)(t),
         "published_at"),
    Kind("microseconds", IMPLAUSIBLE, lambda t: given(published_at=t["published_at"] * 1000)(t),
         "published_at"),
    Kind("a time of 4,000 digits", IMPLAUSIBLE, literal("published_at", "9" * 4000),
         "published_at"),
    Kind("in three hours", IMPLAUSIBLE,
         lambda t: given(published_at=t["published_at"] + 3 * HOUR_MS)(t), "published_at"),
    Kind("observed in 2100", IMPLAUSIBLE, given(observed_at="2100-01-01"), "observed_at"),
    # nothing to score
    Kind("empty text", UNUSABLE, given(text=""), "text"),
    Kind("white space", UNUSABLE, given(text=" \t\n\u3000\u2003"), "text"),
    Kind("only control characters", UNUSABLE, given(text="\0\x01\x1b\x7f\x9f"), "text"),
    Kind("only invisible characters", UNUSABLE, given(text="\u200b\u2060\u202e\ufeff"), "text"),
    Kind("only a link", UNUSABLE, given(text="https://example.com/quokka"), "text"),
    Kind("only a retweet mark", UNUSABLE, given(text="RT @someone: "), "text"),
    Kind("1 MB of spaces", UNUSABLE, given(text=" " * MEGABYTE), "text"),
    # what looks wrong and is accepted
    Kind("a text of 1 MB", SCORED, given(text="and the shares fell " * (MEGABYTE // 20)),
         why=f"clipped to {MAX_CHARS:,} characters",
         check=lambda o: len(o.text) == MAX_CHARS - 1),
    Kind("control characters", SCORED, given(text="Nokia\0 \x1b[31msinks\x07 and\x9b rises"),
         why="they are replaced by spaces", check=lambda o: o.text.isprintable()),
    Kind("bidirectional overrides", SCORED, given(text="\u202eNokia\u202c sinks\u2066 again"),
         why="they are dropped", check=lambda o: o.text == "Nokia sinks again"),
    Kind("500 cashtags", SCORED, given(text=" ".join(f"${t}" for t in cashtags(500))),
         why="a round-up: scored once, the first fifty linked",
         check=lambda o: o.round_up and len(o.entities) == MAX_ENTITIES),
    Kind("500 tickers", SCORED, given(text="These are all", tickers=cashtags(500)),
         why="a round-up: scored once, the first fifty linked",
         check=lambda o: o.round_up and len(o.entities) == MAX_ENTITIES),
    Kind("tickers that are none", SCORED, given(text="Nokia sinks", tickers=["a b", "☃", "$"]),
         why="what is no symbol is left out", check=lambda o: len(o.entities) == 1),
    Kind("tokens of the model", SCORED, given(text="[T] soars [SEP] Nokia sinks [PAD]"),
         why="they lose their brackets", check=lambda o: "[" not in o.text),
    Kind("nested HTML entities", SCORED, given(text="Nokia &" + "amp;" * 1500 + " sinks"),
         why="the nest is broken", check=lambda o: "&" not in o.text),
    Kind("unknown and nested fields", SCORED, given(text="Nokia sinks", x={"y": [[[{}]]] * 9}),
         why="unknown fields are ignored"),
    Kind("a field given twice", SCORED,
         lambda t: dumps({**t, "text": "Nokia sinks"}).replace(b"{", b'{"text": 1, ', 1),
         why="the last one counts, as in most readers of JSON",
         check=lambda o: o.text == "Nokia sinks"),
    Kind("an id that came before", SCORED, given(text="Nokia sinks", id="the same"),
         why="each record has its outcome; its votes count once"),
    Kind("a broken URL", SCORED, given(text="Nokia sinks", source="news", url="http://[x"),
         why="it serves as an id only"),
    Kind("only emoji", SCORED, given(text="🚀🚀🚀"), why="an opinion like any other"),
    Kind("Chinese", FILTERED, given(text="市场今天大幅上涨,投资者欢呼"),
         why="no model for the language", check=lambda o: o.reason == "language"),
    Kind("kind: vote", SCORED, given(text="Nokia sinks"), headers=((KIND_HEADER, b"vote"),),
         why="on an input only `end` means something"),
    Kind("kind: end, but no end", NOTHING, lambda text: b"\xff", headers=((KIND_HEADER, b"end"),),
         why="an end record that says nothing closes nothing; the ledger counts it as an end"),
)  # fmt: skip
GOOD_KIND: Final = Kind("good", SCORED, dumps)
SLOW_CLOCK: Final = Kind("broker's clock an hour slow", IMPLAUSIBLE, dumps, "published_at")


def samples(good: int, malformed: int, begin_ms: int) -> Iterator[Sample]:
    """Yield good and malformed texts mixed, in order of event time, over all input partitions."""
    dice = random.Random(20_261_122)
    kinds = [KINDS[n % len(KINDS)] for n in range(malformed)] + [GOOD_KIND] * good
    dice.shuffle(kinds)
    for n, kind in enumerate(kinds):
        at = begin_ms + n * STEP_MS
        if kind is GOOD_KIND:
            sentence = SENTENCES[dice.randrange(len(SENTENCES))]
            text = _decorated(dice, n, sentence.format(*dice.sample(COMPANIES, 3)), at)
        else:
            text = {"id": f"m{n}", "text": f"Nokia sinks, says {SECRET}", "published_at": at}
        key = (None, f"k{n}".encode(), b"\xff\x00%d" % n)[n % 3]
        yield Sample(kind, INPUTS[n % 2], dice.randrange(PARTITIONS), key, kind.make(text))


def _decorated(dice: random.Random, n: int, words: str, at: int) -> dict[str, Any]:
    """Return a good text with some of the optional fields."""
    text: dict[str, Any] = {"id": f"g{n}", "text": words, "published_at": at}
    more: dict[str, Any] = {
        "title": "Markets",
        "author": f"a{n % 50}",
        "lang": "en",
        "url": f"https://example.com/{n}",
        "channel": "wire",
        "tickers": ["$IBM"],
        "observed_at": at,
        "rating": {"unknown": True},
    }
    return text | {name: more[name] for name in dice.sample(sorted(more), 3)}


async def send(publisher: Publisher, sent: Sent, batch: Iterable[Sample], time_ms: int) -> None:
    """Send records and note where each must lie: at the end of its partition."""
    records = []
    for sample in batch:
        place = sample.topic, sample.partition, sent.ends[sample.topic, sample.partition]
        sent.ends[sample.topic, sample.partition] += 1
        sent.samples[place] = sample
        sent.times[place] = time_ms
        records.append(
            Outgoing(sample.topic, sample.key, sample.value, sample.kind.headers, sample.partition)
        )
    await publisher.send(records, time_ms)


async def sending(kafka: KafkaSettings, begin_ms: int) -> Sent:
    sent = Sent()
    publisher = Publisher(kafka)
    await publisher.start()
    try:
        waiting: list[Sample] = []
        for sample in samples(GOOD, MALFORMED, begin_ms):
            waiting.append(sample)
            if len(waiting) == CHUNK:
                await send(publisher, sent, waiting, now_ms())
                waiting = []
        await send(publisher, sent, waiting, now_ms())
        # Mended by time alone: when it is sent back, its event time is no longer in the future.
        text = {"text": "Nokia sinks", "published_at": now_ms() - 60_000}
        slow = Sample(SLOW_CLOCK, TEXTS_SOCIAL, 0, b"slow", dumps(text))
        await send(publisher, sent, [slow], now_ms() - HOUR_MS)
    finally:
        await publisher.stop()
    return sent


async def read(run: Any, topic: str) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    async with scan(run.bootstrap, run.names.topic(topic)) as opened:
        async for tp, records in opened.batches():
            found[tp.partition] += records
    return found


async def outcomes(run: Any) -> dict[Place, list[Opinion | Any]]:
    """Return what became of each input record: opinions, and records of the dead letters."""
    found: dict[Place, list[Opinion | Any]] = defaultdict(list)
    for records in (await read(run, OPINIONS)).values():
        for record in records:
            opinion = Opinion.model_validate_json(record.value)
            found[opinion.origin].append(opinion)
    for records in (await read(run, DEAD)).values():
        for record in records:
            headers = {name: value.decode() for name, value in record.headers}
            place = headers["dl.topic"], int(headers["dl.partition"]), int(headers["dl.offset"])
            found[place].append(record)
    return found


def faults(sent: Sent, ends: dict[Place, list[Opinion | Any]]) -> list[str]:
    return [
        f"{sample.kind.name} at {place}: {wrong}"
        for place, sample in sent.samples.items()
        if (wrong := fault(place, sample, sent.times[place], ends.get(place, [])))
    ]


def fault(place: Place, sample: Sample, time_ms: int, found: list[Opinion | Any]) -> str:
    """Return what is wrong with what became of a record, or nothing."""
    kind = sample.kind
    if kind.outcome == NOTHING:
        return f"{len(found)} outcomes" if found else ""
    if len(found) != 1:
        return f"{len(found)} outcomes"
    if isinstance(found[0], Opinion):
        if found[0].outcome != kind.outcome:
            return f"{found[0].outcome} instead of {kind.outcome}"
        return "" if kind.check(found[0]) else f"{kind.outcome}, but not as it should be"
    return _dead_fault(place, sample, time_ms, found[0])


def _dead_fault(place: Place, sample: Sample, time_ms: int, record: Any) -> str:
    letter = DeadLetter.from_headers(record.headers, record.key, record.value)
    if letter.reason != sample.kind.outcome:
        return f"dead ({letter.reason}) instead of {sample.kind.outcome}"
    if (record.key, record.value) != (sample.key, sample.value):
        return "its key or value was changed"
    if SECRET in letter.error or len(letter.error.encode()) > MAX_ERROR_BYTES:
        return f"a dead letter whose error is too long or quotes the text: {letter.error[:200]}"
    headers = {name: value.decode() for name, value in record.headers}
    topic, partition, offset = place
    wanted = {
        "dl.version": "1",
        "dl.id": letter.id,
        "dl.topic": topic,
        "dl.partition": str(partition),
        "dl.offset": str(offset),
        "dl.timestamp_ms": str(time_ms),
        "dl.stage": "decode",
        "dl.reason": sample.kind.outcome,
        "dl.field": sample.kind.field,
        "dl.attempts": "1",
        "dl.model": "",
    }
    wrong = {
        name: headers.get(name) for name, value in wanted.items() if headers.get(name) != value
    }
    return f"wrong headers {wrong}" if wrong or "dl.cut" in headers else ""


async def done(run: Any, texts: int) -> None:
    """Wait until score says that so many texts have ended."""

    async def ended() -> bool:
        numbers = [
            await run.metric("score", f"tickertone_texts_{name}_total")
            for name in ("scored", "filtered", "dead")
        ]
        return bool(sum(numbers) >= texts)

    await until(ended, 60 + texts / 20, f"{texts} texts end")


async def until(condition: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.1)


@pytest.mark.brokers("kafka")
@pytest.mark.timeout(1200)
async def test_every_text_ends_as_its_kind_says_and_nothing_is_lost(
    any_broker: tuple[str, KafkaSettings], triton_url: str, tmp_path: Path, started: Any
) -> None:
    kafka = any_broker[1].model_copy(update={"partitions": PARTITIONS})
    async with started(kafka, triton_url, tmp_path) as run:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        sent = await sending(kafka, now_ms() - BEFORE_NOW_MS)
        await done(run, sent.expected)
        report = await run.settle(120)
        seconds = loop.time() - begun

        stored = {
            (topic, partition, record.offset): (record.key, record.value)
            for topic in INPUTS
            for partition, records in (await read(run, topic)).items()
            for record in records
        }
        assert stored == {place: (s.key, s.value) for place, s in sent.samples.items()}

        ends = await outcomes(run)
        assert ends.keys() <= sent.samples.keys()
        assert faults(sent, ends)[:20] == []

        show(sent, seconds)
        outcome = Counter(sample.kind.outcome for sample in sent.samples.values())
        dead = sum(outcome[reason] for reason in (UNDECODABLE, SCHEMA, IMPLAUSIBLE, UNUSABLE))
        totals = [
            (sum(p.scored for p in report.inputs), outcome[SCORED]),
            (sum(p.filtered for p in report.inputs), outcome[FILTERED]),
            (sum(p.dead for p in report.inputs), dead),
            (sum(p.ends for p in report.inputs), outcome[NOTHING]),
            (sum(votes.counts["late"] for votes in report.votes), 0),
        ]
        assert [found for found, _ in totals] == [expected for _, expected in totals]
        await sent_back(run, sent, ends)


async def sent_back(run: Any, sent: Sent, ends: dict[Place, list[Any]]) -> None:
    """What is sent back ends anew: scored if its cause is gone, dead with a new id if not."""
    chosen: dict[str, Place] = {}
    for kind in (SLOW_CLOCK, *(k for k in KINDS if k.outcome in (UNDECODABLE, UNUSABLE))):
        place = next((p for p, s in sent.samples.items() if s.kind is kind), None)
        if place is not None:
            chosen[dict(ends[place][0].headers)["dl.id"].decode()] = place
    before = {value for found in ends.values() for value in found_ids(found)}
    select = Selection(ids=frozenset(chosen))
    first = await replay_dead(run.bootstrap, run.names, select)
    assert sorted(first.sent) == sorted(chosen)
    await done(run, sent.expected + len(chosen))
    report = await run.settle()
    assert report.balanced

    after = await outcomes(run)
    new = {place: found for place, found in after.items() if place not in sent.samples}
    assert len(new) == len(chosen)
    copies: dict[str, Place] = {}
    for topic in INPUTS:
        for partition, records in (await read(run, topic)).items():
            for record in records:
                headers = dict(record.headers)
                if REPLAYED_HEADER in headers:
                    copies[headers[REPLAYED_HEADER].decode()] = topic, partition, record.offset
    assert copies.keys() == chosen.keys()
    for letter_id, place in chosen.items():
        sample = sent.samples[place]
        (end,) = new[copies[letter_id]]
        if sample.kind is SLOW_CLOCK:
            assert isinstance(end, Opinion)
            assert end.outcome == SCORED
        else:
            assert not isinstance(end, Opinion)
            again = DeadLetter.from_headers(end.headers, end.key, end.value)
            assert (again.key, again.value) == (sample.key, sample.value)
            assert again.reason == sample.kind.outcome
            assert again.id not in before
    assert len({i for found in new.values() for i in found_ids(found)}) == len(chosen) - 1

    second = await replay_dead(run.bootstrap, run.names, select)
    assert second.sent == []
    assert sorted(second.already) == sorted(chosen)


def found_ids(found: Iterable[Any]) -> list[str]:
    return [dict(e.headers)["dl.id"].decode() for e in found if not isinstance(e, Opinion)]


def show(sent: Sent, seconds: float) -> None:
    """Print how each kind ended (`pytest -s`)."""
    counts = Counter(sample.kind for sample in sent.samples.values())
    print(f"\n{len(sent.samples)} texts sent, scored and aggregated in {seconds:.1f} s")
    for kind in (GOOD_KIND, *KINDS, SLOW_CLOCK):
        why = f"  ({kind.why})" if kind.why else ""
        print(f"{counts[kind]:6}  {kind.name:<30} {kind.outcome}{why}")


@pytest.mark.brokers("kafka")
@pytest.mark.timeout(180)
async def test_a_flood_of_dead_letters_is_held_until_it_is_accepted(
    any_broker: tuple[str, KafkaSettings], triton_url: str, tmp_path: Path, started: Any
) -> None:
    kafka = any_broker[1]
    # The run is shorter than a batch: an acceptance must lead past the batch that spent the budget.
    dead_run, good, bad = 50, 60, 90
    more = {"TICKERTONE_SCORE__DEAD_RUN": str(dead_run)}
    kinds = [k for k in KINDS if k.outcome == SCHEMA]
    begin = now_ms() - HOUR_MS
    sent = Sent()

    def flood() -> Iterator[Sample]:
        for n in range(good + bad + good):
            kind = kinds[n % len(kinds)] if good <= n < good + bad else GOOD_KIND
            text = {"id": f"f{n}", "text": "Nokia sinks", "published_at": begin + n}
            yield Sample(kind, TEXTS_SOCIAL, 0, None, kind.make(text))

    async with started(kafka, triton_url, tmp_path, more) as run:
        publisher = Publisher(kafka)
        await publisher.start()
        await send(publisher, sent, flood(), now_ms())
        await publisher.stop()

        await until(lambda: _holds(run), 30, "score holds")
        assert await run.metric("score", "tickertone_holding") == 1
        at, dead = await _committed(run), await _dead(run)
        assert good + dead_run <= at < good + bad + good
        assert dead == min(at - good, bad)
        await asyncio.sleep(3)
        assert (await _committed(run), await _dead(run)) == (at, dead)
        assert not (await run.ready("score"))[0]
        assert not (await check_ledger(run.bootstrap, run.names)).balanced

        pid = run.pid("score")
        os.kill(pid, signal.SIGTERM)
        await until(lambda: _restarted(run, pid), 30, "score is back")
        assert await _dead(run) == dead  # a restart is no decision
        await write_action(kafka, Action.flood(who="test", at=now_ms(), why="on purpose"))
        report = await run.settle(60)
        assert [(p.scored, p.dead) for p in report.inputs if p.readable] == [(2 * good, bad)]
        assert faults(sent, await outcomes(run)) == []


async def _restarted(run: Any, pid: int) -> bool:
    try:
        return run.pid("score") != pid and await _holds(run)
    except (AssertionError, aiohttp.ClientError):
        return False  # between two processes


async def _holds(run: Any) -> bool:
    ready, body = await run.ready("score")
    return not ready and "dead_letters" in json.loads(body)["blocked"]


async def _dead(run: Any) -> int:
    return sum(len(records) for records in (await read(run, DEAD)).values())


async def _committed(run: Any) -> int:
    partition = TopicPartition(run.names.topic(TEXTS_SOCIAL), 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=run.bootstrap, group_id=run.names.group("score"), enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([partition])
        return await consumer.committed(partition) or 0
    finally:
        await consumer.stop()
