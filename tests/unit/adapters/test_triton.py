"""The client against a server that answers by rule: no network, no Triton."""

from collections.abc import Callable

import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from streams.adapters import triton
from streams.adapters.breaker import State
from streams.adapters.triton import OUTPUTS, TritonClassifier
from streams.core.errors import BadModelOutput, ClassifierUnavailable, UnscorableText
from streams.ports import Prediction
from streams.settings import TritonSettings

Rule = Callable[[list[bytes]], None]


class Answer:
    """A result of the server; `spoil` changes its tensors."""

    def __init__(self, count: int, spoil: Callable[[dict[str, np.ndarray]], None]) -> None:
        self.tensors = {n: np.full((count, k), 1 / k, np.float32) for n, k in OUTPUTS.items()}
        spoil(self.tensors)

    def as_numpy(self, name: str) -> np.ndarray | None:
        return self.tensors.get(name)

    def get_response(self) -> service_pb2.ModelInferResponse:
        return service_pb2.ModelInferResponse(model_version="7")


class Server:
    """Stands where the gRPC client stands."""

    def __init__(self) -> None:
        self.rule: Rule = lambda _: None
        self.spoil: Callable[[dict[str, np.ndarray]], None] = lambda _: None
        self.spoil_for: bytes | None = None
        """a text whose row is no distribution, wherever it stands"""
        self.requests: list[list[bytes]] = []

    async def infer(self, _model: str, inputs: list, **_: object) -> Answer:
        raw = inputs[0]._get_content()
        texts, at = [], 0
        while at < len(raw):
            size = int.from_bytes(raw[at : at + 4], "little")
            texts.append(raw[at + 4 : at + 4 + size])
            at += 4 + size
        self.requests.append(texts)
        self.rule(texts)
        answer = Answer(len(texts), self.spoil)
        if self.spoil_for in texts:
            answer.tensors["SENTIMENT"][texts.index(self.spoil_for)] = np.nan
        return answer

    async def close(self) -> None: ...


def error(code: str, message: str = "") -> InferenceServerException:
    return InferenceServerException(message, status=f"StatusCode.{code}")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def classifier(server: Server, monkeypatch: pytest.MonkeyPatch) -> TritonClassifier:
    async def no_pause(_: float) -> None: ...

    monkeypatch.setattr(triton, "_pause", no_pause)
    result = TritonClassifier(TritonSettings(attempts=3, request_texts=64), "nowhere:1")
    monkeypatch.setattr(result, "_client", server)
    return result


def refuse(bad: bytes, code: str = "INVALID_ARGUMENT") -> Rule:
    def rule(texts: list[bytes]) -> None:
        if bad in texts:
            raise error(code, "boom")

    return rule


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL"])
@pytest.mark.parametrize("at", [0, 1, 50, 99])
async def test_a_refused_request_is_halved_until_the_culprit_is_alone(
    classifier: TritonClassifier, server: Server, code: str, at: int
) -> None:
    server.rule = refuse(b"bad", code)
    answers = await classifier.classify(["bad" if i == at else str(i) for i in range(100)])
    assert [i for i, a in enumerate(answers) if isinstance(a, UnscorableText)] == [at]
    assert len(server.requests) < 2 + 2 * 8
    assert classifier.circuit is State.CLOSED


async def test_no_text_is_blamed_while_the_server_refuses_a_good_one(
    classifier: TritonClassifier, server: Server
) -> None:
    def rule(_: list[bytes]) -> None:
        raise error("INTERNAL", "no such operator")

    server.rule = rule
    with pytest.raises(ClassifierUnavailable, match="any text"):
        await classifier.classify(["a", "b", "c"])


async def test_a_dead_model_process_is_no_fault_of_the_text(
    classifier: TritonClassifier, server: Server
) -> None:
    def rule(_: list[bytes]) -> None:
        raise error("INTERNAL", "Stub process 'opinion_0_0' is not healthy.")

    server.rule = rule
    with pytest.raises(ClassifierUnavailable, match="not healthy"):
        await classifier.classify(["a", "b"])
    assert len(server.requests) == 3


async def test_retries_are_capped_and_a_late_success_counts(
    classifier: TritonClassifier, server: Server
) -> None:
    def third_time(_: list[bytes]) -> None:
        if len(server.requests) < 3:
            raise error("UNAVAILABLE", "failed to connect")

    server.rule = third_time
    assert isinstance((await classifier.classify(["a"]))[0], Prediction)
    assert len(server.requests) == 3
    assert classifier.model == "opinion/7"


async def test_an_open_circuit_answers_at_once_and_a_probe_closes_it(
    classifier: TritonClassifier, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(classifier._breaker, "_clock", lambda: now)

    def down(_: list[bytes]) -> None:
        raise error("UNAVAILABLE", "failed to connect")

    server.rule = down
    for _ in range(2):
        with pytest.raises(ClassifierUnavailable):
            await classifier.classify(["a"])
    assert classifier.circuit is State.OPEN
    asked = len(server.requests)
    with pytest.raises(ClassifierUnavailable, match="circuit is open"):
        await classifier.classify(["a"])
    assert len(server.requests) == asked

    now += 5
    with pytest.raises(ClassifierUnavailable, match="circuit is open"):
        await classifier.classify(["a"])
    assert server.requests[asked:] == [[b"ready?"]]

    now += 5
    server.rule = lambda _: None
    assert isinstance((await classifier.classify(["a"]))[0], Prediction)
    assert server.requests[asked + 1 :] == [[b"ready?"], [b"a"]]


async def test_silence_is_followed_by_a_probe_not_by_more_waiting(
    classifier: TritonClassifier, server: Server
) -> None:
    def silent(_: list[bytes]) -> None:
        raise error("DEADLINE_EXCEEDED", "Deadline Exceeded")

    server.rule = silent
    with pytest.raises(ClassifierUnavailable):
        await classifier.classify(["a"])
    assert server.requests == [[b"a"], [b"ready?"]]
    assert classifier.circuit is State.OPEN


@pytest.mark.parametrize(
    "message", ["Request timeout expired", "Exceeds maximum queue size of 256"]
)
async def test_overload_slows_down_and_leaves_the_circuit_closed(
    classifier: TritonClassifier, server: Server, message: str
) -> None:
    def full(_: list[bytes]) -> None:
        raise error("UNAVAILABLE", message)

    server.rule = full
    for _ in range(3):
        with pytest.raises(ClassifierUnavailable):
            await classifier.classify(["a"])
    assert classifier.circuit is State.CLOSED
    assert classifier._throttle.limit == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("TOPIC"), "TOPIC: None"),
        (lambda t: t.update(SENTIMENT=t["TOPIC"]), "SENTIMENT: "),
        (lambda t: t["SENTIMENT"].__setitem__((0, 0), np.nan), "not finite"),
        (lambda t: t["SENTIMENT"].__setitem__(0, [1.5, -0.5, 0]), "outside"),
        (lambda t: t["TOPIC"].__setitem__(0, 0.9), "sum to one"),
    ],
)
async def test_what_is_no_distribution_is_a_contract_error(
    classifier: TritonClassifier, server: Server, spoil: Callable, message: str
) -> None:
    server.spoil = spoil
    with pytest.raises(BadModelOutput, match=message):
        await classifier.classify(["a"])


async def test_a_text_whose_answer_alone_is_no_distribution_is_unscorable_alone(
    classifier: TritonClassifier, server: Server
) -> None:
    server.spoil_for = b"poison"
    answers = await classifier.classify(["poison" if i == 70 else str(i) for i in range(100)])
    assert [i for i, a in enumerate(answers) if isinstance(a, UnscorableText)] == [70]
    assert "no distribution" in str(answers[70])


@pytest.mark.parametrize("broken", ["refuse", "spoil"])
async def test_no_text_is_blamed_if_the_server_mends_before_the_probe(
    classifier: TritonClassifier, server: Server, broken: str
) -> None:
    def rule(texts: list[bytes]) -> None:
        mended = len(server.requests) > 1
        if broken == "refuse" and not mended:
            raise error("INTERNAL", "boom")
        server.spoil_for = b"a" if broken == "spoil" and not mended else None

    server.rule = rule
    assert isinstance((await classifier.classify(["a"]))[0], Prediction)
    assert server.requests == [[b"a"], [b"ready?"], [b"a"]]


async def test_requests_hold_at_most_the_configured_number_of_texts(
    classifier: TritonClassifier, server: Server
) -> None:
    await classifier.classify([str(i) for i in range(130)])
    assert sorted(len(texts) for texts in server.requests) == [2, 64, 64]
