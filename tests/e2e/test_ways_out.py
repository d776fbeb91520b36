"""A worker that can't go on ends and says why; a loss waits until a person has accepted it.

Real worker processes on Apache Kafka and Triton; `tickertone accept` is what people type.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from kafka import KafkaAdminClient, TopicPartition

from streams.adapters.clock import now_ms
from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.publisher import Publisher
from streams.core.errors import BrokerUnreachable
from streams.core.topics import TEXTS_NEWS, VOTES, Names
from streams.embedded.process import free_ports
from streams.ledger import LedgerReport, check_ledger
from streams.ports import Outgoing
from streams.settings import KafkaSettings
from tests.support.kafka import Cluster
from tests.support.workers import Worker, until

pytestmark = pytest.mark.timeout(300)

VOTES_EACH = 4
"""of a text of ours: two companies, the market, the topic"""
END_S = 15.0
STALL_S = 10.0


class World:
    """One prefix on the broker, and the workers of a test."""

    def __init__(self, kafka: KafkaSettings, triton: str, folder: Path) -> None:
        self.kafka = kafka
        self.names = Names(kafka.prefix)
        self._folder = folder
        self._env = {
            "TICKERTONE_KAFKA__BOOTSTRAP": str(kafka.bootstrap),
            "TICKERTONE_KAFKA__PREFIX": kafka.prefix,
            "TICKERTONE_KAFKA__SESSION_TIMEOUT_S": "6",
            "TICKERTONE_TRITON__URL": triton,
            "TICKERTONE_SCORE__AUTHOR_KEY": "test",
            "TICKERTONE_RUN_DIR": str(folder),
        }
        self._sent = 0

    @asynccontextmanager
    async def worker(self, stage: str, ready: bool = True, **env: str) -> AsyncIterator[Worker]:
        """One worker that nobody restarts; ready if it is to be, unless it has ended already."""
        more = {f"TICKERTONE_{name}": value for name, value in env.items()}
        made = Worker(stage, stage, self._folder, {**self._env, **more})
        made.start(restart=False)
        try:

            async def up() -> bool:
                return bool(made.codes) or await made.ready()

            if ready:
                await until(up, 60, f"{stage} is ready")
            yield made
        finally:
            await made.stop()

    async def send(
        self, number: int, partition: int = 0, text: Callable[[int], bytes] | None = None
    ) -> None:
        """Write texts to a partition of the news."""
        records = [
            Outgoing(TEXTS_NEWS, None, (text or _text)(n), partition=partition)
            for n in range(self._sent, self._sent + number)
        ]
        self._sent += number
        publisher = Publisher(self.kafka)
        await publisher.start()
        try:
            await publisher.send(records, now_ms())
        finally:
            await publisher.stop()

    async def cut(self, topic: str, partition: int, before: int) -> None:
        """Do what retention does: remove the records before an offset (-1: all)."""
        admin = KafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        place = TopicPartition(self.names.topic(topic), partition)
        try:
            await asyncio.to_thread(admin.delete_records, {place: before})
        finally:
            admin.close()

    async def type(self, *words: str) -> str:
        """Run a command of ours as people do; what it prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams.cli", *words),
            env={**os.environ, **self._env, "COLUMNS": "300"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()

    async def settled(self, seconds: float = 60) -> LedgerReport:
        async def balanced() -> bool:
            try:
                return (await self.ledger()).balanced
            except BrokerUnreachable:  # just back, a broker knows nobody for a moment
                return False

        await until(balanced, seconds, "the ledger balances")
        return await self.ledger()

    async def settled_texts(self, number: int) -> None:
        """Wait until so many texts have an outcome."""

        async def done() -> bool:
            return sum(p.scored + p.dead for p in (await self.ledger()).inputs) == number

        await until(done, 60, f"{number} texts are done")

    async def ledger(self) -> LedgerReport:
        return await check_ledger(str(self.kafka.bootstrap), self.names)


def _text(number: int) -> bytes:
    words = f"Nokia sinks as $AAPL gains {number} times"
    return json.dumps({"text": words, "published_at": now_ms(), "lang": "en"}).encode()


@pytest.fixture
def world(on_kafka: KafkaSettings, triton_url: str, tmp_path: Path) -> World:
    ensure_topics(on_kafka)
    return World(on_kafka, triton_url, tmp_path)


async def blocked(worker: Worker) -> dict[str, str]:
    """What /readyz says stands in the way."""
    url = f"http://127.0.0.1:{worker.port}/readyz"
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return dict((await response.json())["blocked"])
    except aiohttp.ClientError:
        return {"assignment": "not up yet"}


def last_line(worker: Worker) -> str:
    return worker.log.strip().splitlines()[-1]


@pytest.mark.parametrize("stage", ["score", "aggregate"])
async def test_a_worker_whose_agent_dies_ends_with_one_line(world: World, stage: str) -> None:
    async with AsyncExitStack() as stack:
        if stage == "aggregate":
            await stack.enter_async_context(world.worker("score"))
        worker = await stack.enter_async_context(
            world.worker(stage, FAULT=f"{stage}:outputs:1:raise")
        )
        await world.send(10)
        begun = time.monotonic()
        assert await worker.ended(END_S) == 1
        print(f"{stage} ended {time.monotonic() - begun:.1f} s after the texts came")
    line = last_line(worker)
    assert line.startswith(f"tickertone: ContractError: {stage} died of RuntimeError('on purpose")
    assert worker.log.count("tickertone: ") == 1


@pytest.mark.parametrize(("stage", "step"), [("score", "outputs"), ("aggregate", "taken")])
async def test_a_worker_that_stalls_says_so_and_ends(world: World, stage: str, step: str) -> None:
    async with AsyncExitStack() as stack:
        if stage == "aggregate":
            await stack.enter_async_context(world.worker("score"))
        fault = {"FAULT": f"{stage}:{step}:1:stall", "KAFKA__STALL_S": str(STALL_S)}
        worker = await stack.enter_async_context(world.worker(stage, **fault))

        async def stalled() -> bool:
            return "stalled" in await blocked(worker)

        await world.send(10)
        said = await until(stalled, STALL_S, "it says that it stalls")
        assert said > STALL_S / 3
        assert (await worker.metric("tickertone_stalled_seconds")) >= STALL_S / 2
        ended = time.monotonic()
        assert await worker.ended(STALL_S / 2 + END_S) == 1
        print(
            f"{stage}: not ready after {said:.1f} s, ended {time.monotonic() - ended:.1f} s later"
        )
    place = TEXTS_NEWS if stage == "score" else VOTES
    assert last_line(worker).startswith(f"tickertone: Stalled: {world.names.topic(place)}/")


async def test_idle_workers_and_a_declared_hold_are_no_stall(world: World) -> None:
    """Work is done, then nothing comes; or Triton is away, for longer than a stall may last."""
    (nowhere,) = free_ports(1)
    short = {"KAFKA__STALL_S": str(STALL_S)}
    async with world.worker("score", **short) as score, world.worker("aggregate", **short):
        await world.send(20)
        publisher = Publisher(world.kafka, f"{world.kafka.prefix}texts")
        await publisher.start()
        try:
            async with publisher.transaction():  # leaves control records at the end of the log
                await publisher.send([Outgoing(TEXTS_NEWS, None, _text(99), partition=1)], now_ms())
        finally:
            await publisher.stop()
        await world.settled()
        await asyncio.sleep(STALL_S + 4)
        assert score.codes == []
        assert await blocked(score) == {}
        assert await score.metric("tickertone_stalled_seconds") == 0
    async with world.worker("aggregate", **short) as aggregate:
        # A new owner, to whom every vote that is fetched may be an old one.
        await asyncio.sleep(STALL_S + 4)
        assert aggregate.codes == []
    async with world.worker("score", False, TRITON__URL=f"127.0.0.1:{nowhere}", **short) as held:

        async def holds() -> bool:
            return "classifier" in await blocked(held)

        await world.send(5)
        await until(holds, 60, "score holds")
        await asyncio.sleep(STALL_S + 4)
        assert held.codes == []
        assert (await blocked(held)).keys() == {"classifier"}


@pytest.mark.usefixtures("kafka")
async def test_a_broker_that_does_not_answer_is_no_stall(triton_url: str, tmp_path: Path) -> None:
    """It is frozen in mid-work for longer than a stall may last; then all goes on."""
    cluster = Cluster(tmp_path / "kafka")  # the shared one is not ours to freeze
    # A node that was frozen takes seconds to lead again, and clients as long to find out.
    stall_s = 3 * STALL_S
    short = {"KAFKA__STALL_S": str(stall_s)}
    try:
        await asyncio.to_thread(cluster.start)
        kafka = KafkaSettings(bootstrap=cluster.bootstrap, partitions=2, session_timeout_s=6)
        ensure_topics(kafka)
        world = World(kafka, triton_url, tmp_path)
        both = world.worker("score", **short), world.worker("aggregate", **short)
        async with both[0] as score, both[1] as aggregate:

            async def taken() -> bool:
                return aggregate.log.count("partition_taken_over") == kafka.partitions

            # A takeover connects anew; without a broker it ends the worker, which is restarted.
            await until(taken, 60, "every partition is taken over")
            await world.send(1000)
            await until(lambda: _some(score), 60, "texts are scored")
            cluster.freeze_node(1)
            try:
                await asyncio.sleep(stall_s + 6)
                assert "stalled" not in {**await blocked(score), **await blocked(aggregate)}
            finally:
                cluster.thaw_node(1)
            report = await world.settled(120)
            assert (score.codes, aggregate.codes) == ([], [])
        assert sum(p.scored for p in report.inputs) == 1000
    finally:
        cluster.close()


async def _some(score: Worker) -> bool:
    return await score.metric("tickertone_texts_scored_total") > 0


@pytest.mark.parametrize("running", [True, False], ids=["overtaken", "at its start"])
async def test_score_waits_until_a_hole_in_the_texts_is_accepted(
    world: World, running: bool
) -> None:
    async with world.worker("score"):
        await world.send(10)
        await world.settled_texts(10)
    if running:
        # Frozen while retention passes it: its position is below the log's start.
        async with world.worker("score") as score:
            assert score.freeze()
            await asyncio.sleep(0.5)  # the fetch that is on its way ends without records
            await world.send(10)
            await world.cut(TEXTS_NEWS, 0, 15)
            assert score.thaw()
            assert await score.ended(30) == 1
    else:
        await world.send(10)
        await world.cut(TEXTS_NEWS, 0, 15)
        async with world.worker("score") as score:
            assert await score.ended(30) == 1
    command = "tickertone accept hole texts.news.v1/0 --from 10 --to 15 --why"
    assert "LostRecords: texts.news.v1/0: the records of offsets 10 … 14" in last_line(score)
    assert command in last_line(score)

    words = command.split()[1:]
    said = await world.type(*words, "disk was full", "--who", "ann")
    assert "accepted by ann: texts.news.v1/0 without offsets 10 … 14" in said
    async with world.worker("score") as score, world.worker("aggregate"):
        report = await world.settled()
        assert await score.metric("tickertone_records_lost_total") == 5
        assert "disk was full" in score.log
    assert [p.scored for p in report.inputs if p.readable] == [5]
    assert [a.why for a in report.accepted] == ["disk was full"]
    for listed in (await world.type("accept", "list"), await world.type("ledger", "check")):
        assert "ann" in listed
        assert "texts.news.v1/0 without offsets 10 … 14" in listed
        assert "disk was full" in listed


async def test_aggregate_waits_until_a_hole_in_the_votes_is_accepted(world: World) -> None:
    async with world.worker("score"):
        async with world.worker("aggregate"):
            await world.send(10)
            await world.settled()
        await world.send(10)
        await world.settled_texts(20)
        for partition in range(world.kafka.partitions):
            await world.cut(VOTES, partition, -1)
        for _ in range(world.kafka.partitions):  # markers come behind each hole
            async with world.worker("aggregate") as aggregate:
                assert await aggregate.ended(40) == 1
            line = last_line(aggregate)
            assert "LostRecords: votes.v1/" in line
            command = line.partition("without them: tickertone ")[2]
            await world.type(*command.replace("'…'", "cut").split())
        async with world.worker("aggregate") as aggregate:
            await world.send(10)
            await world.settled_texts(30)
            report = await world.settled()
            assert await aggregate.metric("tickertone_records_lost_total") > 0
    assert len({action.partition for action in report.accepted}) == world.kafka.partitions
    counted = sum(votes.counts["counted"] for votes in report.votes)
    assert counted == 20 * VOTES_EACH


async def test_a_held_flood_waits_for_an_acceptance_after_it_began(world: World) -> None:
    limits = {"SCORE__DEAD_RUN": "20", "KAFKA__STALL_S": str(STALL_S)}
    await world.type("accept", "dead-letters", "--why", "too early")

    async def held(score: Worker) -> bool:
        return "dead_letters" in await blocked(score)

    async with world.worker("score", **limits) as score:
        await world.send(30, text=lambda n: b"not json")
        await world.send(10)
        await until(lambda: held(score), 30, "score holds")
        assert "tickertone accept dead-letters" in (await blocked(score))["dead_letters"]
        await asyncio.sleep(STALL_S + 4)  # an earlier acceptance is not for this flood
        assert await held(score)
        assert score.kill()
    async with (
        world.worker("score", ready=False, **limits) as score,
        world.worker("aggregate"),
    ):
        await until(lambda: held(score), 30, "a restarted score holds as well")
        await asyncio.sleep(4)
        assert await held(score)
        await world.type("accept", "dead-letters", "--why", "known feed", "--who", "ann")
        took = await until(score.ready, 20, "score goes on")
        print(f"goes on after {took:.1f} s")
        report = await world.settled()
        assert "known feed" in score.log
        assert score.codes == []
    assert [(p.scored, p.dead) for p in report.inputs if p.readable] == [(10, 30)]
    async with world.worker("score", **limits):
        pass  # ready: what was accepted holds nobody again
