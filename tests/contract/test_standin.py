"""The model of the fault tests: alike to the shipped one from outside, and faulty on demand.

That it keeps the promises of every classifier is asked in test_classifier.py.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from streams.adapters.triton import TritonClassifier
from streams.core.errors import BadModelOutput, ClassifierUnavailable, UnscorableText
from streams.embedded.triton import shipped_repository
from streams.ports import Prediction
from streams.settings import TritonSettings
from tests.support.triton import STAND_IN, ModelServer, predicted

DEADLINE_S = 1.5
TEXTS = [f"Nokia gains {n} points" for n in range(40)]
REFUSED = "Nokia sinks, unscorable-marker"
POISON = "Nokia sinks, poison-nan"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    with ModelServer(tmp_path_factory.mktemp("stand-in")) as server:
        yield server


@pytest.fixture
async def triton(server: ModelServer) -> AsyncIterator[TritonClassifier]:
    """A client with a short deadline; the fault is over when the test is."""
    async with TritonClassifier(TritonSettings(deadline_s=DEADLINE_S), server.url) as client:
        yield client
    server.fault(None)


async def scored(client: TritonClassifier, texts: list[str], within_s: float) -> list[Any]:
    """Ask until there is an answer, as score does."""
    async with asyncio.timeout(within_s):
        while True:
            with contextlib.suppress(ClassifierUnavailable):
                return await client.classify(texts)
            await asyncio.sleep(0.2)


def test_its_config_is_that_of_the_shipped_model_but_for_its_parameters() -> None:
    def config(repository: Path) -> model_config_pb2.ModelConfig:
        text = (repository / "opinion" / "config.pbtxt").read_text("utf-8")
        read: model_config_pb2.ModelConfig = text_format.Parse(text, model_config_pb2.ModelConfig())
        read.ClearField("parameters")
        return read

    assert config(STAND_IN) == config(shipped_repository())


async def test_answers_are_the_pure_function_and_do_not_depend_on_the_batch(
    triton: TritonClassifier,
) -> None:
    texts = [*TEXTS, "", "株価 🚀", "Why did it fall? Fraud, they say"]
    together = await triton.classify(texts)
    assert together == [predicted(text) for text in texts]
    random.Random(1).shuffle(texts)
    assert [(await triton.classify([text]))[0] for text in texts] == [
        predicted(text) for text in texts
    ]


@pytest.mark.parametrize("fault", ["nan", "shape", "rows"])
async def test_nonsense_for_every_text_is_a_contract_error_and_no_text_is_blamed(
    server: ModelServer, triton: TritonClassifier, fault: str
) -> None:
    server.fault(fault)
    with pytest.raises(BadModelOutput):
        await triton.classify(TEXTS)
    assert not await triton.ready()
    server.fault(None)
    assert await triton.classify(TEXTS) == [predicted(text) for text in TEXTS]


async def test_nonsense_for_one_text_is_that_texts_fault(triton: TritonClassifier) -> None:
    answers = await triton.classify([*TEXTS, POISON, *TEXTS])
    assert [i for i, a in enumerate(answers) if isinstance(a, UnscorableText)] == [len(TEXTS)]
    assert answers[0] == predicted(TEXTS[0])


async def test_exactly_the_refused_text_is_unscorable(
    server: ModelServer, triton: TritonClassifier
) -> None:
    server.fault("refuse")
    answers = await triton.classify([*TEXTS, REFUSED, *TEXTS])
    assert [i for i, a in enumerate(answers) if isinstance(a, UnscorableText)] == [len(TEXTS)]
    assert sum(isinstance(a, Prediction) for a in answers) == 2 * len(TEXTS)


async def test_a_model_that_refuses_everything_is_away_and_no_text_is_blamed(
    server: ModelServer, triton: TritonClassifier
) -> None:
    server.fault("error")
    with pytest.raises(ClassifierUnavailable, match="any text"):
        await triton.classify(TEXTS)
    assert not await triton.ready()


async def test_an_error_that_is_over_before_the_probe_is_no_texts_fault(
    server: ModelServer, triton: TritonClassifier
) -> None:
    server.fault("error 1")
    assert await triton.classify(["Nokia gains"]) == [predicted("Nokia gains")]


async def test_an_unknown_fault_is_an_error_not_ignored(
    server: ModelServer, triton: TritonClassifier
) -> None:
    server.fault("slwo 1")
    with pytest.raises(ClassifierUnavailable, match="no such fault: slwo"):
        await triton.classify(TEXTS)


async def test_slow_is_slow_and_beyond_the_deadline_it_is_away(
    server: ModelServer, triton: TritonClassifier
) -> None:
    server.fault("slow 0.5")
    begun = time.monotonic()
    await triton.classify(["Nokia gains"])
    assert 0.5 <= time.monotonic() - begun < DEADLINE_S
    server.fault("slow 2")
    with pytest.raises(ClassifierUnavailable, match="DEADLINE_EXCEEDED"):
        await triton.classify(["Nokia gains"])


async def test_hanging_is_noticed_and_over_when_the_file_changes(
    server: ModelServer, triton: TritonClassifier
) -> None:
    server.fault("hang")
    with pytest.raises(ClassifierUnavailable):
        await triton.classify(TEXTS)
    server.fault(None)
    assert await scored(triton, TEXTS, within_s=20) == [predicted(text) for text in TEXTS]


async def test_frozen_or_killed_it_is_away_and_found_again_at_its_address(
    server: ModelServer, triton: TritonClassifier
) -> None:
    await triton.classify(TEXTS)
    server.freeze()
    with pytest.raises(ClassifierUnavailable):
        await triton.classify(TEXTS)
    server.thaw()
    await scored(triton, TEXTS, within_s=20)

    server.kill()
    with pytest.raises(ClassifierUnavailable):
        await triton.classify(TEXTS)
    await asyncio.to_thread(server.start)
    assert await scored(triton, TEXTS, within_s=20) == [predicted(text) for text in TEXTS]
