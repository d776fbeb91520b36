"""How much of the model server's speed is left at the end of the whole path; where the rest goes.

    make bench BENCH_ARGS="FILE --texts 20000"

The same inferences are first sent straight to Triton, then the texts are replayed through broker,
score and aggregate with the prediction cache off; both on this machine, one after the other. The
ratio counts, not the texts per second. Nothing here gates.
"""

import argparse
import asyncio
import gzip
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from streams.adapters.clock import now_ms
from streams.adapters.kafka_admin import ensure_topics
from streams.adapters.triton import TritonClassifier
from streams.connectors.replay import replay
from streams.core.entities import EntityIndex
from streams.core.errors import RecordError
from streams.core.topics import TEXTS_SOCIAL, Names
from streams.embedded.broker import broker_spec
from streams.embedded.process import free_ports
from streams.embedded.supervisor import Supervisor
from streams.embedded.triton import TritonPorts, shipped_repository, triton_spec
from streams.ledger import check_ledger
from streams.offline import differing, fold_votes, published_windows
from streams.pipeline.decode import decode
from streams.ports import Incoming
from streams.samples import STREAM
from streams.settings import KafkaSettings, ScoreSettings, TritonSettings
from streams.up import worker_spec
from streams.worker import load_rules

console = Console()


def lines(path: Path, most: int) -> list[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return list(itertools.islice(file, most))


def batches(texts: list[bytes], size: int) -> Iterator[list[str]]:
    """Yield the inputs of the model, batch by batch, as score makes them."""
    index = EntityIndex.load()
    for start in range(0, len(texts), size):
        inputs: dict[str, None] = {}
        for offset, line in enumerate(texts[start : start + size]):
            record = Incoming(TEXTS_SOCIAL, 0, offset, now_ms(), None, line, {})
            try:
                readable = decode(record, index, b"bench")
            except RecordError:
                continue
            if readable.language.scorable:
                inputs.update(dict.fromkeys(readable.inputs))
        yield list(inputs)


async def direct(url: str, work: list[list[str]], at_once: int) -> float:
    """Return inferences per second when nothing but the client stands before Triton."""
    async with TritonClassifier(TritonSettings(), url) as classifier:
        await classifier.classify(work[0])
        waiting = iter(work)

        async def feed() -> None:
            for texts in waiting:
                await classifier.classify(texts)

        started = time.monotonic()
        await asyncio.gather(*(feed() for _ in range(at_once)))
        return sum(map(len, work)) / (time.monotonic() - started)


async def metric(url: str, *names: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        page = await response.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name in names
    )


def usage(supervisor: Supervisor, names: list[str]) -> dict[str, tuple[float, float]]:
    """Return per child (CPU seconds, peak resident MiB), its own children included."""
    found = {}
    for name in names:
        root = psutil.Process(supervisor.child(name).pid)
        family = [root, *root.children(recursive=True)]
        cpu = sum(sum(p.cpu_times()[:2]) for p in family)
        peak = sum(_peak_kib(p.pid) for p in family) / 1024
        found[name] = (cpu, peak)
    return found


def _peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


async def main(path: Path, most: int, partitions: int) -> None:
    texts = lines(path, most)
    score_settings = ScoreSettings()
    work = list(batches(texts, score_settings.batch_texts))
    with tempfile.TemporaryDirectory() as folder:
        broker, grpc, http, metrics, score, aggregate = free_ports(6)
        kafka = KafkaSettings(
            bootstrap=f"127.0.0.1:{broker}", partitions=partitions, transactions=False
        )
        async with Supervisor(Path(folder)) as supervisor:
            supervisor.add(broker_spec(broker))
            ports = TritonPorts(grpc=grpc, http=http, metrics=metrics)
            supervisor.add(
                triton_spec(ports, run_dir=Path(folder), repository=shipped_repository())
            )
            await supervisor.start_all()
            console.print(f"{len(texts)} texts, {sum(map(len, work))} inferences; directly …")
            url = f"127.0.0.1:{grpc}"
            ceiling = await direct(url, work, score_settings.batches_in_flight)
            console.print(f"directly: {ceiling:.0f} inferences/s; now the whole path …")
            ensure_topics(kafka)
            environment = {
                "TICKERTONE_KAFKA__BOOTSTRAP": kafka.bootstrap or "",
                "TICKERTONE_KAFKA__TRANSACTIONS": "false",
                "TICKERTONE_TRITON__URL": url,
                "TICKERTONE_SCORE__CACHE_TEXTS": "0",
                "TICKERTONE_SCORE__AUTHOR_KEY": "bench",
            }
            supervisor.add(worker_spec("score", environment, score))
            supervisor.add(worker_spec("aggregate", environment, aggregate))
            await supervisor.start_all(together=True)
            names = ["broker", "triton", "score", "aggregate"]
            before = usage(supervisor, names)
            started = time.monotonic()
            report = await replay(
                [str(path)], bootstrap=kafka.bootstrap or "", names=Names(), limit=most
            )
            score_url = f"http://127.0.0.1:{score}"
            ended = (
                "tickertone_texts_scored_total",
                "tickertone_texts_filtered_total",
                "tickertone_texts_dead_total",
            )
            while await metric(score_url, *ended) < report.confirmed:  # noqa: ASYNC110
                await asyncio.sleep(1)  # asking costs the cores that are measured
            seconds = time.monotonic() - started
            inferences = await metric(score_url, "tickertone_inferences_total")
            while not (ledger := await check_ledger(kafka.bootstrap or "", Names())).balanced:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
            settled = time.monotonic() - started
            after = usage(supervisor, names)
            offline = await fold_votes(kafka.bootstrap or "", Names(), load_rules(None), 60_000)
            published = await published_windows(kafka.bootstrap or "", Names())
    votes = sum(v.read for v in ledger.votes)
    late = sum(v.counts["late"] for v in ledger.votes)
    table = Table(title="CPU and memory of the run through the whole path")
    for column in ("process", "CPU s", "share of two cores' time", "peak MiB"):
        table.add_column(column)
    for name in names:
        cpu = after[name][0] - before[name][0]
        share = cpu / (seconds * (psutil.cpu_count() or 1))
        table.add_row(name, f"{cpu:.1f}", f"{share:.0%}", f"{after[name][1]:.0f}")
    console.print(table)
    console.print(f"ledger balanced; {votes} votes, {late} late; {len(published)} closed minutes,")
    console.print(f"{len(differing(offline, published))} differ from an offline fold")
    console.print(f"{report.confirmed / seconds:.0f} texts/s, settled after {settled:.1f} s")
    console.print(
        f"whole path {inferences / seconds:.0f} inferences/s ÷ direct {ceiling:.0f} "
        f"= {inferences / seconds / ceiling:.2f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=STREAM)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--partitions", type=int, default=4)
    given = parser.parse_args()
    asyncio.run(main(given.file, given.texts, given.partitions))
