"""The topics on the broker, over kafka-python's admin client: look, make, change settings, ids."""

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from streams.adapters.broker_probe import PATIENCE_S, wait_for_broker
from streams.core.errors import BrokerUnreachable, ConfigurationError
from streams.core.topicplan import Found, Plan, Setting, TopicPlan, Written, plan_topics
from streams.core.topics import SPECS, Names, TopicSpec
from streams.settings import KafkaSettings

_FOR_THE_TOPIC: Final = "DYNAMIC_TOPIC_CONFIG"


def ensure_topics(
    settings: KafkaSettings, specs: Sequence[TopicSpec] = SPECS, patience_s: float = PATIENCE_S
) -> list[str]:
    """Create the topics that are missing and return their names; nothing is ever changed.

    Args:
        settings: The broker.
        specs: The topics.
        patience_s: How long to wait for a broker that does not answer yet.

    Raises:
        BrokerUnreachable: no broker answers at the address.
        ConfigurationError: the partition counts can't work, or the broker refuses a topic.
    """
    with _admin(settings, patience_s) as admin:
        plan = _plan(admin, settings, specs, (), with_config=False)
        if plan.refused:
            raise ConfigurationError("\n".join(plan.refused))
        missing = [topic for topic in plan.topics if topic.missing]
        try:
            _make(admin, missing)
        except TopicAlreadyExistsError:
            return []  # another process of ours was quicker
        return [topic.name for topic in missing]


def plan_apply(settings: KafkaSettings, written: Sequence[Written]) -> Plan:
    """Return what `apply_plan` would do; nothing is done yet.

    Args:
        settings: The broker.
        written: What the state says of the topics it was made of.

    Raises:
        BrokerUnreachable: no broker answers at the address.
        ConfigurationError: the broker refuses to tell.
    """
    with _admin(settings) as admin:
        return _plan(admin, settings, SPECS, written, with_config=True)


def apply_plan(settings: KafkaSettings, plan: Plan) -> None:
    """Make the missing topics and change the settings that differ.

    Raises:
        BrokerUnreachable: no broker answers at the address.
        ConfigurationError: the broker refuses; what it took until then stands.
    """
    with _admin(settings) as admin:
        _make(admin, [topic for topic in plan.topics if topic.missing])
        changed = [
            ConfigResource(
                ConfigResourceType.TOPIC, topic.name, {c.setting: c.new for c in topic.changes}
            )
            for topic in plan.topics
            if topic.changes
        ]
        if not changed:
            return
        # Incremental: what is not named stays. The check for unknown names is left out because
        # Tansu lists only what was set.
        results = admin.alter_configs(changed, incremental=True, raise_on_unknown=False)
        wrong = [f"{name}: {said}" for name, said in results["topic"].items() if said != "OK"]
        if wrong:
            raise ConfigurationError("the broker refuses settings: " + "; ".join(wrong))


def topic_ids(settings: KafkaSettings, topics: Iterable[str]) -> dict[str, str]:
    """Return the ids of topics by name (ours, without the prefix), as Kafka's own tools show them.

    A topic that is missing, or whose broker has no ids, has an empty one.

    Raises:
        BrokerUnreachable: no broker answers at the address, or it does not tell now.
    """
    names = Names(settings.prefix)
    with _admin(settings) as admin:
        try:
            described = _described(admin, [names.topic(topic) for topic in topics])
        except KafkaError as error:
            raise BrokerUnreachable(f"the broker does not describe topics: {error}") from error
    return {
        topic: _id(described[names.topic(topic)]) if names.topic(topic) in described else ""
        for topic in topics
    }


@contextmanager
def _admin(settings: KafkaSettings, patience_s: float = PATIENCE_S) -> Iterator[KafkaAdminClient]:
    bootstrap = settings.bootstrap or ""
    wait_for_broker(bootstrap, patience_s)
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap, bootstrap_timeout_ms=8_000, request_timeout_ms=20_000
        )
    except (KafkaError, ValueError, OSError) as error:
        raise BrokerUnreachable(f"no Kafka broker answers at {bootstrap}: {error}") from error
    try:
        yield admin
    except KafkaError as error:
        raise ConfigurationError(f"the broker refuses: {error}") from error
    finally:
        admin.close()


def _plan(
    admin: KafkaAdminClient,
    settings: KafkaSettings,
    specs: Sequence[TopicSpec],
    written: Sequence[Written],
    *,
    with_config: bool,
) -> Plan:
    names = Names(settings.prefix)
    wanted = [names.topic(spec.name) for spec in specs]
    described = _described(admin, wanted)
    configs = _configs(admin, list(described)) if with_config else {}
    found = {
        names.plain(name): Found(
            partitions=len(topic["partitions"]),
            replication=min((len(p["replica_nodes"]) for p in topic["partitions"]), default=0),
            id=_id(topic),
            config=configs.get(name),
        )
        for name, topic in described.items()
    }
    return plan_topics(
        specs,
        found,
        written,
        names=names,
        partitions=settings.partitions,
        replication=settings.replication,
        brokers=len(admin.describe_cluster()["brokers"]),
    )


def _described(admin: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return the metadata of the topics that exist."""
    found = {}
    for topic in admin.describe_topics(names):
        error = for_code(topic["error_code"])
        if error is UnknownTopicOrPartitionError:
            continue
        if topic["error_code"]:
            raise error(topic["name"])
        found[topic["name"]] = topic
    return found


def _configs(admin: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, Setting]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    described = admin.describe_configs(resources, config_filter="all").get("topic", {})
    return {
        name: {
            setting: Setting(told["value"], on_purpose=told["config_source"] == _FOR_THE_TOPIC)
            for setting, told in settings.items()
        }
        for name, settings in described.items()
    }


def _make(admin: KafkaAdminClient, topics: Sequence[TopicPlan]) -> None:
    if topics:
        admin.create_topics(
            [
                NewTopic(
                    name=topic.name,
                    num_partitions=topic.partitions,
                    replication_factor=topic.replication,
                    topic_configs=topic.config,
                )
                for topic in topics
            ],
            wait_for_metadata=True,  # else a reader that comes at once may not see them
        )


def _id(topic: dict[str, Any]) -> str:
    value = uuid.UUID(topic["topic_id"] or "0" * 32)
    return urlsafe_b64encode(value.bytes).decode().rstrip("=") if value.int else ""
