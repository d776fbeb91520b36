"""Creating the topics, over kafka-python's admin client."""

from collections.abc import Iterable

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from streams.core.errors import ConfigurationError
from streams.core.topics import SPECS, Names, TopicSpec
from streams.settings import KafkaSettings


def ensure_topics(settings: KafkaSettings, specs: Iterable[TopicSpec] = SPECS) -> list[str]:
    """Create the topics that are missing and return their names; nothing is ever changed.

    Raises:
        ConfigurationError: no broker answers at the address, or it refuses a topic.
    """
    names = Names(settings.prefix)
    try:
        admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap, request_timeout_ms=20_000)
    except (KafkaError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"no Kafka broker answers at {settings.bootstrap}: {error}. "
            "Check TICKERTONE_KAFKA__BOOTSTRAP, or leave it empty for the embedded broker."
        ) from error
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
