"""`tickertone topics apply` and what workers do at start, on real brokers, as processes."""

import asyncio
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition as TP
from prometheus_client import CollectorRegistry

from streams.adapters.clock import now_ms
from streams.adapters.kafka_admin import apply_plan, ensure_topics, plan_apply, topic_ids
from streams.adapters.prometheus import AggregateMetrics
from streams.adapters.publisher import Publisher
from streams.adapters.readiness import Readiness
from streams.adapters.state_log import read_written
from streams.agents.aggregate import AggregateAgent
from streams.core.errors import ConfigurationError, StateMismatch
from streams.core.fold import Fold
from streams.core.records import Kind
from streams.core.sources import source_name
from streams.core.topicplan import Plan
from streams.core.topics import INPUTS, SPECS, STATE, VOTES, Names
from streams.core.votes import Marker
from streams.ports import Outgoing
from streams.settings import AggregateSettings, KafkaSettings
from tests.support.workers import until

with warnings.catch_warnings():
    # kafka-python reads its schemas in a way that Python 3.11 alone calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient
    from kafka.admin import ConfigResource, ConfigResourceType

Broker = tuple[str, KafkaSettings]
WAY_OUT = "use a new TICKERTONE_KAFKA__PREFIX and replay the texts"


@pytest.fixture
def settings(any_broker: Broker) -> KafkaSettings:
    return any_broker[1]


@contextmanager
def admin(settings: KafkaSettings) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=settings.bootstrap)
    try:
        yield client
    finally:
        client.close()


def tickertone(settings: KafkaSettings, *words: str, **more: object) -> tuple[int, str, str]:
    """Run a command to its end; exit code, output without line breaks, errors."""
    environment = {
        **os.environ,
        "COLUMNS": "400",
        **{
            f"TICKERTONE_KAFKA__{name.upper()}": str(value)
            for name, value in {**settings.model_dump(), **more}.items()
        },
        "TICKERTONE_TRITON__URL": "127.0.0.1:9",
        "TICKERTONE_GATEWAY__PORT": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def apply(settings: KafkaSettings, *words: str, **more: object) -> tuple[int, str, str]:
    return tickertone(settings, "topics", "apply", *words, **more)


async def planned(settings: KafkaSettings) -> Plan:
    """What `apply` would show."""
    return await asyncio.to_thread(plan_apply, settings, await read_written(settings))


def text(plan: Plan) -> str:
    return "\n".join(" ".join(line) for line in plan.lines())


def config(settings: KafkaSettings, topic: str) -> dict[str, str]:
    name = Names(settings.prefix).topic(topic)
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    with admin(settings) as client:
        told = client.describe_configs([resource], config_filter="all")["topic"][name]
    return {setting: value["value"] for setting, value in told.items()}


def replaced(settings: KafkaSettings, topic: str) -> None:
    """Delete a topic and make it anew, as an operator in a hurry does."""
    name = Names(settings.prefix).topic(topic)
    before = topic_ids(settings, [topic])
    with admin(settings) as client:
        client.delete_topics([name])
    for _ in range(100):
        ensure_topics(settings)
        after = topic_ids(settings, [topic])
        if after[topic] and after != before:
            return
    raise AssertionError(f"{topic} was not made anew")


async def write_state(settings: KafkaSettings, *, ids: bool = True) -> None:
    """Write the row `@partition` of a fold that has read a marker of every input partition."""
    known = await asyncio.to_thread(topic_ids, settings, (*INPUTS, VOTES, STATE))
    sources = tuple(source_name(t, known[t] if ids else "", n) for t in INPUTS for n in range(2))
    fold = Fold(0, settings.partitions, 0)
    fold.meet({t: known[t] for t in (VOTES, STATE)} if ids else {})
    marker = Marker(1, dict.fromkeys(sources, (1_700_000_000_000, None)), sources)
    fold.apply(0, 0, Kind.MARKER, marker.to_json(), 0)
    publisher = Publisher(settings)
    await publisher.start()
    try:
        rows = fold.take()[1].items()
        await publisher.send([Outgoing(STATE, k.encode(), v, (), 0) for k, v in rows], now_ms())
    finally:
        await publisher.stop()


async def test_apply_shows_first_and_makes_what_is_missing_once(settings: KafkaSettings) -> None:
    names = [Names(settings.prefix).topic(spec.name) for spec in SPECS]
    code, out, _ = apply(settings, "--dry-run")
    assert code == 0
    assert all(f"make  {name} " in out for name in names)
    code, _, err = apply(settings)
    assert code == 2
    assert "add --yes" in err
    assert set(topic_ids(settings, [spec.name for spec in SPECS]).values()) == {""}, "none is made"
    assert apply(settings, "--yes")[0] == 0
    assert set(config(settings, STATE).items()) >= {
        ("cleanup.policy", "compact"),
        ("segment.bytes", "67108864"),
        ("min.compaction.lag.ms", "3600000"),
    }
    plan = await planned(settings)
    assert plan.to_do == 0
    assert text(plan).count("as it should be") == len(SPECS)


async def until_told(settings: KafkaSettings, topic: str, name: str, value: str) -> None:
    """Wait until the broker tells a setting: Kafka confirms a change before it tells of it."""

    async def told() -> bool:
        return config(settings, topic)[name] == value

    await until(told, 10, f"the broker tells {name} {value}")


async def test_a_setting_that_somebody_changed_is_shown_and_put_right(
    settings: KafkaSettings, any_broker: Broker
) -> None:
    ensure_topics(settings)
    name = Names(settings.prefix).topic(VOTES)
    theirs = ConfigResource(
        ConfigResourceType.TOPIC, name, {"retention.ms": "1000", "compression.type": "zstd"}
    )
    with admin(settings) as client:
        client.alter_configs([theirs], incremental=True, raise_on_unknown=False)
    await until_told(settings, VOTES, "retention.ms", "1000")
    whose = "set for this topic" if any_broker[0] == "kafka" else "the broker's default"
    plan = await planned(settings)
    assert f"change {name} retention.ms: 1000 ({whose}) → 604800000" in text(plan)
    assert plan.to_do == 1
    assert config(settings, VOTES)["retention.ms"] == "1000"
    code, out, _ = apply(settings, "--yes")
    assert code == 0
    assert f"retention.ms: 1000 ({whose}) → 604800000" in out
    await until_told(settings, VOTES, "retention.ms", "604800000")
    after = config(settings, VOTES)
    assert (after["retention.ms"], after["compression.type"]) == ("604800000", "zstd")
    assert (await planned(settings)).to_do == 0


async def test_workers_do_not_start_on_counts_that_can_not_work(settings: KafkaSettings) -> None:
    """A vote for a partition that windows.v1 has not would wait for ever."""
    windows = [spec for spec in SPECS if spec.name == "windows.v1"]
    ensure_topics(settings.model_copy(update={"partitions": 1}), windows)
    rest = tuple(s if s.partitions else replace(s, partitions=2) for s in SPECS[:-3])
    ensure_topics(settings, [s for s in rest if s.name in INPUTS])
    with admin(settings) as client:
        client.create_topics(
            {Names(settings.prefix).topic(VOTES): {"num_partitions": 2, "replication_factor": 1}}
        )
    for command in ("score", "aggregate", "gateway"):
        code, _, err = tickertone(settings, command)
        assert code == 2, err
        assert f"{settings.prefix}votes.v1 has 2 partitions" in err
        assert f"{settings.prefix}windows.v1 has 1 partition" in err
        assert WAY_OUT in err
        assert len(err.strip().splitlines()) == 1
    code, out, err = apply(settings, "--yes")
    assert code == 2
    assert "nothing was done" in err
    assert "make" in out
    assert topic_ids(settings, [STATE]) == {STATE: ""}, "nothing at all is made"


async def test_alerts_with_several_partitions_are_refused(settings: KafkaSettings) -> None:
    name = Names(settings.prefix).topic("alerts.v1")
    with admin(settings) as client:
        client.create_topics({name: {"num_partitions": 3, "replication_factor": 1}})
    with pytest.raises(ConfigurationError, match=r"alerts\.v1 has 3 partitions, it must have 1"):
        ensure_topics(settings)


async def test_a_later_count_in_the_settings_changes_nothing(settings: KafkaSettings) -> None:
    ensure_topics(settings)
    assert ensure_topics(settings.model_copy(update={"partitions": 5})) == []
    plan = await planned(settings.model_copy(update={"partitions": 5}))
    assert not plan.to_do
    assert not plan.refused
    assert "2 partitions, TICKERTONE_KAFKA__PARTITIONS is 5" in text(plan)


async def test_more_replicas_than_brokers_are_said_plainly(settings: KafkaSettings) -> None:
    more = settings.model_copy(update={"replication": 3})
    said = "TICKERTONE_KAFKA__REPLICATION is 3, but the broker knows of 1 broker:"
    assert said in "".join((await planned(more)).refused)
    with pytest.raises(ConfigurationError, match=said):
        ensure_topics(more)


@pytest.mark.parametrize("topic", [INPUTS[0], VOTES])
async def test_a_topic_made_anew_under_state_is_refused(
    settings: KafkaSettings, topic: str
) -> None:
    ensure_topics(settings)
    await write_state(settings)
    assert not (await planned(settings)).refused
    before = topic_ids(settings, [topic])[topic]
    replaced(settings, topic)
    code, _, err = apply(settings, "--yes")
    assert code == 2
    assert f"{settings.prefix}{topic} was made anew" in err
    assert before in err
    assert WAY_OUT in err


class Signal:
    def connect(self, receiver: Any) -> None:
        """Nobody sends it here."""


async def test_an_owner_refuses_state_of_a_votes_topic_that_was_made_anew(
    settings: KafkaSettings,
) -> None:
    ensure_topics(settings)
    await write_state(settings)
    app: Any = SimpleNamespace(consumer_generation_id=1, on_partitions_assigned=Signal())

    async def taken_over() -> int:
        metrics, ready = AggregateMetrics(CollectorRegistry()), Readiness()
        agent = AggregateAgent(app, settings, AggregateSettings(), (), metrics, ready)
        agent._partitions = settings.partitions
        await agent._generation(1)
        owner = await agent._take_over(TP(Names(settings.prefix).topic(VOTES), 0))
        await agent._drop(0)
        return owner.fold.applied

    assert await taken_over() == 0
    await asyncio.to_thread(replaced, settings, VOTES)
    with pytest.raises(StateMismatch, match=r"votes\.v1 was made anew"):
        await taken_over()


async def test_a_topic_that_is_gone_under_state_is_not_made_anew(settings: KafkaSettings) -> None:
    ensure_topics(settings)
    await write_state(settings, ids=False)
    name = Names(settings.prefix).topic(VOTES)
    with admin(settings) as client:
        client.delete_topics([name])
    assert f"{name} is gone" in "".join((await planned(settings)).refused)
    assert apply(settings, "--yes")[0] == 2
    assert topic_ids(settings, [VOTES]) == {VOTES: ""}


async def test_state_of_another_count_is_refused(settings: KafkaSettings) -> None:
    ensure_topics(settings)
    await write_state(settings.model_copy(update={"partitions": 7}))
    refused = "".join((await planned(settings)).refused)
    assert "votes.v1 has 2 partitions, but the state was written with 7;" in refused


async def test_the_newest_row_of_each_partition_says_what_state_was_made_of(
    settings: KafkaSettings,
) -> None:
    assert await read_written(settings) == []
    ensure_topics(settings)
    assert await read_written(settings) == []
    await write_state(settings, ids=False)
    await write_state(settings)
    (row,) = await read_written(settings)
    assert (row.partition, row.partitions) == (0, 2)
    assert row.topics == topic_ids(settings, (*INPUTS, VOTES, STATE))


@pytest.mark.brokers("kafka3")
async def test_with_three_replicas_two_must_have_a_record(settings: KafkaSettings) -> None:
    apply_plan(settings, await planned(settings))
    assert config(settings, VOTES)["min.insync.replicas"] == "2"
    assert (await planned(settings)).to_do == 0


def test_no_broker_has_an_exit_code_of_its_own() -> None:
    code, _, err = apply(KafkaSettings(bootstrap="127.0.0.1:9"))
    assert code == 3
    assert "no Kafka broker answers at 127.0.0.1:9" in err
    code, _, err = apply(KafkaSettings(bootstrap="somewhere"))
    assert code == 2
    assert "somewhere is not host:port" in err
