"""From a configuration to connectors."""

import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson
from pydantic import BaseModel

from streams.connectors.config import (
    Common,
    ConnectConfig,
    Cursor,
    Fields,
    FileSpec,
    HttpSpec,
    JetstreamSpec,
    Politeness,
    Polled,
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
    for place, model in _PLACES:
        for name in model.__annotations__:
            info = model.model_fields[name]
            if name == "kind":
                continue
            default = "required" if info.is_required() else _shown(info.get_default())
            yield place, f"`{name}`", default, " ".join((info.description or "").split())


def _shown(default: Any) -> str:
    if default is None or isinstance(default, BaseModel):
        return ""
    return f"`{default if isinstance(default, str) else orjson.dumps(default).decode()}`"


_PLACES: Final = (
    ("every kind", Common),
    ("rss, http", Polled),
    ("rss", RssSpec),
    ("http", HttpSpec),
    ("http, `fields`", Fields),
    ("http, `cursor`", Cursor),
    ("file", FileSpec),
    ("jetstream", JetstreamSpec),
    ("`politeness`", Politeness),
    ("`retry`", Retry),
)
