"""The gateway's Prometheus metrics, on a registry that is handed in."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.core.topics import ALERTS, INPUTS, OPINIONS, WINDOWS

READ_TOPICS = (OPINIONS, WINDOWS, ALERTS)
_PREFIX = "tickertone_gateway"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class GatewayMetrics:
    """Domain verbs; label values come from closed sets (routes, statuses, topics)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            f"{_PREFIX}_requests_total",
            "HTTP requests by route template, method and status.",
            ["route", "method", "status"],
            registry=registry,
        )
        self._duration = Histogram(
            f"{_PREFIX}_request_duration_seconds",
            "Time to the first byte of an answer, by route template.",
            ["route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._clients = Gauge(f"{_PREFIX}_stream_clients", "Open live streams.", registry=registry)
        self._dropped = Counter(
            f"{_PREFIX}_stream_clients_dropped_total",
            "Live streams ended because the client did not keep up.",
            registry=registry,
        )
        self._events = Counter(
            f"{_PREFIX}_stream_events_total", "Events sent to live streams.", registry=registry
        )
        self._records = Counter(
            f"{_PREFIX}_records_read_total", "Records read, by topic.", ["topic"], registry=registry
        )
        self._unreadable = Counter(
            f"{_PREFIX}_records_unreadable_total",
            "Records that are not what their topic promises, by topic.",
            ["topic"],
            registry=registry,
        )
        self._lag = Gauge(
            f"{_PREFIX}_reader_lag_records",
            "Records on the topic that have not been read.",
            ["topic"],
            registry=registry,
        )
        self._texts = Counter(
            f"{_PREFIX}_texts_accepted_total",
            "POSTed texts that the broker confirmed, by topic.",
            ["topic"],
            registry=registry,
        )
        self._held = Gauge(
            f"{_PREFIX}_records_held", "Records in memory, by kind.", ["kind"], registry=registry
        )
        self._ready = Gauge(
            f"{_PREFIX}_ready_ratio", "1 while /readyz says yes.", registry=registry
        )
        for topic in READ_TOPICS:
            self._records.labels(topic)
            self._unreadable.labels(topic)
            self._lag.labels(topic)
        for topic in INPUTS:
            self._texts.labels(topic)

    def record_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is a template, never a path."""
        self._requests.labels(route, method, str(status)).inc()
        self._duration.labels(route).observe(seconds)

    def record_read(self, topic: str, records: int, unreadable: int) -> None:
        """Count what a fetch brought."""
        self._records.labels(topic).inc(records)
        self._unreadable.labels(topic).inc(unreadable)

    def record_lag(self, topic: str, records: int) -> None:
        """Set how far the reader is behind."""
        self._lag.labels(topic).set(records)

    def record_accepted(self, topic: str) -> None:
        """Count a text that stands on the topic."""
        self._texts.labels(topic).inc()

    def record_event_sent(self) -> None:
        """Count an event handed to a live stream."""
        self._events.inc()

    def record_dropped(self, clients: int) -> None:
        """Count live streams that were ended for being slow."""
        self._dropped.inc(clients)

    def set_state(self, clients: int, ready: bool, held: dict[str, int]) -> None:
        """Set what is looked up when the page is scraped."""
        self._clients.set(clients)
        self._ready.set(ready)
        for kind, count in held.items():
            self._held.labels(kind).set(count)
