"""The topics: names, partition counts and settings, in one place."""

from dataclasses import dataclass, field
from typing import Final

DAY_MS: Final = 86_400_000

TEXTS_NEWS: Final = "texts.news.v1"
TEXTS_SOCIAL: Final = "texts.social.v1"
INPUTS: Final = (TEXTS_NEWS, TEXTS_SOCIAL)
OPINIONS: Final = "opinions.v1"
VOTES: Final = "votes.v1"
DEAD: Final = "texts.dead.v1"
STATE: Final = "state.v1"
WINDOWS: Final = "windows.v1"
LATE: Final = "votes.late.v1"
ALERTS: Final = "alerts.v1"
ACTIONS: Final = "actions.v1"
SUBSCRIPTIONS: Final = "subscriptions.v1"
TOKENS: Final = "tokens.v1"
CONNECTORS: Final = "connectors.v1"
CO_PARTITIONED: Final = (VOTES, STATE, WINDOWS, LATE)
"""Topics of equal partition counts: what aggregate writes goes to the number of its partition."""


@dataclass(frozen=True)
class TopicSpec:
    """How a topic is to be."""

    name: str
    partitions: int | None
    """None: the number of partitions in the settings"""
    config: dict[str, str] = field(default_factory=dict)


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}


SPECS: Final = (
    TopicSpec(TEXTS_NEWS, None, _kept(7)),
    TopicSpec(TEXTS_SOCIAL, None, _kept(7)),
    TopicSpec(OPINIONS, None, _kept(30)),
    TopicSpec(VOTES, None, _kept(7)),
    TopicSpec(DEAD, None, {**_kept(30), "max.message.bytes": str(2 << 20)}),
    TopicSpec(
        STATE,
        None,
        {
            "cleanup.policy": "compact",
            "segment.bytes": str(64 << 20),
            "min.compaction.lag.ms": str(3_600_000),
        },
    ),
    TopicSpec(WINDOWS, None, _kept(30)),
    TopicSpec(LATE, None, _kept(30)),
    TopicSpec(ALERTS, 1, _kept(365)),
    TopicSpec(ACTIONS, 1, {"cleanup.policy": "compact"}),
    TopicSpec(CONNECTORS, 1, {"cleanup.policy": "compact", "segment.bytes": str(16 << 20)}),
)


@dataclass(frozen=True)
class Names:
    """Topic and group names with the prefix of the settings."""

    prefix: str = ""

    def topic(self, name: str) -> str:
        """Return the name on the broker of one of our topics."""
        return self.prefix + name

    def group(self, name: str) -> str:
        """Return the consumer group id of one of our stages."""
        return f"{self.prefix}tickertone-{name}"

    def plain(self, topic: str) -> str:
        """Return our name of a topic on the broker."""
        return topic.removeprefix(self.prefix)
