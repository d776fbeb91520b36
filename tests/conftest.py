"""Real servers for the tests that need them: one each for the whole session, on loopback."""

import asyncio
import base64
import os
import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from streams.embedded.broker import answers, broker_spec
from streams.embedded.process import ChildProcess, free_ports
from streams.embedded.supervisor import ChildSpec, Supervisor
from streams.embedded.triton import TritonPorts, shipped_repository, triton_spec
from streams.settings import KafkaSettings

with warnings.catch_warnings():
    # kafka-python reads its schemas in a way that Python 3.11 alone calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka.admin

_ROOT: Final = Path(__file__).parents[1]
_POM: Final = _ROOT / "deploy" / "kafka" / "pom.xml"
_KAFKA: Final = "4.1.0"
_no_kafka: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud what was not tested."""
    for why in _no_kafka:
        terminalreporter.section("Apache Kafka was NOT tested", red=True)
        terminalreporter.write_line(why)
        terminalreporter.write_line("TICKERTONE_TEST_KAFKA=require turns this into a failure.")


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


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an Apache Kafka node. Use topics and groups with unique names."""
    jars = _kafka_jars()
    ports = free_ports(2)
    run_dir = tmp_path_factory.mktemp("kafka")
    child = _start(_kafka_spec(jars, run_dir, *ports), run_dir)
    yield f"127.0.0.1:{ports[0]}"
    asyncio.run(child.stop())


@pytest.fixture(params=["tansu", "kafka"])
def any_broker(request: pytest.FixtureRequest) -> tuple[str, KafkaSettings]:
    """Name of a broker and settings for it, with a prefix for this test alone."""
    name = request.param
    address = request.getfixturevalue("broker" if name == "tansu" else "kafka")
    return name, _settings(address, transactions=name == "kafka")


@pytest.fixture
def on_tansu(broker: str) -> KafkaSettings:
    """Settings for the in-memory broker, with a prefix for this test alone."""
    return _settings(broker, transactions=False)


@pytest.fixture
def on_kafka(kafka: str) -> KafkaSettings:
    """Settings for Apache Kafka, with a prefix for this test alone."""
    return _settings(kafka, transactions=True)


def _settings(address: str, *, transactions: bool) -> KafkaSettings:
    return KafkaSettings(
        bootstrap=address,
        prefix=f"t{uuid.uuid4().hex[:8]}.",
        partitions=2,
        transactions=transactions,
        session_timeout_s=6,
    )


def _kafka_jars() -> Path:
    """Return the folder of the jars, fetched by Maven at the first time."""
    jars = _ROOT / "libs" / f"kafka-{_KAFKA}"
    if not shutil.which("java"):
        _without_kafka("there is no java on the PATH")
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if not maven:
        _without_kafka("there is no mvn on the PATH to fetch its jars")
    jars.parent.mkdir(exist_ok=True)
    fetched = Path(tempfile.mkdtemp(prefix="fetch-", dir=jars.parent))
    try:
        command = [str(maven), "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={fetched}"],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        if done.returncode:
            _without_kafka(f"mvn could not fetch its jars: {done.stdout[-300:]}")
        try:
            fetched.rename(jars)
        except OSError:
            if not jars.is_dir():  # else another run was quicker
                raise
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    return jars


def _without_kafka(why: str) -> None:
    reason = f"Apache Kafka {_KAFKA} can't be started: {why}"
    if os.environ.get("TICKERTONE_TEST_KAFKA") == "require":
        pytest.fail(reason)
    if reason not in _no_kafka:
        _no_kafka.append(reason)
    pytest.skip(reason)


def _kafka_spec(jars: Path, run_dir: Path, port: int, controller: int) -> ChildSpec:
    properties = run_dir / "server.properties"
    java = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*")

    def prepare() -> None:
        properties.write_text(
            f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={run_dir}/logs
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""
        )
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [*java, "kafka.tools.StorageTool", "format", "-t", f"A{cluster[1:]}"]
        subprocess.run([*tool, "-c", str(properties)], check=True, capture_output=True)

    async def ready() -> bool:
        return await answers("127.0.0.1", port)

    return ChildSpec(
        "kafka",
        (*java, "kafka.Kafka", str(properties)),
        prepare=prepare,
        ready=ready,
        ready_timeout_s=60,
        essential=True,
    )
