"""Real servers for the tests that need them: one each for the whole session, on loopback.

`--brokers` says on which brokers tests run. A test without any broker belongs to those on Tansu,
so `--brokers tansu` and `--brokers kafka,kafka3` share all tests out between them.
"""

import asyncio
import os
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from streams.embedded.broker import broker_spec
from streams.embedded.process import ChildProcess, free_ports
from streams.embedded.supervisor import ChildSpec, Supervisor
from streams.embedded.triton import TritonPorts, shipped_repository, triton_spec
from streams.settings import KafkaSettings

with warnings.catch_warnings():
    # kafka-python reads its schemas in a way that Python 3.11 alone calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from tests.support.kafka import VERSION, Cluster, KafkaUnavailable

BROKERS: Final = ("tansu", "kafka", "kafka3")
"""In memory; one node of Apache Kafka; three."""
USUAL: Final = ("tansu", "kafka")
_NO_KAFKA: Final = f"Apache Kafka {VERSION} can't be started"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the caller choose brokers."""
    parser.addoption(
        "--brokers",
        type=_names,
        default=BROKERS,
        help=f"run the tests on these brokers only; of {','.join(BROKERS)}, default all",
    )


def _names(value: str) -> tuple[str, ...]:
    names = tuple(value.split(","))
    if unknown := set(names) - set(BROKERS):
        raise pytest.UsageError(f"--brokers: {', '.join(sorted(unknown))} is none of {BROKERS}")
    return names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test with `any_broker` its brokers, by its mark or the usual two."""
    if "any_broker" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("brokers")
        metafunc.parametrize("any_broker", mark.args if mark else USUAL, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests whose broker is none of `--brokers`."""
    chosen: tuple[str, ...] = config.getoption("brokers")
    others = [item for item in items if _broker(item) not in chosen]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if _broker(item) in chosen]


def _broker(item: pytest.Item) -> str:
    """Return the one broker with which a test is counted: the largest that it names."""
    fixtures: list[str] = getattr(item, "fixturenames", [])
    callspec: Any = getattr(item, "callspec", None)
    parameters = callspec.params.values() if callspec else ()
    words = {*fixtures, *(each for each in parameters if isinstance(each, str))}
    return max(words & set(BROKERS), key=BROKERS.index, default="tansu")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud what was not tested."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)}
    for why in sorted(reason for reason in reasons if _NO_KAFKA in reason):
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
def tansu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an in-memory broker. Use topics and groups with unique names."""
    (port,) = free_ports(1)
    child = _start(broker_spec(port), tmp_path_factory.mktemp("tansu"))
    yield f"127.0.0.1:{port}"
    asyncio.run(child.stop())


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an Apache Kafka node. Use topics and groups with unique names."""
    yield from _addresses(tmp_path_factory.mktemp("kafka"), 1)


@pytest.fixture(scope="session")
def kafka3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Addresses of three Apache Kafka nodes. Do not stop one: start your own for that."""
    yield from _addresses(tmp_path_factory.mktemp("kafka3"), 3)


def _addresses(folder: Path, brokers: int) -> Iterator[str]:
    try:
        cluster = Cluster(folder, brokers)
    except KafkaUnavailable as why:
        without_kafka(why)
    try:
        cluster.start()
        yield cluster.bootstrap
    finally:
        cluster.close()


def without_kafka(why: KafkaUnavailable) -> NoReturn:
    """Skip the test and say so at the end, or fail where Kafka is required."""
    reason = f"{_NO_KAFKA}: {why}"
    if os.environ.get("TICKERTONE_TEST_KAFKA") == "require":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def triton_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """gRPC address of Triton with the shipped model. Do not kill it: start your own for that."""
    run_dir = tmp_path_factory.mktemp("triton")
    ports = TritonPorts(*free_ports(3))
    spec = triton_spec(ports, run_dir=run_dir, repository=shipped_repository())
    child = _start(spec, run_dir)
    yield f"127.0.0.1:{ports.grpc}"
    asyncio.run(child.stop())


@pytest.fixture
def any_broker(request: pytest.FixtureRequest) -> tuple[str, KafkaSettings]:
    """Name of a broker and settings for it, with a prefix for this test alone.

    A test runs on Tansu and one node of Kafka, or on those that its mark `brokers` names.
    """
    name: str = request.param
    return name, _settings(name, request.getfixturevalue(name))


@pytest.fixture
def on_kafka(kafka: str) -> KafkaSettings:
    """Settings for Apache Kafka, with a prefix for this test alone."""
    return _settings("kafka", kafka)


def _settings(name: str, address: str) -> KafkaSettings:
    return KafkaSettings(
        bootstrap=address,
        prefix=f"t{uuid.uuid4().hex[:8]}.",
        partitions=2,
        replication=3 if name == "kafka3" else 1,
        transactions=name != "tansu",
        session_timeout_s=6,
    )
