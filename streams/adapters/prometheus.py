"""The workers' metrics: what happened, told by the agents in words of the domain."""

import contextlib
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.adapters.readiness import HOLDS
from streams.core.errors import Reason
from streams.core.fold import Counts
from streams.pipeline.score import Result

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_AGES = (0.5, 1, 2, 5, 10, 30, 60, 300, 3600, 86_400)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class _WorkerMetrics:
    """What both workers tell."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lost = Counter(
            "tickertone_records_lost",
            "Offsets cut by retention and accepted as lost by an operator.",
            registry=registry,
        )
        self._stalled = Gauge(
            "tickertone_stalled_seconds",
            "For how long input has waited and no commit moved.",
            registry=registry,
        )

    def lost(self, offsets: int) -> None:
        """A hole was passed because an operator had accepted it."""
        self._lost.inc(offsets)

    def stalled(self, seconds: float) -> None:
        """Input has waited for so long."""
        self._stalled.set(seconds)


class ScoreMetrics(_WorkerMetrics):
    """What score counts. consumed = scored + filtered + dead + abandoned + in flight."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"tickertone_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"tickertone_{name}", text, buckets=buckets, registry=registry)

        self._consumed = counter("texts_consumed", "Texts read from the inputs.")
        self._scored = counter("texts_scored", "Texts that became an opinion.")
        self._filtered = counter("texts_filtered", "Texts left unscored by design.", ("reason",))
        self._dead = counter("texts_dead", "Texts that became dead letters.", ("reason",))
        self._abandoned = counter("texts_abandoned", "Texts given up at a rebalance, read again.")
        self._in_flight = Gauge(
            "tickertone_texts_in_flight", "Texts read and not confirmed.", registry=registry
        )
        self._votes = counter("votes_published", "Votes confirmed by the broker.")
        self._markers = counter("markers_published", "Watermark markers confirmed.")
        self._inferences = counter("inferences", "Inputs sent to the model.")
        self._cached = counter("inferences_cached", "Inputs answered from the cache.")
        self._refused = counter("commits_refused", "Commits that did not hold (rebalance).")
        self._batch = histogram("batch_texts", "Texts in a batch.", _SIZES)
        self._inference_seconds = histogram(
            "inference_duration_seconds", "From batch to model's answer.", _SECONDS
        )
        self._publish_seconds = histogram(
            "publish_duration_seconds", "From answer to confirmed outputs.", _SECONDS
        )
        self._age = histogram("event_age_seconds", "Age of a text when it was scored.", _AGES)
        self._holding = Gauge(
            "tickertone_holding", "1 while work is held.", ("reason",), registry=registry
        )
        for reason in Reason:
            self._dead.labels(reason.value)
        self._filtered.labels("language")
        for hold in HOLDS:
            self._holding.labels(hold)

    def consumed(self, texts: int) -> None:
        """Texts were read."""
        self._consumed.inc(texts)
        self._in_flight.inc(texts)
        self._batch.observe(texts)

    def abandoned(self, texts: int) -> None:
        """Texts were given up because the generation changed."""
        self._abandoned.inc(texts)
        self._in_flight.dec(texts)

    def inferred(self, seconds: float) -> None:
        """The model answered a batch."""
        self._inference_seconds.observe(seconds)

    def published(self, result: Result, texts: int, seconds: float) -> None:
        """A batch stands on the broker."""
        self._in_flight.dec(texts)
        self._scored.inc(result.scored)
        self._filtered.labels("language").inc(result.filtered)
        for reason, count in result.dead.items():
            self._dead.labels(reason).inc(count)
        self._votes.inc(result.votes)
        self._inferences.inc(result.inferences)
        self._cached.inc(result.cached)
        self._publish_seconds.observe(seconds)
        for age in result.ages_ms:
            self._age.observe(age / 1000)

    def marked(self) -> None:
        """A marker stands in every partition."""
        self._markers.inc()

    def commit_refused(self) -> None:
        """A commit did not hold."""
        self._refused.inc()

    def holding(self, reason: str, held: bool) -> None:
        """Work is held, or goes on."""
        self._holding.labels(reason).set(held)


class AggregateMetrics(_WorkerMetrics):
    """What aggregate counts, per votes partition it owns.

    read = counted + resent + duplicate + late.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ("partition",)) -> Gauge:
            return Gauge(f"tickertone_{name}", text, labels, registry=registry)

        def counter(name: str, text: str) -> Counter:
            return Counter(f"tickertone_{name}", text, registry=registry)

        # Gauges: the numbers live in state and go back to what stands after a take-over.
        self._votes = gauge(
            "votes_ledger", "Votes by what became of them.", ("partition", "outcome")
        )
        self._balance = gauge("votes_ledger_difference", "0 while the votes ledger balances.")
        self._watermark = gauge("watermark_seconds", "Event time that is surely complete.")
        self._windows = counter("windows_published", "Window records written.")
        self._alerts = counter("alerts_published", "Alert records written.")
        self._takeovers = counter("takeovers", "Votes partitions taken over.")
        self._fenced = counter("takeovers_fenced", "Times another owner had taken over.")
        self._restore_seconds = Histogram(
            "tickertone_restore_duration_seconds",
            "Reading state back at a take-over.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "tickertone_aggregate_duration_seconds",
            "One batch of votes: fold, write, commit.",
            buckets=_SECONDS,
            registry=registry,
        )

    def applied(
        self,
        partition: int,
        counts: Counts,
        watermark: int | None,
        windows: int,
        alerts: int,
        seconds: float,
    ) -> None:
        """A batch of a partition stands."""
        label = str(partition)
        numbers: Mapping[str, int] = {
            "read": counts.read,
            "counted": counts.counted,
            "resent": counts.resent,
            "duplicate": counts.duplicate,
            "late": counts.late,
        }
        for outcome, number in numbers.items():
            self._votes.labels(label, outcome).set(number)
        ended = counts.counted + counts.resent + counts.duplicate + counts.late
        self._balance.labels(label).set(counts.read - ended)
        if watermark is not None:
            self._watermark.labels(label).set(watermark / 1000)
        self._windows.inc(windows)
        self._alerts.inc(alerts)
        self._batch_seconds.observe(seconds)

    def taken_over(self, seconds: float) -> None:
        """A partition's state was read back."""
        self._takeovers.inc()
        self._restore_seconds.observe(seconds)

    def released(self, partition: int) -> None:
        """A partition is another's now; what we last knew of it is no news."""
        label = str(partition)
        with contextlib.suppress(KeyError):  # it was ours, but nothing came
            for outcome in ("read", "counted", "resent", "duplicate", "late"):
                self._votes.remove(label, outcome)
            self._balance.remove(label)
            self._watermark.remove(label)

    def fenced(self) -> None:
        """Another owner took a partition."""
        self._fenced.inc()
