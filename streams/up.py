"""Everything on one machine: broker and model server where none is named, then our processes."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil

from streams.adapters.kafka_admin import ensure_topics
from streams.embedded.broker import broker_spec
from streams.embedded.process import free_ports
from streams.embedded.supervisor import ChildSpec, Probe, Progress, Supervisor
from streams.embedded.triton import TritonPorts, shipped_repository, triton_spec
from streams.settings import Settings

_STACK: Final = "stack.json"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a stack that was started can be reached."""

    bootstrap: str
    triton: str
    gateway: str
    metrics: Mapping[str, str]
    """process → base URL of /metrics, /healthz and /readyz"""


async def start_stack(
    supervisor: Supervisor,
    settings: Settings,
    on_progress: Progress,
    environment: Mapping[str, str] | None = None,
) -> Addresses:
    """Start what is missing: broker, Triton, topics, score, aggregate, gateway.

    Args:
        supervisor: Keeps the children; leaving it stops them.
        settings: An address in them replaces the embedded server.
        on_progress: Told of every step.
        environment: On top of ours, for the workers.

    Raises:
        ConfigurationError: a part is missing, or did not become ready.
    """
    broker_port, grpc, http, metrics, score, aggregate, gateway = free_ports(7)
    gateway = settings.gateway.port or gateway
    bootstrap, triton = settings.kafka.bootstrap, settings.triton.url
    workers = {**(environment or {})}
    if bootstrap is None:
        supervisor.add(broker_spec(broker_port))
        bootstrap = f"127.0.0.1:{broker_port}"
        workers["TICKERTONE_KAFKA__TRANSACTIONS"] = "false"
    await supervisor.start_all(on_progress)
    kafka = settings.kafka.model_copy(update={"bootstrap": bootstrap})
    made = ensure_topics(kafka)
    on_progress("topics", f"ready ({len(made)} made)")
    if triton is None:
        repository = settings.triton.repository or shipped_repository()
        ports = TritonPorts(grpc=grpc, http=http, metrics=metrics)
        supervisor.add(
            triton_spec(
                ports,
                run_dir=settings.run_dir,
                repository=repository,
                model=settings.triton.model,
            )
        )
        triton = f"127.0.0.1:{grpc}"
    await supervisor.start_all(on_progress)
    workers |= {
        "TICKERTONE_KAFKA__BOOTSTRAP": bootstrap,
        "TICKERTONE_TRITON__URL": triton,
        "TICKERTONE_RUN_DIR": str(settings.run_dir.resolve()),
    }
    ours = {"score": score, "aggregate": aggregate, "gateway": gateway}
    for name, port in ours.items():
        supervisor.add(worker_spec(name, workers, port))
    # Joining a consumer group takes seconds, in which the others can do the same.
    await supervisor.start_all(on_progress, together=True)
    embedded = settings.kafka.bootstrap is None
    urls = {name: _local(port) for name, port in ours.items()}
    stack = {
        "bootstrap": bootstrap,
        "transactions": settings.kafka.transactions and not embedded,
        "triton": triton,
        "gateway": urls["gateway"],
        "pid": os.getpid(),
    }
    (settings.run_dir / _STACK).write_text(json.dumps(stack))
    return Addresses(bootstrap, triton, urls["gateway"], urls)


def running_stack(run_dir: Path) -> dict[str, Any] | None:
    """Return how to reach a stack that runs from this directory, None without one.

    That is `bootstrap` and `transactions` of its broker, and the addresses `triton` and `gateway`.
    """
    try:
        stack: dict[str, Any] = json.loads((run_dir / _STACK).read_text())
    except FileNotFoundError:
        return None
    return stack if psutil.pid_exists(stack.pop("pid")) else None


def _local(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def worker_spec(name: str, environment: Mapping[str, str], port: int) -> ChildSpec:
    """Return how to run one of our processes; its port answers /readyz and /healthz.

    Args:
        name: Its command.
        environment: Its settings, on top of ours.
        port: Of the gateway, or of a worker's metrics.
    """
    port_name = "GATEWAY" if name == "gateway" else "METRICS"
    environment = {**environment, f"TICKERTONE_{port_name}__PORT": str(port)}
    return ChildSpec(
        name,
        (sys.executable, "-m", "streams.cli", name),
        env=environment,
        ready=_answers(f"{_local(port)}/readyz"),
        health=_answers(f"{_local(port)}/healthz"),
        health_failures=10,
        ready_timeout_s=90,
        grace_s=15,
    )


def _answers(url: str) -> Probe:
    async def probe() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError):
            return False

    return probe
