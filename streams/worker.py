"""The composition root of the workers: settings in, a running process out."""

import asyncio
import gc
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import faust
import structlog
from prometheus_client import CollectorRegistry

from streams.adapters.clock import now_ms
from streams.adapters.faust_app import make_app, serve
from streams.adapters.health import start_health
from streams.adapters.prometheus import AggregateMetrics, ScoreMetrics
from streams.adapters.publisher import Publisher
from streams.adapters.readiness import Readiness
from streams.adapters.triton import TritonClassifier
from streams.agents.aggregate import AggregateAgent
from streams.agents.score import Hook, ScoreAgent
from streams.core.entities import SHIPPED, EntityIndex
from streams.core.errors import ConfigurationError
from streams.core.rules import Rule, parse_rules
from streams.core.topics import INPUTS, VOTES, Names
from streams.pipeline.score import Scorer
from streams.settings import Settings

log = structlog.get_logger()

SERVICE = f"tickertone/{version('tickertone')}"


def run_score(settings: Settings) -> None:
    """Run a score worker until it is told to stop.

    Raises:
        TickertoneError: what ended it; the process must end with a non-zero code.
    """
    asyncio.run(_score(settings))


def run_aggregate(settings: Settings) -> None:
    """Run an aggregate worker until it is told to stop.

    Raises:
        TickertoneError: what ended it; the process must end with a non-zero code.
    """
    asyncio.run(_aggregate(settings))


async def _score(settings: Settings) -> None:
    names = Names(settings.kafka.prefix)
    registry, readiness = CollectorRegistry(), Readiness("assignment")
    index = EntityIndex.load(SHIPPED, *settings.score.dictionaries)
    if settings.triton.url is None:
        raise ConfigurationError("set TICKERTONE_TRITON__URL, or use `tickertone up`")
    classifier = TritonClassifier(settings.triton, settings.triton.url)
    publisher = Publisher(settings.kafka)
    await publisher.start()
    try:
        app = make_app(names.group("score"), settings.kafka, 4 * settings.score.batch_texts)
        scorer = Scorer(
            classifier,
            index,
            _author_key(settings),
            cache_texts=settings.score.cache_texts,
            lateness_ms=round(settings.aggregate.lateness_s * 1000),
            service=SERVICE,
            now_ms=now_ms,
        )
        agent = ScoreAgent(
            app,
            settings.kafka,
            settings.score,
            scorer,
            classifier,
            publisher,
            ScoreMetrics(registry),
            readiness,
            _hook("score"),
        )
        topics = [names.topic(topic) for topic in INPUTS]
        await _run(app, topics, agent.run, settings, registry, readiness, "score")
    finally:
        await publisher.stop()
        await classifier.close()


async def _aggregate(settings: Settings) -> None:
    names = Names(settings.kafka.prefix)
    registry, readiness = CollectorRegistry(), Readiness("assignment")
    app = make_app(names.group("aggregate"), settings.kafka, 4 * settings.aggregate.batch_votes)
    agent = AggregateAgent(
        app,
        settings.kafka,
        settings.aggregate,
        load_rules(settings.aggregate.rules),
        AggregateMetrics(registry),
        readiness,
        _hook("aggregate"),
    )
    topics = [names.topic(VOTES)]
    await _run(app, topics, agent.run, settings, registry, readiness, "aggregate")


# What a worker makes lives for a batch or for days; looking for cycles after every 700 new objects,
# as Python does unasked, is time lost.
_COLLECT_EVERY = 50_000


async def _run(
    app: faust.App,
    topics: list[str],
    body: Callable[[Any], Awaitable[None]],
    settings: Settings,
    registry: CollectorRegistry,
    readiness: Readiness,
    name: str,
) -> None:
    gc.set_threshold(_COLLECT_EVERY, 20, 20)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    failed: asyncio.Future[None] = loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def agent(stream: Any) -> None:
        try:
            await body(stream)
        except Exception as error:  # noqa: BLE001 - none may leave an agent, Faust would go on
            if not failed.done() and not stop.is_set():
                failed.set_exception(error)

    channel = app.topic(*topics, key_serializer="raw", value_serializer="raw")
    app.agent(channel, name=name, concurrency=1)(agent)
    health, port = await start_health(settings.metrics, registry, readiness)
    log.info("worker_started", worker=name, metrics=f"http://{settings.metrics.host}:{port}")
    try:
        await serve(app, stop, failed)
    finally:
        await health.cleanup()
    log.info("worker_stopped", worker=name)


def load_rules(path: Path | None) -> tuple[Rule, ...]:
    """Return the rules of a YAML file, or the shipped ones.

    Raises:
        ConfigurationError: the file can't be read or is wrong.
    """
    if path is None:
        return parse_rules((files("streams.core") / "rules.yaml").read_text("utf-8"))
    try:
        return parse_rules(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"no rules: {error}") from error


def _author_key(settings: Settings) -> bytes:
    if settings.score.author_key is not None:
        return settings.score.author_key.get_secret_value().encode()
    path = settings.run_dir / "author.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        log.warning("author_key_made", path=str(path), advice="set TICKERTONE_SCORE__AUTHOR_KEY")
    return path.read_bytes().strip()


def _hook(stage: str) -> Hook:
    """Return the fault hook that tests name in the environment, such as `score:outputs:3`.

    It kills the process with SIGKILL when the step is reached for the given time.
    """
    wanted = os.environ.get("TICKERTONE_FAULT", "").split(":")
    if len(wanted) != 3 or wanted[0] != stage:
        return lambda step: None
    left = int(wanted[2])

    def fail(step: str) -> None:
        nonlocal left
        if step == wanted[1]:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return fail
