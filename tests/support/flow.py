"""Texts put into chosen partitions, past real workers, and the account of what became of them."""

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.kafka_scan import scan
from streams.core.records import KIND_HEADER, Kind
from streams.core.topics import INPUTS, LATE, Names
from streams.core.votes import Vote
from streams.ledger import check_ledger
from streams.offline import Closed, differing, fold_votes, published_windows
from streams.settings import KafkaSettings
from streams.worker import load_rules
from tests.support.workers import Worker, until

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
LATENESS: Final = MINUTE
TICKER_HORIZON: Final = 1440
WIDE_HORIZON: Final = 15
"""minutes: market and topics"""
BASE: Final = 1_760_000_040_000
"""a whole minute of October 2025"""
NEVER_S: Final = 600.0
"""an idle time that no scenario reaches"""

WAIT_S: Final = 150.0
"""patience with a busy machine; nothing here measures it"""

_TICKERS: Final = ("AAPL", "MSFT", "IBM", "GE", "NVDA", "TSLA", "AMZN", "INTC")
_WORDS: Final = (
    "gains after a strong quarter",
    "sinks on a profit warning",
    "holds its annual meeting",
    "raises its dividend",
    "cuts its forecast again",
)
_VARIANTS: Final = 20
VOTES_PER_TEXT: Final = 3
"""one company, the market, one topic"""

Text = dict[str, Any]


class Writer:
    """Texts about one company each; a hundred different contents, so that most are scored once."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = itertools.count()

    def text(self, event_time: int, ticker: str | None = None, source: str = "social") -> Text:
        """Return one text."""
        draw = self._random
        words = f"${ticker or draw.choice(_TICKERS)} {draw.choice(_WORDS)}"
        return {
            "id": f"w{next(self._numbers)}",
            "text": f"{words}, item {draw.randrange(_VARIANTS)}",
            "published_at": event_time,
            "lang": "en",
            "source": source,
        }

    def series(self, start: int, end: int, count: int) -> list[Text]:
        """Return texts evenly over [start, end], both included."""
        step = (end - start) / max(count - 1, 1)
        return [self.text(start + round(n * step)) for n in range(count)]

    def file(self, path: Path, count: int, hours: int) -> Path:
        """Write a file for a replay, half news and half social media."""
        with path.open("w") as file:
            for n in range(count):
                at = BASE + n * hours * HOUR // count
                file.write(json.dumps(self.text(at, source=("news", "social")[n % 2])) + "\n")
        return path


@dataclass(slots=True)
class Outcome:
    """What a scenario left behind."""

    scenario: str
    broker: str
    partitions: int
    texts: int = 0
    votes: int = 0
    counted: int = 0
    resent: int = 0
    duplicate: int = 0
    late: int = 0
    late_due: int = 0
    """late by the scenario's own reckoning"""
    kept: int = 0
    """votes on votes.late.v1"""
    windows: int = 0
    """closed minutes of all subjects"""
    revised: int = 0
    """of them with more than one revision"""
    differing: int = 0
    """of them that an offline fold of votes.v1 sees differently"""
    seconds: float = 0.0
    notes: dict[str, float] = field(default_factory=dict)


class Flow:
    """Workers on one prefix, and a hand that puts texts where a scenario wants them."""

    def __init__(self, kafka: KafkaSettings, producer: AIOKafkaProducer) -> None:
        assert kafka.bootstrap
        self.bootstrap = kafka.bootstrap
        self.names = Names(kafka.prefix)
        self.partitions = kafka.partitions
        self.sources = [f"{t}/{p}" for t in INPUTS for p in range(kafka.partitions)]
        self.scores: list[Worker] = []
        self.aggregate: Worker
        self.reached: dict[str, int] = {}
        """source → largest event time put there"""
        self.texts = 0
        self._producer = producer

    async def put(self, source: str, texts: Sequence[Text]) -> list[tuple[str, int]]:
        """Put texts into one partition, in order; return the place of each."""
        topic, partition = source.split("/")
        futures = [
            await self._producer.send(
                self.names.topic(topic), json.dumps(text).encode(), partition=int(partition)
            )
            for text in texts
        ]
        places = [(source, (await future).offset) for future in futures]
        largest = max(text["published_at"] for text in texts)
        self.reached[source] = max(largest, self.reached.get(source, 0))
        self.texts += len(texts)
        return places

    async def end(self) -> None:
        """Tell every partition that nothing follows, and wait until all minutes are closed."""
        last = max(self.reached.values())
        headers = [(KIND_HEADER, Kind.END.value.encode())]
        for source in self.sources:
            topic, partition = source.split("/")
            await self._producer.send_and_wait(
                self.names.topic(topic),
                json.dumps({"event_time": last}).encode(),
                partition=int(partition),
                headers=headers,
            )
        await self.closed(last)

    async def closed(self, last: int, seconds: float = WAIT_S) -> None:
        """Wait until the end of a replay has closed everything."""
        await self.past(last + DAY, seconds)

    @property
    def held(self) -> int:
        """The watermark if every source counts, milliseconds."""
        return min(self.reached[source] for source in self.sources) - LATENESS

    async def watermark(self) -> float:
        """Mean of the votes partitions' watermarks, milliseconds."""
        total = await self.aggregate.metric("tickertone_watermark_seconds")
        return round(1000 * total / self.partitions, 3)

    async def at(self, watermark: int, seconds: float = WAIT_S) -> None:
        """Wait until the watermark of every votes partition is this one."""

        async def there() -> bool:
            return await self.watermark() == watermark

        await until(there, seconds, f"the watermark is {watermark}")

    async def past(self, watermark: int, seconds: float = WAIT_S) -> float:
        """Wait until the watermarks have come so far; how long it took."""

        async def there() -> bool:
            return await self.watermark() >= watermark

        return await until(there, seconds, f"the watermark passes {watermark}")

    async def all_idle(self, idle_s: float) -> None:
        """Wait until score has had time to call every source idle and to say so."""
        await asyncio.sleep(idle_s + 2.5)

    async def scored(self) -> float:
        """Texts scored by the workers that run now."""
        found = [await worker.metric("tickertone_texts_scored_total") for worker in self.scores]
        return sum(found)

    async def late_votes(self) -> list[Vote]:
        """Return what lies on votes.late.v1."""
        async with scan(self.bootstrap, self.names.topic(LATE)) as opened:
            return [
                Vote.from_json(record.value)
                async for _, records in opened.batches()
                for record in records
            ]

    async def published(self) -> Closed:
        """Return the newest revision of each closed minute."""
        return await published_windows(self.bootstrap, self.names)

    async def outcome(self, scenario: str, broker: str, began: float) -> Outcome:
        """Wait until the ledger balances and draw the account."""

        async def balanced() -> bool:
            return (await check_ledger(self.bootstrap, self.names)).balanced

        await until(balanced, WAIT_S, "the ledger balances")
        seconds = time.monotonic() - began
        counts: Counter[str] = Counter()
        report = await check_ledger(self.bootstrap, self.names)
        for votes in report.votes:
            counts.update(votes.counts)
        published = await self.published()
        offline = await fold_votes(self.bootstrap, self.names, load_rules(None), LATENESS)
        return Outcome(
            scenario,
            broker,
            self.partitions,
            texts=sum(p.readable for p in report.inputs),
            votes=sum(v.read for v in report.votes),
            **{name: counts[name] for name in ("counted", "resent", "duplicate", "late")},
            kept=len(await self.late_votes()),
            windows=len(published),
            revised=sum(window["revision"] > 1 for window in published.values()),
            differing=len(differing(offline, published)),
            seconds=round(seconds, 1),
        )


@dataclass(frozen=True)
class Place:
    """Where scenarios are played."""

    broker: str
    """its name in the account"""
    kafka: KafkaSettings
    """with a prefix of its own; the scenario sets the partitions"""
    triton_url: str
    folder: Path

    @asynccontextmanager
    async def flow(
        self, partitions: int, *, idle_s: float = NEVER_S, scores: int = 1, cache: bool = True
    ) -> AsyncIterator[Flow]:
        """Start the workers of a scenario."""
        kafka = self.kafka.model_copy(update={"partitions": partitions})
        await asyncio.to_thread(ensure_topics, kafka)
        environment = {
            "TICKERTONE_KAFKA__BOOTSTRAP": kafka.bootstrap or "",
            "TICKERTONE_KAFKA__PREFIX": kafka.prefix,
            "TICKERTONE_KAFKA__TRANSACTIONS": str(kafka.transactions),
            "TICKERTONE_KAFKA__SESSION_TIMEOUT_S": str(kafka.session_timeout_s),
            "TICKERTONE_TRITON__URL": self.triton_url,
            "TICKERTONE_SCORE__AUTHOR_KEY": "test",
            "TICKERTONE_SCORE__IDLE_S": str(idle_s),
            "TICKERTONE_SCORE__CACHE_TEXTS": "50000" if cache else "0",
        }
        stages = ["aggregate", *["score"] * scores]
        workers = [
            Worker(f"{stage}-{number}", stage, self.folder, environment)
            for number, stage in enumerate(stages)
        ]
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
            flow = Flow(kafka, producer)
            flow.aggregate, *flow.scores = workers

            async def ready() -> bool:
                return all([await worker.ready() for worker in workers])

            try:
                for worker in workers:
                    worker.start()
                await until(ready, WAIT_S, "all workers are ready")
                yield flow
            finally:
                await asyncio.gather(*(worker.stop() for worker in workers))
