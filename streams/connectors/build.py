"""From a configuration to connectors."""

import random
from collections.abc import Callable, Iterator
from typing import Any

from streams.connectors.config import (
    KINDS,
    ConnectConfig,
    Cursor,
    Fields,
    FileSpec,
    HttpSpec,
    JetstreamSpec,
    Politeness,
    Retry,
    RssSpec,
    Spec,
)
from streams.connectors.fetch import Fetcher, host_of
from streams.connectors.jetstream import JetstreamConnector
from streams.connectors.poll import PollConnector
from streams.connectors.port import Connector
from streams.connectors.tail import FileConnector


def make_connectors(
    config: ConnectConfig, fetcher: Fetcher, now_ms: Callable[[], int], chance: random.Random
) -> dict[str, Connector]:
    """Return the connectors by name, not started."""
    made: dict[str, Connector] = {}
    for spec in config.connectors:
        if isinstance(spec, RssSpec | HttpSpec):
            made[spec.name] = PollConnector(spec, fetcher, now_ms, chance)
        elif isinstance(spec, FileSpec):
            made[spec.name] = FileConnector(spec, now_ms)
        else:
            made[spec.name] = JetstreamConnector(spec, config.politeness.user_agent, now_ms)
    return made


def summary(spec: Spec) -> tuple[str, str, str, str]:
    """Return (name, kind, what it reads, where it goes) for people, without secrets."""
    if isinstance(spec, FileSpec):
        what = f"{spec.path}/{spec.pattern}" if spec.path.is_dir() else str(spec.path)
        source = spec.source or "as each line says"
    else:
        source = spec.source or ("social" if isinstance(spec, JetstreamSpec) else "news")
        what = host_of(spec.url)
    return spec.name, spec.kind, what, f"{source}, channel {spec.channel or spec.name}"


def fields() -> Iterator[tuple[str, str, str, str]]:
    """Yield (where, field, default, meaning) of everything that the file may hold."""
    for model in (*KINDS, Fields, Cursor, Politeness, Retry):
        place = _PLACES.get(model.__name__) or f"kind: {model.model_fields['kind'].annotation}"
        for name, info in model.model_fields.items():
            default: Any = "required" if info.is_required() else info.get_default()
            shown = "" if default is None else str(default)
            yield place, name, shown, info.description or ""


_PLACES = {
    "RssSpec": "rss",
    "HttpSpec": "http",
    "FileSpec": "file",
    "JetstreamSpec": "jetstream",
    "Fields": "http, fields",
    "Cursor": "http, cursor",
    "Politeness": "politeness",
    "Retry": "retry",
}
