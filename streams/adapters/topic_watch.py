"""Noticing that a topic was deleted and made anew while a worker reads it.

Its offsets begin again at 0, so what lies below those that were read would pass for repeats.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from streams.adapters.kafka_admin import topic_ids
from streams.core.errors import BrokerUnreachable
from streams.core.sources import KnownTopics
from streams.settings import KafkaSettings

log = structlog.get_logger()

_EVERY_S: Final = 10.0
_TRIES: Final = 3


class TopicWatch:
    """The ids of some topics, as they were when the process began.

    Args:
        settings: The broker.
        topics: The topics, without the prefix.
    """

    def __init__(self, settings: KafkaSettings, topics: Sequence[str]) -> None:
        self._settings = settings
        self._topics = topics
        self._known = KnownTopics()

    @property
    def ids(self) -> dict[str, str]:
        """Topic → id; without those whose broker has no ids. The same object for ever."""
        return self._known.ids

    async def check(self) -> None:
        """Ask the broker and compare.

        Raises:
            StateMismatch: a topic has another id than when this process began.
            BrokerUnreachable: the broker does not tell, after several tries.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                ids = await asyncio.to_thread(topic_ids, self._settings, self._topics)
            except BrokerUnreachable:
                if attempt == _TRIES:
                    raise
            else:
                self._known.meet(ids)
                return

    async def run(self) -> None:
        """Check for ever; a broker that is away is waited for.

        Raises:
            StateMismatch: a topic has another id than when this process began.
        """
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.check()
            except BrokerUnreachable as error:
                log.warning("topics_not_checked", error=str(error))
