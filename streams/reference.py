"""The reference tables of the documentation, made from the code: `python -m streams.reference`."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry

from streams.adapters.prometheus import AggregateMetrics, ScoreMetrics
from streams.core.errors import RecordError
from streams.core.topics import SPECS
from streams.gateway.metrics import GatewayMetrics
from streams.settings import Settings
from streams.settings_check import describe


def render() -> str:
    """Return the whole page as Markdown."""
    parts = [
        "# Reference",
        "Made by `make docs` from the code; a test compares. Don't edit.",
        "## Settings",
        _table(("variable", "default", "meaning"), describe(Settings.model_construct())),
        "## Topics",
        "Names carry the prefix of the settings. Partitions: T is `TICKERTONE_KAFKA__PARTITIONS`.",
        _table(("topic", "partitions", "configuration"), _topics()),
        "## Dead letters",
        _table(("reason", "error", "when"), _reasons()),
        "## Metrics",
        _table(("process", "metric", "type", "labels", "meaning"), _metrics()),
    ]
    return "\n\n".join(parts) + "\n"


def _topics() -> Iterator[tuple[str, ...]]:
    for spec in SPECS:
        config = ", ".join(f"{name}={value}" for name, value in spec.config.items())
        yield spec.name, str(spec.partitions or "T"), config


def _reasons() -> Iterator[tuple[str, ...]]:
    for error in RecordError.__subclasses__():
        summary = " ".join((error.__doc__ or "").split())
        yield error.reason.value, error.__name__, summary


def _metrics() -> Iterator[tuple[str, ...]]:
    for process, made in (
        ("score", ScoreMetrics),
        ("aggregate", AggregateMetrics),
        ("gateway", GatewayMetrics),
    ):
        registry = CollectorRegistry()
        made(registry)
        for collector in sorted(
            registry._collector_to_names, key=lambda c: str(getattr(c, "_name", ""))
        ):
            name, kind = getattr(collector, "_name", ""), getattr(collector, "_type", "")
            labels = ", ".join(getattr(collector, "_labelnames", ()))
            suffix = "_total" if kind == "counter" else ""
            yield process, f"{name}{suffix}", kind, labels, getattr(collector, "_documentation", "")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 - its output is the page
