"""The metrics of `tickertone connect`, on a registry that is handed in."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

_PREFIX: Final = "tickertone_connect"
UNAVAILABLE: Final = "unavailable"
BROKEN: Final = "broken"
GONE: Final = "gone"
REASONS: Final = (UNAVAILABLE, BROKEN, GONE)


class ConnectMetrics:
    """Domain verbs; the label `connector` holds the names of the configuration."""

    def __init__(self, registry: CollectorRegistry, connectors: Iterable[str] = ()) -> None:
        self._texts = Counter(
            f"{_PREFIX}_texts_total",
            "Texts that stand on Kafka, by connector.",
            ["connector"],
            registry=registry,
        )
        self._skipped = Counter(
            f"{_PREFIX}_items_skipped_total",
            "Items without text, id or end, by connector.",
            ["connector"],
            registry=registry,
        )
        self._failures = Counter(
            f"{_PREFIX}_failures_total",
            "Times a source did not answer as it should (unavailable), ended (gone), or our own "
            "code failed (broken).",
            ["connector", "reason"],
            registry=registry,
        )
        self._up = Gauge(
            f"{_PREFIX}_up_ratio",
            "1 while the last thing that a connector did went well.",
            ["connector"],
            registry=registry,
        )
        self._last = Gauge(
            f"{_PREFIX}_last_success_timestamp_seconds",
            "When a position of the connector was last confirmed.",
            ["connector"],
            registry=registry,
        )
        self._holding = Gauge(
            f"{_PREFIX}_holding_ratio", "1 while the broker confirms nothing.", registry=registry
        )
        for name in connectors:
            self._texts.labels(name)
            self._skipped.labels(name)
            self._up.labels(name)
            self._last.labels(name)
            for reason in REASONS:
                self._failures.labels(name, reason)

    def record_batch(self, connector: str, texts: int, skipped: int, now_ms: int) -> None:
        """Count what stands."""
        self._texts.labels(connector).inc(texts)
        self._skipped.labels(connector).inc(skipped)
        self._up.labels(connector).set(1)
        self._last.labels(connector).set(now_ms / 1000)

    def record_failure(self, connector: str, reason: str) -> None:
        """Count a failure; the reason is one of `REASONS`."""
        self._failures.labels(connector, reason).inc()
        self._up.labels(connector).set(0)

    def set_holding(self, held: bool) -> None:
        """Say whether the broker confirms nothing now."""
        self._holding.set(held)
