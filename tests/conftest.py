"""Real servers for the tests that need them: one each for the whole session, on loopback."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.broker import broker_spec
from streams.embedded.process import ChildProcess, free_ports
from streams.embedded.supervisor import ChildSpec, Supervisor
from streams.embedded.triton import TritonPorts, shipped_repository, triton_spec


def _start(spec: ChildSpec, run_dir: Path) -> ChildProcess:
    """Start one child and wait until it is ready; nobody watches or restarts it."""

    async def start() -> ChildProcess:
        supervisor = Supervisor(run_dir, signals=False).add(spec)
        await supervisor.start_all()
        return supervisor.child(spec.name)

    return asyncio.run(start())


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an in-memory broker. Use topics and groups with unique names."""
    (port,) = free_ports(1)
    child = _start(broker_spec(port), tmp_path_factory.mktemp("broker"))
    yield f"127.0.0.1:{port}"
    asyncio.run(child.stop())


@pytest.fixture(scope="session")
def triton_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """gRPC address of Triton with the shipped model. Do not kill it: start your own for that."""
    run_dir = tmp_path_factory.mktemp("triton")
    ports = TritonPorts(*free_ports(3))
    spec = triton_spec(ports, run_dir=run_dir, repository=shipped_repository())
    child = _start(spec, run_dir)
    yield f"127.0.0.1:{ports.grpc}"
    asyncio.run(child.stop())
