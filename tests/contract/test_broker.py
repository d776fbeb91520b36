"""What we ask of a broker: the embedded one, one node of Apache Kafka, and three."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiokafka
import pytest
from aiokafka.structs import TopicPartition as TP

from streams.adapters.clock import now_ms
from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.kafka_scan import scan
from streams.adapters.publisher import Fenced, Publisher
from streams.core.errors import ConfigurationError, PublishFailed
from streams.core.topics import DEAD, SPECS, STATE, VOTES, WINDOWS, Names
from streams.embedded.process import free_ports
from streams.ports import Outgoing
from streams.settings import KafkaSettings

Broker = tuple[str, KafkaSettings]
NO_TRANSACTIONS = "Tansu 0.6.0 has no transactions; there score and aggregate send plainly"

pytestmark = pytest.mark.brokers("tansu", "kafka", "kafka3")


@pytest.fixture
async def settings(any_broker: Broker) -> KafkaSettings:
    await asyncio.to_thread(ensure_topics, any_broker[1])
    return any_broker[1]


def lacks(broker: Broker, request: pytest.FixtureRequest, reason: str) -> None:
    """Say what Tansu can't do: the test must fail there, and pass everywhere else."""
    if broker[0] == "tansu":
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))


@asynccontextmanager
async def publisher(
    settings: KafkaSettings, transactional_id: str | None = None
) -> AsyncIterator[Publisher]:
    made = Publisher(settings, transactional_id)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def read(settings: KafkaSettings, topic: str) -> list[Any]:
    """Return the committed records of a topic by (partition, offset)."""
    name = Names(settings.prefix).topic(topic)
    async with scan(str(settings.bootstrap), name) as found:
        records = [r async for _, run in found.batches() for r in run]
    return sorted(records, key=lambda r: (r.partition, r.offset))


def vote(number: int, size: int = 0, partition: int = 0) -> Outgoing:
    return Outgoing(VOTES, b"k", b"%d" % number + b" " * size, partition=partition)


async def test_the_end_offset_is_one_behind_the_last_record(
    settings: KafkaSettings, any_broker: Broker, request: pytest.FixtureRequest
) -> None:
    """F2, embedded.md: Tansu answers base offset + 1 after a batch of several records."""
    wrong = "ListOffsets(latest) is the base offset + 1 of the last batch on Tansu 0.6.0"
    lacks(any_broker, request, wrong)
    async with publisher(settings) as sender:
        await sender.send([vote(n) for n in range(3)], now_ms())
    tp = TP(Names(settings.prefix).topic(VOTES), 0)
    async with aiokafka.AIOKafkaConsumer(bootstrap_servers=settings.bootstrap) as consumer:
        assert (await consumer.end_offsets([tp]))[tp] == 3


async def test_the_high_watermark_of_a_fetch_is_right(settings: KafkaSettings) -> None:
    """embedded.md: the end that all of our code uses."""
    async with publisher(settings) as sender:
        await sender.send([vote(n) for n in range(3)], now_ms())
    tp = TP(Names(settings.prefix).topic(VOTES), 0)
    async with aiokafka.AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign([tp])
        assert len((await consumer.getmany(tp, timeout_ms=10_000))[tp]) == 3
        assert consumer.highwater(tp) == 3


async def test_records_come_as_they_were_sent(settings: KafkaSettings) -> None:
    """F8.4: null keys, null values and headers stay what they are."""
    sent = [
        Outgoing(VOTES, None, b"v", (("kind", b"marker"), ("x", "ü".encode())), 1),
        Outgoing(VOTES, b"k", None, (), 1),
        Outgoing(VOTES, None, None, (("empty", b""),), 1),
        Outgoing(VOTES, b"", b"", (), 1),
    ]
    at = now_ms()
    async with publisher(settings) as sender:
        await sender.send(sent, at)
        await sender.send([], at)
    came = await read(settings, VOTES)
    assert [(r.key, r.value, tuple(r.headers)) for r in came] == [
        (o.key, o.value, o.headers) for o in sent
    ]
    assert {r.timestamp for r in came} == {at}


async def test_order_holds_over_many_producer_batches(settings: KafkaSettings) -> None:
    """protocol.md: each partition's records stand in the order in which they were handed over."""
    numbers = range(300)
    async with publisher(settings) as sender:  # 300 × 8 kB: five batches of 512 KiB
        await sender.send([vote(n, 8000, n % 2) for n in numbers], now_ms())
        await sender.send([vote(300 + n, 0, n % 2) for n in numbers], now_ms())
    came = await read(settings, VOTES)
    for partition in (0, 1):
        values = [int(r.value) for r in came if r.partition == partition]
        assert values == list(range(partition, 600, 2))


async def test_the_key_decides_the_partition_as_in_every_client(settings: KafkaSettings) -> None:
    """protocol.md: Kafka's murmur2 on the key."""
    keys = [f"ticker:{n}".encode() for n in range(50)]
    async with publisher(settings) as sender:
        await sender.send([Outgoing(WINDOWS, k, b"") for k in keys], now_ms())
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as other:
        for key in keys:
            await other.send(Names(settings.prefix).topic(WINDOWS), b"other", key)
        await other.flush()
    came = await read(settings, WINDOWS)
    assert len(came) == 100
    assert len({r.partition for r in came}) == 2
    assert len({(r.key, r.partition) for r in came}) == 50


async def test_a_dead_letter_of_the_largest_size_passes(settings: KafkaSettings) -> None:
    """F8.6: the record, its cut original and the headers fit where 1 MB is the default."""
    big = Outgoing(DEAD, b"k" * 1000, b"\xff" * (1_677_722), (("dl.error", b"e" * 2000),), 0)
    async with publisher(settings) as sender:
        await sender.send([big, Outgoing(DEAD, None, b"small", (), 0), big], now_ms())
    assert [len(r.value) for r in await read(settings, DEAD)] == [1_677_722, 5, 1_677_722]


async def test_what_the_broker_refuses_is_a_failed_send(settings: KafkaSettings) -> None:
    """protocol.md: nothing is committed for what was not confirmed."""
    async with publisher(settings) as sender:
        with pytest.raises(PublishFailed):
            await sender.send([vote(1, partition=77)], now_ms())
        await sender.send([vote(2)], now_ms())
    assert [r.value for r in await read(settings, VOTES)] == [b"2"]


async def test_a_record_over_the_limit_of_its_topic_fails(
    settings: KafkaSettings, any_broker: Broker, request: pytest.FixtureRequest
) -> None:
    """F8.6: Apache Kafka refuses over 1 MiB on a topic without a limit of its own."""
    lacks(any_broker, request, "Tansu 0.6.0 takes records of any size that we send")
    async with publisher(settings) as sender:
        with pytest.raises(PublishFailed):
            await sender.send([vote(1, 1_600_000)], now_ms())


async def test_an_aborted_transaction_is_invisible(
    settings: KafkaSettings, any_broker: Broker, request: pytest.FixtureRequest
) -> None:
    """F8.12: state and outputs stand or fall together."""
    lacks(any_broker, request, NO_TRANSACTIONS)
    async with publisher(settings, f"{settings.prefix}t") as sender:
        async with sender.transaction():
            await sender.send([vote(1)], now_ms())
        with pytest.raises(RuntimeError, match="on purpose"):  # noqa: PT012
            async with sender.transaction():
                await sender.send([vote(2), Outgoing(STATE, b"row", b"2", (), 0)], now_ms())
                raise RuntimeError("on purpose")
        async with sender.transaction():
            await sender.send([vote(3)], now_ms())
    assert [r.value for r in await read(settings, VOTES)] == [b"1", b"3"]
    assert await read(settings, STATE) == []
    tp = TP(Names(settings.prefix).topic(VOTES), 0)
    async with aiokafka.AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap, auto_offset_reset="earliest"
    ) as consumer:  # the aborted record is there for those who ask for it
        consumer.assign([tp])
        values: list[bytes] = []
        while len(values) < 3:
            values += [r.value for r in (await consumer.getmany(timeout_ms=5000)).get(tp, ())]
    assert values == [b"1", b"2", b"3"]


async def test_without_transactions_a_batch_is_sent_plainly(settings: KafkaSettings) -> None:
    """protocol.md: the same code runs on Tansu; a cut-short batch stands in part."""
    plain = settings.model_copy(update={"transactions": False})
    async with publisher(plain, f"{plain.prefix}t") as sender:
        with pytest.raises(RuntimeError, match="on purpose"):  # noqa: PT012
            async with sender.transaction():
                await sender.send([vote(1)], now_ms())
                raise RuntimeError("on purpose")
    assert [r.value for r in await read(plain, VOTES)] == [b"1"]


async def test_a_second_owner_fences_the_first(
    settings: KafkaSettings, any_broker: Broker, request: pytest.FixtureRequest
) -> None:
    """F8.13: whoever starts the transactional id last is the owner."""
    lacks(any_broker, request, NO_TRANSACTIONS)
    name = f"{settings.prefix}aggregate-0"
    async with publisher(settings, name) as old:
        async with old.transaction():
            await old.send([vote(1)], now_ms())
        async with publisher(settings, name) as new:
            with pytest.raises(Fenced):
                async with old.transaction():
                    await old.send([vote(2)], now_ms())
            with pytest.raises(PublishFailed):
                async with old.transaction():
                    await old.send([vote(3)], now_ms())
            async with new.transaction():
                await new.send([vote(4)], now_ms())
    assert [r.value for r in await read(settings, VOTES)] == [b"1", b"4"]


async def test_an_owner_is_fenced_in_the_middle_of_its_transaction(
    settings: KafkaSettings, any_broker: Broker, request: pytest.FixtureRequest
) -> None:
    """F8.13: a worker that was frozen with a batch in hand can't finish it."""
    lacks(any_broker, request, NO_TRANSACTIONS)
    name = f"{settings.prefix}aggregate-0"
    async with publisher(settings, name) as old:
        with pytest.raises(Fenced):  # noqa: PT012
            async with old.transaction():
                await old.send([vote(1)], now_ms())
                async with publisher(settings, name) as new, new.transaction():
                    await new.send([vote(2)], now_ms())
                await old.send([vote(3)], now_ms())
    assert [r.value for r in await read(settings, VOTES)] == [b"2"]


async def test_topics_are_created_once(any_broker: Broker) -> None:
    settings = any_broker[1]
    names = Names(settings.prefix)
    assert ensure_topics(settings) == [names.topic(spec.name) for spec in SPECS]
    assert ensure_topics(settings) == []
    async with publisher(settings) as sender:
        counts = {spec.name: await sender.partitions(spec.name) for spec in SPECS}
    assert counts == {spec.name: spec.partitions or settings.partitions for spec in SPECS}


async def test_missing_topics_are_added_to_those_that_exist(any_broker: Broker) -> None:
    settings = any_broker[1]
    ensure_topics(settings, SPECS[:2])
    assert len(ensure_topics(settings)) == len(SPECS) - 2


async def test_several_processes_may_create_the_topics_at_once(any_broker: Broker) -> None:
    settings = any_broker[1]
    await asyncio.gather(*(asyncio.to_thread(ensure_topics, settings) for _ in range(4)))
    async with publisher(settings) as sender:
        for spec in SPECS:
            assert await sender.partitions(spec.name) == (spec.partitions or settings.partitions)
    assert ensure_topics(settings) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_broker_that_is_not_there_is_said_soon(host: str) -> None:
    settings = KafkaSettings(bootstrap=f"{host}:{free_ports(1)[0]}")
    started = time.monotonic()
    with pytest.raises(ConfigurationError, match="no Kafka broker answers") as raised:
        ensure_topics(settings, patience_s=1)
    assert time.monotonic() - started < 5
    assert "TICKERTONE_KAFKA__BOOTSTRAP" in str(raised.value)


def test_an_address_without_a_port_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError, match="somewhere is not host:port"):
        ensure_topics(KafkaSettings(bootstrap="somewhere"))


async def test_a_publisher_without_a_broker_fails(recwarn: pytest.WarningsRecorder) -> None:
    """No producer is left open behind a start that failed."""
    sender = Publisher(KafkaSettings(bootstrap=f"127.0.0.1:{free_ports(1)[0]}"))
    with pytest.raises(PublishFailed, match="does not answer"):
        await sender.start()
    del sender
    gc.collect()
    assert not [w for w in recwarn if issubclass(w.category, ResourceWarning)]
