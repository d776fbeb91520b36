"""Creating the topics, over kafka-python's admin client."""

import socket
import time
from collections.abc import Iterable

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from streams.core.errors import BrokerUnreachable, ConfigurationError
from streams.core.topics import SPECS, Names, TopicSpec
from streams.settings import KafkaSettings


def ensure_topics(
    settings: KafkaSettings, specs: Iterable[TopicSpec] = SPECS, patience_s: float = 8.0
) -> list[str]:
    """Create the topics that are missing and return their names; nothing is ever changed.

    Args:
        settings: The broker.
        specs: The topics.
        patience_s: How long to wait for a broker that does not listen yet.

    Raises:
        BrokerUnreachable: no broker answers at the address.
        ConfigurationError: it refuses a topic.
    """
    names = Names(settings.prefix)
    _wait_for_listener(settings.bootstrap or "", patience_s)
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=settings.bootstrap,
            bootstrap_timeout_ms=8_000,
            request_timeout_ms=20_000,
        )
    except (KafkaError, ValueError, OSError) as error:
        raise _no_broker(settings.bootstrap, error) from error
    try:
        there = set(admin.list_topics())
        missing = [
            NewTopic(
                name=names.topic(spec.name),
                num_partitions=spec.partitions or settings.partitions,
                replication_factor=settings.replication,
                topic_configs=spec.config,
            )
            for spec in specs
            if names.topic(spec.name) not in there
        ]
        if missing:
            admin.create_topics(missing)
        return [topic.name for topic in missing]
    except TopicAlreadyExistsError:
        return []  # another process of ours was quicker
    except KafkaError as error:
        raise ConfigurationError(f"the broker refuses to create topics: {error}") from error
    finally:
        admin.close()


def _wait_for_listener(bootstrap: str, patience_s: float) -> None:
    """Find out at once what the client would say after half a minute of logged retries."""
    deadline = time.monotonic() + patience_s
    while True:
        for address in bootstrap.split(","):
            host, _, port = address.strip().rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
            except (OSError, ValueError) as error:
                failure = error
            else:
                return
        if time.monotonic() > deadline or isinstance(failure, ValueError):
            raise _no_broker(bootstrap, failure) from failure
        time.sleep(0.2)


def _no_broker(bootstrap: str | None, why: Exception) -> BrokerUnreachable:
    return BrokerUnreachable(
        f"no Kafka broker answers at {bootstrap}: {why}. "
        "Check TICKERTONE_KAFKA__BOOTSTRAP, or leave it empty for the embedded broker."
    )
