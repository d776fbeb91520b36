"""Fakes of the ports, for our tests and for anybody's who builds upon us.

Each passes the same contract suite as the real thing (`tests/contract`).
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from streams.core.errors import ClassifierUnavailable, PublishFailed, UnscorableText
from streams.core.labels import TOPICS
from streams.ports import Outgoing, Prediction

_MILLION: Final = 1_000_000
_POSITIVE: Final = ("gain", "beat", "jump", "rise", "raise", "profit up", "surge")
_NEGATIVE: Final = ("loss", "sink", "fall", "cut", "probe", "warning", "miss")


class FakeClassifier:
    """Answers by rule: words decide the sentiment, the text's length the topic.

    `refuse` holds texts that are unscorable, `down` makes every call fail, `delay_s` slows it;
    all may be changed at any time. `calls` counts what was asked.
    """

    def __init__(self, *, delay_s: float = 0.0) -> None:
        """Up, refusing nothing."""
        self.down = False
        self.delay_s = delay_s
        self.refuse: set[str] = set()
        self.calls: list[tuple[str, ...]] = []

    @property
    def model(self) -> str:
        """Always `fake/1`."""
        return "fake/1"

    async def ready(self) -> bool:
        """Return whether it is up."""
        return not self.down

    async def classify(self, texts: Sequence[str]) -> list[Prediction | UnscorableText]:
        """Return one answer per text, in order.

        Raises:
            ClassifierUnavailable: it is `down`.
        """
        self.calls.append(tuple(texts))
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.down:
            raise ClassifierUnavailable("the fake is down")
        return [self._answer(text) for text in texts]

    def _answer(self, text: str) -> Prediction | UnscorableText:
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            return UnscorableText(f"no valid Unicode: {exc.reason}")
        if text in self.refuse:
            return UnscorableText("the fake refuses it")
        low = text.lower()
        ups = sum(low.count(word) for word in _POSITIVE)
        downs = sum(low.count(word) for word in _NEGATIVE)
        shares = (1 + 4 * downs, 2, 1 + 4 * ups)
        sentiment = [_MILLION * share // sum(shares) for share in shares]
        sentiment[1] += _MILLION - sum(sentiment)
        topic = [_MILLION // (2 * len(TOPICS))] * len(TOPICS)
        topic[len(text) % len(TOPICS)] += _MILLION - sum(topic)
        return Prediction((sentiment[0], sentiment[1], sentiment[2]), tuple(topic))


class MemorySink:
    """A sink for connectors: texts and positions as they would stand on Kafka.

    While `down` is set puts are held. `fail_before_position` lets the next put fail between the
    texts and the position, as a crash would.
    """

    def __init__(self) -> None:
        """Empty and up."""
        self.texts: list[Outgoing] = []
        self.at: dict[str, bytes] = {}
        self.puts = 0
        self.down = False
        self.fail_before_position = False

    async def positions(self) -> dict[str, bytes]:
        """Return the position of every connector that has one."""
        return dict(self.at)

    async def put(self, name: str, texts: Sequence[Outgoing], position: bytes) -> None:
        """Return when the texts, and after them the position, stand."""
        while self.down:  # noqa: ASYNC110 - a test may set it at any time
            await asyncio.sleep(0.01)
        self.texts += texts
        if self.fail_before_position:
            self.fail_before_position = False
            raise PublishFailed("the fake fails before the position, on purpose")
        self.at[name] = position
        self.puts += 1
