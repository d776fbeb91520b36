"""The composition root of the workers: settings in, a running process out."""

import asyncio
import gc
import os
import re
import secrets
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import faust
import structlog
from prometheus_client import CollectorRegistry

from streams.adapters.clock import now_ms
from streams.adapters.faust_app import make_app, serve
from streams.adapters.health import start_health
from streams.adapters.prometheus import AggregateMetrics, ScoreMetrics
from streams.adapters.publisher import Publisher
from streams.adapters.readiness import ASSIGNMENT, Readiness
from streams.adapters.triton import TritonClassifier
from streams.adapters.watchdog import Watchdog
from streams.agents.aggregate import AggregateAgent
from streams.agents.score import Hook, ScoreAgent, no_fault
from streams.core.entities import SHIPPED, EntityIndex
from streams.core.errors import ConfigurationError, ContractError, TickertoneError, leaves
from streams.core.rules import Rule, parse_rules
from streams.core.topics import INPUTS, VOTES, Names
from streams.pipeline.score import Scorer
from streams.settings import Settings

log = structlog.get_logger()

SERVICE = f"tickertone/{version('tickertone')}"

_END_S: Final = 20.0
"""A worker that must end, and whose parts do not let go, is ended after this."""


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
    registry, readiness = CollectorRegistry(), Readiness(ASSIGNMENT)
    index = EntityIndex.load(*SHIPPED, *settings.score.dictionaries)
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
        metrics = ScoreMetrics(registry)
        agent = ScoreAgent(
            app,
            settings.kafka,
            settings.score,
            scorer,
            classifier,
            publisher,
            metrics,
            readiness,
            _hook("score"),
        )
        watchdog = Watchdog(agent.feed, readiness, settings.kafka.stall_s, metrics.stalled)
        topics = [names.topic(topic) for topic in INPUTS]
        await _run("score", app, topics, agent.run, watchdog, settings, registry, readiness)
    finally:
        await publisher.stop()
        await classifier.close()


async def _aggregate(settings: Settings) -> None:
    names = Names(settings.kafka.prefix)
    registry, readiness = CollectorRegistry(), Readiness(ASSIGNMENT)
    app = make_app(names.group("aggregate"), settings.kafka, 4 * settings.aggregate.batch_votes)
    metrics = AggregateMetrics(registry)
    agent = AggregateAgent(
        app,
        settings.kafka,
        settings.aggregate,
        load_rules(settings.aggregate.rules),
        metrics,
        readiness,
        _hook("aggregate"),
    )
    watchdog = Watchdog(agent.feed, readiness, settings.kafka.stall_s, metrics.stalled)
    topics = [names.topic(VOTES)]
    await _run("aggregate", app, topics, agent.run, watchdog, settings, registry, readiness)


# What a worker makes lives for a batch or for days; looking for cycles after every 700 new objects,
# as Python does unasked, is time lost.
_COLLECT_EVERY = 50_000


async def _run(
    name: str,
    app: faust.App,
    topics: list[str],
    body: Callable[[Any], Awaitable[None]],
    watchdog: Watchdog,
    settings: Settings,
    registry: CollectorRegistry,
    readiness: Readiness,
) -> None:
    gc.set_threshold(_COLLECT_EVERY, 20, 20)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    failed: asyncio.Future[None] = loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def or_end(work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - none may leave an agent, Faust would go on
            if not failed.done() and not stop.is_set():
                failed.set_exception(_end_soon(name, error))

    async def agent(stream: Any) -> None:
        await or_end(body(stream))

    channel = app.topic(*topics, key_serializer="raw", value_serializer="raw")
    app.agent(channel, name=name, concurrency=1)(agent)
    health, port = await start_health(settings.metrics, registry, readiness)
    log.info("worker_started", worker=name, metrics=f"http://{settings.metrics.host}:{port}")
    watching = asyncio.create_task(or_end(watchdog.run()))
    try:
        await serve(app, stop, failed)
    finally:
        watching.cancel()
        await health.cleanup()
    log.info("worker_stopped", worker=name)


def _end_soon(name: str, error: Exception) -> TickertoneError:
    """Return in one error why the worker ends, and see to it that it does."""
    first, *others = leaves(error)
    if isinstance(first, TickertoneError):
        why = first
    else:
        log.error("agent_died", worker=name, exc_info=first)
        why = ContractError(f"{name} died of {first!r}; its log has the traceback")
        why.__cause__ = first
    for other in others:
        log.error("agent_died", worker=name, error=repr(other))

    def give_up() -> None:
        sys.stderr.write(f"tickertone: {type(why).__name__}: {why}\n")
        sys.stderr.flush()
        os._exit(1)

    timer = threading.Timer(_END_S, give_up)
    timer.daemon = True
    timer.start()
    return why


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
    """Return the fault that tests name in TICKERTONE_FAULT: `stage:step:n[:action]`.

    When the step is reached for the n-th time the process is killed (`kill`), the agent dies of an
    exception (`raise`), or the step never returns (`stall`). Where TICKERTONE_FAULT_ONCE names a
    file, this happens only if the file does not exist yet, and makes it.

    Raises:
        ConfigurationError: it is written otherwise.
    """
    fault = os.environ.get("TICKERTONE_FAULT", "")
    if not fault:
        return no_fault
    wanted = re.fullmatch(r"(\w+):(\w+):(\d+)(?::(kill|raise|stall))?", fault)
    if wanted is None:
        raise ConfigurationError(f"TICKERTONE_FAULT: {fault} is not stage:step:n[:action]")
    at_stage, at_step, number, action = wanted.groups()
    if at_stage != stage:
        return no_fault
    once = os.environ.get("TICKERTONE_FAULT_ONCE")
    left = int(number)

    async def fail(step: str) -> None:
        nonlocal left
        if step != at_step:
            return
        left -= 1
        if left == 0 and (once is None or _made(Path(once))):
            if action == "raise":
                raise RuntimeError(f"on purpose, at {fault}")
            if action == "stall":
                await asyncio.Event().wait()
            os.kill(os.getpid(), signal.SIGKILL)

    return fail


def _made(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
