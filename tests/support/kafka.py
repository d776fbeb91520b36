"""Real Apache Kafka for tests: its jars, and clusters of one or three nodes on loopback."""

import base64
import contextlib
import functools
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from streams.embedded.process import ChildProcess, free_ports

VERSION: Final = "4.1.0"
_ROOT: Final = Path(__file__).parents[2]
_POM: Final = _ROOT / "deploy" / "kafka" / "pom.xml"
_SUMS: Final = _ROOT / "deploy" / "kafka" / "SHA256SUMS"
_FETCH_S: Final = 150
_START_S: Final = 90.0
_STOP_S: Final = 60.0
_POLL_S: Final = 0.1


class KafkaUnavailable(Exception):
    """Apache Kafka can't be started on this machine; the message says why."""


class ChecksumMismatch(Exception):
    """A jar is not the one that deploy/kafka/SHA256SUMS lists."""


@functools.cache
def jars() -> Path:
    """Return the folder of the jars, fetched by Maven at the first time; every jar is verified.

    Raises:
        KafkaUnavailable: there is no java, or the jars can't be fetched.
        ChecksumMismatch: a jar is missing, of other content, or not listed.
    """
    folder = _ROOT / "libs" / f"kafka-{VERSION}"
    if not shutil.which("java"):
        raise KafkaUnavailable("there is no java on the PATH")
    if folder.is_dir():
        verify(folder)
        return folder
    folder.parent.mkdir(exist_ok=True)
    fetched = Path(tempfile.mkdtemp(prefix="fetch-", dir=folder.parent))
    try:
        _fetch(fetched)
        verify(fetched)
        try:
            fetched.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was quicker
                raise
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    return folder


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if not maven:
        raise KafkaUnavailable("there is no mvn on the PATH to fetch its jars")
    command = [maven, "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
    try:
        done = subprocess.run(
            [*command, f"-DoutputDirectory={folder}"],
            capture_output=True,
            text=True,
            timeout=_FETCH_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise KafkaUnavailable(f"mvn did not fetch its jars within {_FETCH_S} s") from None
    if done.returncode:
        raise KafkaUnavailable(f"mvn could not fetch its jars: {done.stdout[-300:]}")


def verify(folder: Path, sums: Path = _SUMS) -> None:
    """Check that a folder holds the listed jars and no others.

    Args:
        folder: With the jars.
        sums: Their list, as sha256sum writes it.

    Raises:
        ChecksumMismatch: it names the first jar that is wrong.
    """
    listed = {name: digest for digest, name in map(str.split, sums.read_text().splitlines())}
    there = {path.name: path for path in folder.glob("*.jar")}
    for name in sorted(listed.keys() | there.keys()):
        if name not in listed:
            wrong = f"{name} is not listed"
        elif name not in there:
            wrong = f"{name} is missing"
        elif hashlib.sha256(there[name].read_bytes()).hexdigest() != listed[name]:
            wrong = f"{name} has another checksum"
        else:
            continue
        raise ChecksumMismatch(
            f"{wrong}: {folder} is not what {sums} lists. Delete the folder to fetch the jars "
            "anew; where pom.xml changed on purpose, write the list anew with sha256sum."
        )


class Cluster:
    """KRaft nodes with ids 1 to n, each broker and controller. One thread at a time.

    All methods block: from a running event loop call them in a thread. Where an answer
    does not come in time they raise TimeoutError.
    """

    def __init__(
        self,
        folder: Path,
        brokers: int = 1,
        *,
        log_dirs: Path | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing starts yet.

        Args:
            folder: For the nodes' settings, logs and, without log_dirs, data.
            brokers: How many nodes.
            log_dirs: Parent folder of the nodes' data.
            extra: More lines of server.properties; they win over ours.

        Raises:
            KafkaUnavailable: see jars().
            ChecksumMismatch: see jars().
        """
        heap = "-Xmx512m" if brokers == 1 else "-Xmx384m"
        flags = (heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        self._java = ("java", *flags, "-cp", f"{jars()}/*")
        self._folder = folder
        self._data = log_dirs or folder
        self._extra = dict(extra or {})
        self._nodes = range(1, brokers + 1)
        ports = free_ports(2 * brokers)
        self._ports = dict(zip(self._nodes, ports[:brokers], strict=True))
        self._controllers = dict(zip(self._nodes, ports[brokers:], strict=True))
        self._children: dict[int, ChildProcess] = {}
        self._frozen: set[int] = set()

    @property
    def bootstrap(self) -> str:
        """Address of every node, comma-separated."""
        return ",".join(f"127.0.0.1:{port}" for port in self._ports.values())

    @property
    def nodes(self) -> tuple[int, ...]:
        """The node ids."""
        return tuple(self._nodes)

    def start(self) -> None:
        """Start all nodes together; return when each answers and knows all the others."""
        self._format()
        for node in self._nodes:
            self._children[node] = ChildProcess(
                f"kafka-{node}",
                (*self._java, "kafka.Kafka", str(self._properties(node))),
                run_dir=self._folder,
            )
            self._children[node].start()
        for node in self._nodes:
            self._wait_ready(node)

    def close(self) -> None:
        """Kill every node. What they held is of no use to anybody."""
        for child in self._children.values():
            child.kill()
        self._frozen.clear()

    def start_node(self, node: int) -> None:
        """Start a node that has ended; return when it answers and is a member of the cluster."""
        self._children[node].start()
        self._wait_ready(node)

    def stop_node(self, node: int) -> None:
        """Ask a node to end (SIGTERM) and wait for the end of its controlled shutdown."""
        self._signal(node, signal.SIGTERM)
        self.thaw_node(node)
        self._wait_ended(node)

    def kill_node(self, node: int) -> None:
        """Kill a node (SIGKILL) and wait until it is gone."""
        self._signal(node, signal.SIGKILL)
        self._wait_ended(node)
        self._frozen.discard(node)

    def freeze_node(self, node: int) -> None:
        """Stop a node's process (SIGSTOP): its connections stay open and nothing answers."""
        self._signal(node, signal.SIGSTOP)
        self._frozen.add(node)

    def thaw_node(self, node: int) -> None:
        """Let a frozen node go on (SIGCONT)."""
        self._signal(node, signal.SIGCONT)
        self._frozen.discard(node)

    def alive(self, node: int) -> bool:
        """Return whether the process of a node runs, frozen or not."""
        child = self._children.get(node)
        return child is not None and child.poll() is None and child.pid is not None

    def pid(self, node: int) -> int:
        """Return the process id of a node's java; ProcessLookupError if it does not run."""
        pid = self._children[node].pid if self.alive(node) else None
        if pid is None:
            raise ProcessLookupError(f"node {node} does not run")
        return pid

    def stored(self, topic: str, partition: int) -> int:
        """Return the bytes of a partition's log on the disk of the first node."""
        files = (self._data / "node-1" / f"{topic}-{partition}").glob("*.log")
        return sum(file.stat().st_size for file in files)

    def leader(self, topic: str, partition: int) -> int:
        """Return the id of the node that leads a partition, waiting until one does."""
        found: list[int] = []

        def led() -> bool:
            with self._admin() as admin:
                (about,) = admin.describe_topics([topic])
            leaders = {p["partition_index"]: p["leader_id"] for p in about["partitions"]}
            found[:] = [leaders.get(partition, -1)]
            return found[0] > 0

        _until(led, _START_S, lambda: f"{topic}/{partition} has no leader")
        return found[0]

    def wait_in_sync(self, seconds: float = _START_S) -> None:
        """Wait until every replica of every partition is in sync."""
        behind: list[str] = []

        def in_sync() -> bool:
            with self._admin() as admin:
                topics = admin.describe_topics()
            behind[:] = [
                f"{topic['name']}/{each['partition_index']}"
                for topic in topics
                for each in topic["partitions"]
                if each["leader_id"] < 0 or len(each["isr_nodes"]) < len(each["replica_nodes"])
            ]
            return not behind

        _until(in_sync, seconds, lambda: f"not in sync: {', '.join(behind) or 'no answer'}")

    def _wait_ready(self, node: int) -> None:
        def ready() -> bool:
            if self._children[node].poll() is not None:
                raise RuntimeError(f"node {node} ended:\n{self._children[node].log_tail()}")
            socket.create_connection(("127.0.0.1", self._ports[node]), timeout=3).close()
            with self._admin(node) as admin:
                members = {each["broker_id"] for each in admin.describe_cluster()["brokers"]}
            return node in members

        _until(
            ready,
            _START_S,
            lambda: f"node {node} is not ready:\n{self._children[node].log_tail()}",
        )

    def _wait_ended(self, node: int) -> None:
        child = self._children[node]
        _until(lambda: child.poll() is not None, _STOP_S, lambda: f"node {node} does not end")

    def _signal(self, node: int, number: signal.Signals) -> None:
        os.kill(self.pid(node), number)

    @contextlib.contextmanager
    def _admin(self, node: int | None = None) -> Iterator[Any]:
        able = [n for n in self._nodes if self.alive(n) and n not in self._frozen]
        admin = KafkaAdminClient(
            bootstrap_servers=[f"127.0.0.1:{self._ports[n]}" for n in ([node] if node else able)],
            bootstrap_timeout_ms=5_000,
            request_timeout_ms=5_000,
        )
        try:
            yield admin
        finally:
            admin.close()

    def _properties(self, node: int) -> Path:
        return self._folder / f"node-{node}.properties"

    def _format(self) -> None:
        """Write the settings and format the storage of every node, side by side."""
        self._folder.mkdir(parents=True, exist_ok=True)
        cluster = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        tools = []
        for node in self._nodes:
            lines = {**self._settings(node), **self._extra}
            path = self._properties(node)
            path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
            command = [*self._java, "kafka.tools.StorageTool", "format"]
            tools.append(
                subprocess.Popen(
                    [*command, "-t", cluster, "-c", str(path)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        for tool in tools:
            said, _ = tool.communicate(timeout=_START_S)
            if tool.returncode:
                raise RuntimeError(f"StorageTool: {said[-1000:]}")

    def _settings(self, node: int) -> dict[str, str]:
        port, controller = self._ports[node], self._controllers[node]
        replicas, in_sync = (3, 2) if len(self._nodes) >= 3 else (1, 1)
        voters = ",".join(f"{n}@127.0.0.1:{port}" for n, port in self._controllers.items())
        return {
            "process.roles": "broker,controller",
            "node.id": f"{node}",
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": f"{self._data / f'node-{node}'}",
            "auto.create.topics.enable": "false",
            "unclean.leader.election.enable": "false",
            "controlled.shutdown.enable": "true",
            "broker.session.timeout.ms": "6000",
            "broker.heartbeat.interval.ms": "1000",
            "group.initial.rebalance.delay.ms": "0",
            "log.cleaner.dedupe.buffer.size": f"{16 << 20}",  # of 128 MiB, a third of the heap
            "default.replication.factor": f"{replicas}",
            "min.insync.replicas": f"{in_sync}",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": f"{replicas}",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": f"{replicas}",
            "transaction.state.log.min.isr": f"{in_sync}",
            "share.coordinator.state.topic.replication.factor": f"{replicas}",
            "share.coordinator.state.topic.min.isr": f"{in_sync}",
        }


def _until(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Poll until the condition holds; a broker that does not answer is asked again."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, KafkaError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what()}")
        time.sleep(_POLL_S)
