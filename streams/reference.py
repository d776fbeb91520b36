"""The reference of the documentation, made from the code.

`python -m streams.reference` prints the tables, `python -m streams.reference FOLDER` writes the
JSON Schema of each topic's records there.
"""

import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import orjson
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter

from streams.adapters.prometheus import AggregateMetrics, ScoreMetrics
from streams.connectors.build import fields
from streams.connectors.metrics import ConnectMetrics
from streams.core.addresses import Refusal
from streams.core.errors import RecordError
from streams.core.records import Alert, Opinion, Text, Window
from streams.core.topics import (
    ALERTS,
    OPINIONS,
    SPECS,
    SUBSCRIPTIONS,
    TEXTS_NEWS,
    TEXTS_SOCIAL,
    TOKENS,
    VOTES,
    WINDOWS,
)
from streams.core.votes import Vote
from streams.delivery.retries import ATTEMPTS, JITTER, PLAN_S
from streams.delivery.subscriptions import Subscription
from streams.delivery.tokens import TokenRecord
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
        "The form of their records: [JSON Schemas](schemas/), made from the code likewise.",
        "## Dead letters",
        _table(("reason", "error", "when"), _reasons()),
        "## Webhooks",
        f"A pause is longer by up to {JITTER:.0%}, drawn anew each time.",
        _table(("attempt", "pause before it", "since the first"), _attempts()),
        "Why a URL is refused:",
        _table(("reason", "meaning"), ((each.value, each.meaning) for each in Refusal)),
        "## Connectors",
        "What the file of `tickertone connect` holds ([by example](connectors.md)); `kind` is rss, "
        "http, file or jetstream.",
        _table(("of", "field", "default", "meaning"), fields()),
        "## Metrics",
        _table(("process", "metric", "type", "labels", "meaning"), _metrics()),
    ]
    return "\n\n".join(parts) + "\n"


def schemas() -> dict[str, bytes]:
    """Return the JSON Schema (2020-12) of the records of each topic, by file name.

    Unknown fields are allowed everywhere: a later version may add some.
    """
    records: dict[str, Any] = {
        TEXTS_NEWS: Text,
        TEXTS_SOCIAL: Text,
        OPINIONS: Opinion,
        VOTES: Vote,
        WINDOWS: Window,
        ALERTS: Alert,
        SUBSCRIPTIONS: Subscription,
        TOKENS: TokenRecord,
    }
    made = {}
    for topic, record in records.items():
        mode: Literal["validation", "serialization"] = (
            "validation" if record is Text else "serialization"
        )
        schema = TypeAdapter(record).json_schema(mode=mode)
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": topic}
        made[f"{topic}.schema.json"] = orjson.dumps(
            {**head, **schema}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        )
    return made


def _topics() -> Iterator[tuple[str, ...]]:
    for spec in SPECS:
        config = ", ".join(f"{name}={value}" for name, value in spec.config.items())
        yield spec.name, str(spec.partitions or "T"), config


def _reasons() -> Iterator[tuple[str, ...]]:
    for error in RecordError.__subclasses__():
        summary = " ".join((error.__doc__ or "").split())
        yield error.reason.value, error.__name__, summary


def _attempts() -> Iterator[tuple[str, ...]]:
    for number in range(1, ATTEMPTS + 1):
        pause = timedelta(seconds=PLAN_S[number - 2]) if number > 1 else timedelta()
        yield str(number), _span(pause), _span(timedelta(seconds=sum(PLAN_S[: number - 1])))


def _span(span: timedelta) -> str:
    hours, seconds = divmod(round(span.total_seconds()), 3600)
    parts = ((hours, "h"), (seconds // 60, "min"), (seconds % 60, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def _metrics() -> Iterator[tuple[str, ...]]:
    for process, made in (
        ("score", ScoreMetrics),
        ("aggregate", AggregateMetrics),
        ("gateway", GatewayMetrics),
        ("connect", ConnectMetrics),
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
    if len(sys.argv) == 1:
        print(render(), end="")  # noqa: T201 - its output is the page
    for name, schema in schemas().items() if len(sys.argv) > 1 else ():
        (Path(sys.argv[1]) / name).write_bytes(schema)
