"""What every classifier promises, asked of the fake and of Triton with both its models."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import InferenceServerClient

from models.export.pbtxt import NAME, Serving, model_config
from streams.adapters.triton import TritonClassifier
from streams.core.errors import UnscorableText
from streams.core.labels import SENTIMENTS, TOPICS
from streams.core.text import MAX_CHARS
from streams.ports import Classifier, Prediction
from streams.settings import TritonSettings
from streams.testing import FakeClassifier
from tests.support.triton import ModelServer, OfflineModel

UP = "Apple beats estimates and shares jump to a record high"
DOWN = "Nokia shares sink 12% after profit warning and loss"


class ClassifierContract:
    """Inherited once per implementation."""

    async def test_one_answer_per_text_in_order(self, classifier: Classifier) -> None:
        up, down, again = await classifier.classify([UP, DOWN, UP])
        assert isinstance(up, Prediction)
        assert isinstance(down, Prediction)
        assert up.sentiment[2] > up.sentiment[0]
        assert down.sentiment[0] > down.sentiment[2]
        assert again == up

    async def test_probabilities_are_millionths_that_sum_to_one(
        self, classifier: Classifier
    ) -> None:
        for answer in await classifier.classify(["", " ", "?", UP, "x" * MAX_CHARS, "株価 🚀"]):
            assert isinstance(answer, Prediction)
            for part, size in ((answer.sentiment, len(SENTIMENTS)), (answer.topic, len(TOPICS))):
                assert len(part) == size
                assert all(type(p) is int and 0 <= p <= 1_000_000 for p in part)
                assert abs(sum(part) - 1_000_000) <= 1000

    async def test_no_texts_no_answers(self, classifier: Classifier) -> None:
        assert await classifier.classify([]) == []

    async def test_more_texts_than_one_request_holds(self, classifier: Classifier) -> None:
        texts = [f"{i} {DOWN if i % 3 else UP}" for i in range(150)]
        for i, answer in enumerate(await classifier.classify(texts)):
            assert isinstance(answer, Prediction)
            assert (answer.sentiment[2] > answer.sentiment[0]) == (i % 3 == 0)

    async def test_a_text_that_is_no_unicode_is_unscorable_alone(
        self, classifier: Classifier
    ) -> None:
        first, bad, last = await classifier.classify([UP, "half a pair: \ud83d", DOWN])
        assert isinstance(bad, UnscorableText)
        assert [first, last] == await classifier.classify([UP, DOWN])

    async def test_calls_at_the_same_time_do_not_mix(self, classifier: Classifier) -> None:
        ups, downs = await asyncio.gather(
            classifier.classify([UP] * 5), classifier.classify([DOWN] * 5)
        )
        for up, down in zip(ups, downs, strict=True):
            assert isinstance(up, Prediction)
            assert isinstance(down, Prediction)
            assert up.sentiment[2] > down.sentiment[2]

    async def test_ready_and_named(self, classifier: Classifier) -> None:
        assert await classifier.ready()
        name, _, version = classifier.model.partition("/")
        assert name
        assert version.isdigit()


class TestFakeClassifier(ClassifierContract):
    @pytest.fixture
    def classifier(self) -> Classifier:
        return FakeClassifier()


class TestTritonClassifier(ClassifierContract):
    @pytest.fixture
    async def classifier(self, triton_url: str) -> AsyncIterator[Classifier]:
        async with TritonClassifier(TritonSettings(deadline_s=60), triton_url) as triton:
            yield triton

    def test_triton_has_loaded_what_the_code_renders(self, triton_url: str) -> None:
        with InferenceServerClient(triton_url) as client:
            loaded = client.get_model_config(NAME, as_json=True)["config"]
        rendered = MessageToDict(model_config(Serving()), preserving_proto_field_name=True)
        assert contained(rendered, loaded), f"{rendered} is not in {loaded}"


def contained(part: object, whole: object) -> bool:
    """Return whether all that `part` says stands in `whole`, which may say more."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and contained(part[key], whole[key]) for key in part)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(contained, part, whole))
    return part == whole


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    with ModelServer(tmp_path_factory.mktemp("stand-in")) as server:
        yield server


class TestStandIn(ClassifierContract):
    """The model of the fault tests, without a fault."""

    @pytest.fixture
    async def classifier(self, stand_in: ModelServer) -> AsyncIterator[Classifier]:
        async with TritonClassifier(TritonSettings(deadline_s=60), stand_in.url) as triton:
            yield triton


class TestStandInWithoutServer(ClassifierContract):
    @pytest.fixture
    def classifier(self) -> Classifier:
        return OfflineModel()
