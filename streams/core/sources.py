"""Sources: the input partitions, told apart by topic id where the broker has ids.

A topic that is deleted and made anew keeps its name and starts again at offset 0; its id tells.
A source is written `texts.news.v1@<id>/3`, or `texts.news.v1/3` where there is no id.
"""

from collections.abc import Mapping
from typing import Final

from streams.core.errors import StateMismatch

WAY_OUT: Final = "use a new TICKERTONE_KAFKA__PREFIX and replay the texts (docs/operations.md)"


def source_name(topic: str, topic_id: str, partition: int) -> str:
    """Return the source of a partition; the id is empty where the broker has none."""
    return f"{topic}@{topic_id}/{partition}" if topic_id else f"{topic}/{partition}"


def split_source(source: str) -> tuple[str, str, str]:
    """Return the topic, its id or an empty string, and the source without the id."""
    topic, _, partition = source.rpartition("/")
    name, _, topic_id = topic.partition("@")
    return name, topic_id, f"{name}/{partition}"


class KnownTopics:
    """The ids of the topics that some state was made of.

    An id that is not known yet, or that the broker does not have, belongs to the topic of the same
    name: votes from before there were ids stay recognisable.
    """

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        """topic → id"""
        self._plain: dict[str, str] = {}

    def meet(self, ids: Mapping[str, str]) -> None:
        """Compare topics with those that are known, and remember new ones.

        Raises:
            StateMismatch: a topic has another id than before.
        """
        for topic, topic_id in ids.items():
            if topic_id and self.ids.setdefault(topic, topic_id) != topic_id:
                raise StateMismatch(
                    f"{topic} was made anew: its id is {topic_id}, but what was read so far came "
                    f"from {self.ids[topic]}; nothing of it is counted. To go on, {WAY_OUT}"
                )

    def plain(self, source: str) -> str:
        """Return a source without its topic's id.

        Raises:
            StateMismatch: the topic has another id than before.
        """
        known = self._plain.get(source)
        if known is None:
            topic, topic_id, known = split_source(source)
            self.meet({topic: topic_id})
            self._plain[source] = known
        return known
