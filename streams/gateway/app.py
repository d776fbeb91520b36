"""Wiring of the gateway: the FastAPI app, and the server that runs it on loopback."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from streams.core.errors import ConfigurationError, PublishFailed
from streams.core.records import Text
from streams.core.topics import Names
from streams.gateway import problems
from streams.gateway.feed import Feed
from streams.gateway.guard import Guard
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.names import SubjectNames
from streams.gateway.page import page_router
from streams.gateway.producer import TextProducer
from streams.gateway.reader import Reader
from streams.gateway.routes import alert_router, subject_router, text_router
from streams.gateway.shapes import Health, Readiness
from streams.gateway.sse import stream_router
from streams.gateway.store import Store
from streams.settings import Settings

log = structlog.get_logger()

_RECONNECT_S = 2.0


@dataclass(frozen=True)
class Gateway:
    """The parts of a running gateway; on `app.state.gateway`."""

    store: Store
    feed: Feed
    reader: Reader
    producer: TextProducer
    metrics: GatewayMetrics

    @property
    def ready(self) -> bool:
        """Whether the past has been read and texts can be accepted."""
        return self.reader.ready and self.producer.connected


def create_app(
    settings: Settings,
    bootstrap: str,
    *,
    registry: CollectorRegistry | None = None,
    feed: Feed | None = None,
) -> FastAPI:
    """Return the app; reader and producer run from its start to its end.

    A broker that is away does not keep it from starting: it is not ready until it comes.

    Args:
        bootstrap: The broker's addresses host:port, separated by commas.
        registry: Where the metrics go; by default one of the app's own.
        feed: The alert log behind the live stream, for other bounds than the default ones.
    """
    names = Names(settings.kafka.prefix)
    metrics = GatewayMetrics(registry or CollectorRegistry())
    store = Store()
    feed = feed or Feed()
    reader = Reader(bootstrap, names, store, feed, metrics)
    producer = TextProducer(bootstrap, settings.kafka)
    gateway = Gateway(store, feed, reader, producer, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        reader.start()
        keeper = asyncio.create_task(_keep_connected(producer))
        try:
            yield
        finally:
            feed.close()
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await reader.stop()
            await producer.stop()

    app = FastAPI(
        title="Tickertone",
        summary="What news and social media say about companies and markets.",
        version=_version(),
        lifespan=lifespan,
        docs_url=None,  # Swagger UI and ReDoc would come from a CDN
        redoc_url=None,
    )
    app.state.gateway = gateway
    app.add_middleware(Guard, metrics=metrics)
    problems.install(app)
    app.include_router(page_router())
    app.include_router(subject_router(store, SubjectNames(settings.score.dictionaries)))
    app.include_router(stream_router(feed, reader, metrics))
    app.include_router(alert_router(store))
    app.include_router(text_router(producer, metrics))
    app.include_router(_operations(gateway))
    _describe(app)
    return app


async def serve(
    settings: Settings,
    bootstrap: str,
    *,
    stop: asyncio.Event | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Run the gateway until a signal comes, or until `stop` is set.

    Args:
        stop: With it no signal handler is installed; whoever gave it ends the server.
        started: Called with the URL once requests are answered (port 0 picks a free port).

    Raises:
        ConfigurationError: the host is not the loopback, or the port is taken.
    """
    host, port = settings.gateway.host, settings.gateway.port
    sock = _bind(host, port)
    try:
        app = create_app(settings, bootstrap)
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{sock.getsockname()[1]}/"
        await _Server(app, url, stop, started).serve(sockets=[sock])
    finally:
        sock.close()


class _Server(uvicorn.Server):
    """Uvicorn that ends live streams before it waits for connections to close."""

    def __init__(
        self,
        app: FastAPI,
        url: str,
        stop: asyncio.Event | None,
        started: Callable[[str], None] | None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="on",
                timeout_graceful_shutdown=5,
            )
        )
        self._gateway: Gateway = app.state.gateway
        self._url = url
        self._stop = stop
        self._say_started = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if self._stop is None:
            with super().capture_signals():
                yield
        else:
            yield

    async def main_loop(self) -> None:
        log.info("gateway_started", url=self._url)
        if self._say_started:
            self._say_started(self._url)
        if self._stop is None:
            await super().main_loop()
            return
        waiter = asyncio.create_task(self._until_stopped(self._stop))
        try:
            await super().main_loop()
        finally:
            waiter.cancel()

    async def _until_stopped(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._gateway.feed.close()
        await super().shutdown(sockets=sockets)


def _bind(host: str, port: int) -> socket.socket:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationError(
            f"the gateway has no access tokens yet and must not listen on {host!r}: set "
            "TICKERTONE_GATEWAY__HOST to 127.0.0.1 and reach it through an SSH tunnel"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}. "
            "Set TICKERTONE_GATEWAY__PORT to a free port, or to 0 for any"
        ) from error


async def _keep_connected(producer: TextProducer) -> None:
    """Connect again after an outage, so that readiness does not wait for a POST."""
    while True:
        try:
            await producer.connect()
        except PublishFailed as error:
            log.warning("producer_waits", error=str(error))
        await asyncio.sleep(_RECONNECT_S)


def _operations(gateway: Gateway) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/healthz", summary="The process lives")
    async def healthz() -> Health:
        """Say that the process answers."""
        return Health()

    @router.get(
        "/readyz",
        summary="Ready to serve",
        responses={503: {"model": Readiness, "description": "Not ready."}},
    )
    async def readyz(response: Response) -> Readiness:
        """Say whether the past has been read and the broker answers; 503 while not."""
        if not gateway.ready:
            response.status_code = 503
            response.headers["Retry-After"] = "2"
        return Readiness(
            ready=gateway.ready,
            producer=gateway.producer.connected,
            readers=gateway.reader.states(),
        )

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        """Return the metrics in Prometheus' text format."""
        for topic, state in gateway.reader.states().items():
            gateway.metrics.record_lag(topic, state.lag or 0)
        clients = len(gateway.feed.cursors)
        gateway.metrics.set_state(clients, gateway.ready, gateway.store.counts())
        body = generate_latest(gateway.metrics.registry)
        return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def _describe(app: FastAPI) -> None:
    """Add to OpenAPI the shapes that no route names by type."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        shapes = schema.setdefault("components", {}).setdefault("schemas", {})
        for shape in (Text, problems.ProblemDetails):
            own = shape.model_json_schema(ref_template="#/components/schemas/{model}")
            shapes.update(own.pop("$defs", {}))
            shapes[shape.__name__] = own
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _version() -> str:
    try:
        return version("tickertone")
    except PackageNotFoundError:
        return "0"
