"""The client and the real server, when all is well and when it is not."""

import asyncio
import contextlib
import dataclasses
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc.aio as grpc_aio
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException

from streams.adapters.triton import TritonClassifier
from streams.core.errors import ClassifierUnavailable
from streams.embedded.process import free_ports
from streams.embedded.supervisor import Supervisor
from streams.embedded.triton import TritonPorts, infers, shipped_repository, triton_spec
from streams.ports import Prediction
from streams.settings import TritonSettings

WORDS = [
    "shares",
    "of",
    "[T]",
    "jump",
    "after",
    "it",
    "beats",
    "estimates",
    "while",
    "[O]",
    "sinks",
    "on",
    "a",
    "profit",
    "warning",
    "and",
    "the",
    "Fed",
    "raises",
    "rates",
    "again",
    "🚀",
    "says",
    "Reuters",
    "in",
    "Q3",
    "2024",
    "dividend",
    "merger",
    "probe",
]


def texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.choice((1, 5, 12, 25, 60)))) for _ in range(count)]


def score(answer: object) -> int:
    assert isinstance(answer, Prediction)
    return answer.sentiment[2] - answer.sentiment[0]


async def test_a_score_does_not_depend_on_what_else_is_in_the_batch(triton_url: str) -> None:
    some = texts(40, seed=1)
    others = texts(60, seed=2)
    async with TritonClassifier(TritonSettings(deadline_s=60), triton_url) as triton:
        alone = [score((await triton.classify([text]))[0]) for text in some]
        mixed = some + others
        random.Random(3).shuffle(mixed)
        together = dict(zip(mixed, await triton.classify(mixed), strict=True))
    # Exactly: windows of two runs are compared to the last digit.
    assert alone == [score(together[t]) for t in some]


async def test_a_bad_text_errors_only_its_own_request(triton_url: str) -> None:
    async def ask(client: grpc_aio.InferenceServerClient, *raw: bytes) -> np.ndarray:
        tensor = InferInput("TEXT", [len(raw), 1], "BYTES")
        tensor.set_data_from_numpy(np.array(raw, dtype=np.object_).reshape(-1, 1))
        result = await client.infer("opinion", [tensor])
        return result.as_numpy("SENTIMENT")

    async with grpc_aio.InferenceServerClient(triton_url) as client:
        answers = await asyncio.gather(
            *(ask(client, b"good", b"\xff" if i == 3 else b"fine") for i in range(8)),
            return_exceptions=True,
        )
    assert [isinstance(a, InferenceServerException) for a in answers] == [i == 3 for i in range(8)]
    assert "UTF-8" in str(answers[3])


async def test_more_texts_than_the_model_takes_at_once(triton_url: str) -> None:
    settings = TritonSettings(request_texts=256, deadline_s=60)
    async with TritonClassifier(settings, triton_url) as triton:
        assert len(await triton.classify(["a"] * 300)) == 300


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[tuple[Supervisor, str]]:
    """A supervised Triton that a test may hurt, and its address."""
    ports = TritonPorts(*free_ports(3))
    url = f"127.0.0.1:{ports.grpc}"

    async def healthy() -> bool:
        return await infers(url, "opinion", 2)

    spec = dataclasses.replace(
        triton_spec(ports, run_dir=tmp_path, repository=shipped_repository()),
        health=healthy,
        health_every_s=0.5,
        health_timeout_s=3,
        health_failures=2,
    )
    async with Supervisor(tmp_path, signals=False) as supervisor:
        await supervisor.add(spec).start_all()
        yield supervisor, url


async def recovered(triton: TritonClassifier, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while True:
            with contextlib.suppress(ClassifierUnavailable):
                await triton.classify(["Nokia sinks"])
                return
            await asyncio.sleep(0.2)


async def failed(triton: TritonClassifier, within_s: float) -> None:
    """It raises, and soon."""
    async with asyncio.timeout(within_s):
        with contextlib.suppress(ClassifierUnavailable):
            while True:
                await triton.classify(["Nokia sinks"])


async def test_a_server_that_dies_or_hangs_is_reported_restarted_and_found_again(
    own: tuple[Supervisor, str],
) -> None:
    supervisor, url = own
    async with TritonClassifier(TritonSettings(deadline_s=2), url) as triton:
        await triton.classify(["Apple gains"])

        pid = supervisor.child("triton").pid
        assert pid is not None
        stubs = psutil.Process(pid).children(recursive=True)
        os.kill(pid, signal.SIGKILL)
        await failed(triton, within_s=10)
        await recovered(triton, within_s=30)
        assert not any(stub.is_running() for stub in stubs)

        again = supervisor.child("triton").pid
        assert again not in (None, pid)
        os.kill(again, signal.SIGSTOP)
        await failed(triton, within_s=12)
        await recovered(triton, within_s=40)
        assert supervisor.child("triton").pid != again


async def test_a_dead_model_process_is_not_taken_for_bad_texts(
    own: tuple[Supervisor, str],
) -> None:
    supervisor, url = own
    async with TritonClassifier(TritonSettings(deadline_s=5), url) as triton:
        pid = supervisor.child("triton").pid
        assert pid is not None
        for stub in psutil.Process(pid).children(recursive=True):
            stub.kill()
        deadline = time.monotonic() + 40
        outcomes: list[object] = []
        while not (outcomes and outcomes[-1] == 0) and time.monotonic() < deadline:
            try:
                answers = await triton.classify(["Nokia sinks", "Apple gains"])
                outcomes.append(sum(not isinstance(a, Prediction) for a in answers))
            except ClassifierUnavailable:
                await asyncio.sleep(0.2)
        assert outcomes == [0]
