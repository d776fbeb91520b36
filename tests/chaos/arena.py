"""A world of its own for one scenario: topics, workers, a feed of texts, and eyes on progress."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition as TP

from streams.adapters.kafka_admin import ensure_topics
from streams.core.errors import ConfigurationError
from streams.core.records import KIND_HEADER, Kind, parse_time
from streams.core.topics import INPUTS, TEXTS_NEWS, TEXTS_SOCIAL, VOTES, Names
from streams.ledger import check_ledger
from streams.settings import KafkaSettings
from tests.support.workers import Worker, until

BROKEN = b'{"text": "cut off in the mid'
_BROKEN_EVERY = 97
_GIVE_UP_MS = 240_000
"""Longer than any stall of a broker, so that the feed itself loses nothing."""


class Arena:
    """One prefix on a broker with its workers."""

    def __init__(self, kafka: KafkaSettings, folder: Path, environment: Mapping[str, str]) -> None:
        self.kafka = kafka
        self.names = Names(kafka.prefix)
        self.folder = folder
        self.workers: list[Worker] = []
        self.sent: list[dict[str, Any]] = []
        """texts whose records stand"""
        self.broken = 0
        """malformed records that stand"""
        self.aborted = 0
        """texts of transactions that were given up"""
        self._ends: dict[TP, int] = {}
        self._votes: dict[TP, int] = {}
        self._environment = environment
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def bootstrap(self) -> str:
        """Address of the broker."""
        assert self.kafka.bootstrap
        return self.kafka.bootstrap

    # -- workers ----------------------------------------------------------------------------

    def add(
        self,
        stage: str,
        *,
        env: Mapping[str, str] | None = None,
        restart: bool = True,
    ) -> Worker:
        """Start one more worker."""
        name = f"{stage}-{next(self._numbers)}"
        worker = Worker(name, stage, self.folder, {**self._environment, **(env or {})})
        worker.start(restart=restart)
        self.workers.append(worker)
        return worker

    async def remove(self, worker: Worker) -> int | None:
        """Stop a worker as an operator would; its exit code."""
        self.workers.remove(worker)
        return await worker.stop()

    async def start(self, score: int = 1, aggregate: int = 1) -> None:
        """Start workers and wait until they are ready."""
        for _ in range(score):
            self.add("score")
        for _ in range(aggregate):
            self.add("aggregate")
        await self.ready()

    async def ready(self, seconds: float = 60) -> None:
        """Wait until all workers say they are ready."""

        async def all_ready() -> bool:
            return all([await worker.ready() for worker in self.workers])

        try:
            await until(all_ready, seconds, "all workers are ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def of(self, stage: str) -> list[Worker]:
        """Return the workers of a stage."""
        return [worker for worker in self.workers if worker.stage == stage]

    # -- feed -------------------------------------------------------------------------------

    async def feed(
        self, texts: Sequence[Mapping[str, Any]], rate: float, *, aborts: bool = False
    ) -> None:
        """Send texts in order at a pace (per second), some malformed records among them.

        Args:
            texts: Text records; the topic follows from `source`.
            rate: Texts a second.
            aborts: Send in transactions, and give up every third once before it is sent again.
        """
        options: dict[str, Any] = {"acks": "all", "request_timeout_ms": _GIVE_UP_MS}
        if self.kafka.transactions:
            options["enable_idempotence"] = True
        if aborts:
            options["transactional_id"] = f"{self.kafka.prefix}feed"
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, **options)
        await producer.start()
        try:
            started = time.monotonic()
            step = max(1, round(rate / 20))
            for number, at in enumerate(range(0, len(texts), step)):
                await asyncio.sleep(max(0.0, started + at / rate - time.monotonic()))
                if aborts:
                    await self._in_transactions(producer, texts, at, step, number % 3 == 2)
                else:
                    await self._send(producer, texts, at, step)
        finally:
            await producer.stop()

    async def _in_transactions(
        self,
        producer: AIOKafkaProducer,
        texts: Sequence[Mapping[str, Any]],
        at: int,
        step: int,
        abort_first: bool,
    ) -> None:
        if abort_first:
            await producer.begin_transaction()
            ends = dict(self._ends)
            sent, broken = len(self.sent), self.broken
            await self._send(producer, texts, at, step)
            await producer.abort_transaction()
            self.aborted += len(self.sent) - sent
            del self.sent[sent:]
            self._ends, self.broken = ends, broken
        async with producer.transaction():
            await self._send(producer, texts, at, step)

    async def _send(
        self, producer: AIOKafkaProducer, texts: Sequence[Mapping[str, Any]], at: int, step: int
    ) -> None:
        """Send one slice; a text's partition is the same in every run of the same texts."""
        futures = []
        for index, text in enumerate(texts[at : at + step], at):
            topic = self.names.topic(TEXTS_NEWS if text["source"] == "news" else TEXTS_SOCIAL)
            partition = index // 2 % self.kafka.partitions
            if index % _BROKEN_EVERY == 0:
                futures.append(await producer.send(topic, BROKEN, partition=partition))
                self.broken += 1
            value = json.dumps(text).encode()
            futures.append(await producer.send(topic, value, partition=partition))
        for future in futures:
            done = await future
            self._ends[TP(done.topic, done.partition)] = done.offset + 1
        self.sent += [dict(text) for text in texts[at : at + step]]

    async def end(self) -> None:
        """Tell every partition that nothing follows, so that all windows close."""
        times = (parse_time(text.get("observed_at", text["published_at"])) for text in self.sent)
        value = json.dumps({"event_time": max(filter(None, times))}).encode()
        headers = [(KIND_HEADER, Kind.END.value.encode())]
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", request_timeout_ms=_GIVE_UP_MS
        ) as producer:
            for topic in INPUTS:
                for partition in range(self.kafka.partitions):
                    await producer.send_and_wait(
                        self.names.topic(topic), value, partition=partition, headers=headers
                    )

    # -- progress ---------------------------------------------------------------------------

    async def _watch_votes(self) -> None:
        """Know the newest offset of every votes partition without asking for end offsets."""
        topic = self.names.topic(VOTES)
        while True:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap, auto_offset_reset="earliest"
            )
            try:
                await consumer.start()
                tps = [TP(topic, partition) for partition in range(self.kafka.partitions)]
                consumer.assign(tps)
                for tp in tps:
                    consumer.seek(tp, self._votes.get(tp, 0))
                while True:
                    for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                        self._votes[tp] = records[-1].offset + 1
            except KafkaError:
                await asyncio.sleep(0.5)
            finally:
                with contextlib.suppress(KafkaError):
                    await consumer.stop()

    async def _committed(self, stage: str, wanted: Mapping[TP, int]) -> bool:
        """Whether the commits of a stage's group have reached the offsets."""
        if not wanted:
            return True
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=self.names.group(stage),
            enable_auto_commit=False,
            request_timeout_ms=5_000,
        )
        try:
            await consumer.start()
            consumer.assign(list(wanted))
            for tp, offset in wanted.items():
                if (await consumer.committed(tp) or 0) < offset:
                    return False
        except (KafkaError, AssertionError):  # the client's, for a broker that is just back
            return False
        finally:
            with contextlib.suppress(KafkaError):
                await consumer.stop()
        return True

    async def recovered(self, seconds: float = 120) -> float:
        """Wait until all that lies in the inputs now is scored and counted; how long it took."""
        ends = dict(self._ends)
        took = await until(lambda: self._committed("score", ends), seconds, "score has caught up")
        votes = dict(self._votes)
        return took + await until(
            lambda: self._committed("aggregate", votes), seconds, "aggregate has caught up"
        )

    async def settle(self, seconds: float = 120) -> None:
        """Wait until the ledger balances."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                report = await check_ledger(self.bootstrap, self.names)
            except ConfigurationError as error:  # a broker that is just back knows nobody yet
                wrong = [str(error)]
            else:
                if report.balanced:
                    return
                wrong = report.differences
            if time.monotonic() > deadline:
                raise AssertionError("\n".join([*wrong, self.logs()]))
            await asyncio.sleep(0.3)

    def logs(self) -> str:
        return "\n".join(f"-- {w.name} {w.codes}\n{w.log[-1500:]}" for w in self.workers)

    async def close(self) -> None:
        """Stop everything."""
        for worker in self.workers:
            worker.thaw()
        await asyncio.gather(*(worker.stop() for worker in self.workers))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def watch(self) -> None:
        """Begin to follow votes.v1."""
        self._tasks.append(asyncio.create_task(self._watch_votes()))


@asynccontextmanager
async def arena(
    kafka: KafkaSettings, triton_url: str, folder: Path, more: Mapping[str, str] | None = None
) -> AsyncIterator[Arena]:
    """Make the topics of a prefix and yield its arena, without workers yet."""
    await asyncio.to_thread(ensure_topics, kafka)
    environment = {
        "TICKERTONE_KAFKA__BOOTSTRAP": kafka.bootstrap or "",
        "TICKERTONE_KAFKA__PREFIX": kafka.prefix,
        "TICKERTONE_KAFKA__PARTITIONS": str(kafka.partitions),
        "TICKERTONE_KAFKA__REPLICATION": str(kafka.replication),
        "TICKERTONE_KAFKA__TRANSACTIONS": str(kafka.transactions),
        "TICKERTONE_KAFKA__SESSION_TIMEOUT_S": str(kafka.session_timeout_s),
        "TICKERTONE_TRITON__URL": triton_url,
        "TICKERTONE_TRITON__DEADLINE_S": "3",
        "TICKERTONE_SCORE__AUTHOR_KEY": "test",
        # A fault may hold up a source for minutes: without this, others would pass it by.
        "TICKERTONE_SCORE__IDLE_S": "900",
        # Every batch goes to the model server.
        "TICKERTONE_SCORE__CACHE_TEXTS": "0",
        **(more or {}),
    }
    one = Arena(kafka, folder, environment)
    one.watch()
    try:
        yield one
    finally:
        await one.close()
