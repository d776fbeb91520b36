"""The graph computes what torch computes, and a text's answer depends on the text alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

from models.export.graph import build, padded
from models.export.half import half
from models.export.int8 import integer_linear, quantise, round_weights
from models.export.weights import Linear, Network, classifier_network, opinion_network
from models.network import load_network
from streams.core.errors import ConfigurationError

TEXTS = [[2, 6, 9, 3], [2, 7, 10, 12, 15, 3], [2, *([6, 8, 9] * 7), 3], [2, 3], [2, 20, 21, 3]]


def run(model: object, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def half_rounded(module: torch.nn.Module) -> None:
    """Round the matrices as the graph stores them."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1 and not name.startswith(("sentiment", "topic", "classifier")):
                parameter.copy_(parameter.half().float())


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: part.numpy() for name, part in module.state_dict().items()}


@pytest.fixture
def network(run_folder: Path) -> Network:
    module, _ = load_network(run_folder)
    return opinion_network(arrays(module), module.encoder.config)


def test_the_graph_computes_what_torch_computes(run_folder: Path) -> None:
    module, _ = load_network(run_folder)
    half_rounded(module)
    inputs = padded(TEXTS)
    found = run(build(opinion_network(arrays(module), module.encoder.config)), inputs)
    with torch.no_grad():
        outputs = module(*(torch.from_numpy(array) for array in inputs.values()))
    for name, logits in zip(("sentiment", "topic"), outputs, strict=True):
        np.testing.assert_allclose(found[name], logits.softmax(-1).numpy(), atol=2e-3)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_every_family_is_read_right(classifier_folder: Callable[..., Path], kind: str) -> None:
    folder = classifier_folder(kind, ("bad", "so-so", "good"))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation="eager"
    ).eval()
    half_rounded(model)
    inputs = padded(TEXTS)
    found = run(build(classifier_network(arrays(model), model.config)), inputs)
    with torch.no_grad():
        logits = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits
    spread = np.ptp(found["sentiment"], axis=0).max()
    assert spread > 0.05, "answers that are all alike prove nothing"
    np.testing.assert_allclose(found["sentiment"], logits.softmax(-1).numpy(), atol=2e-3)


def test_another_architecture_is_refused_by_name() -> None:
    config = transformers.AutoConfig.for_model("gpt2")
    with pytest.raises(ConfigurationError, match="gpt2 can't be exported; known are bert"):
        classifier_network({}, config)


@pytest.mark.parametrize("form", ["float", "int8"])
def test_a_texts_answer_is_the_same_to_the_last_bit_beside_any_others(
    network: Network, form: str
) -> None:
    graph = build(network) if form == "float" else build(*quantise(network, TEXTS))
    alone = [run(graph, padded([ids], 24))["sentiment"][0] for ids in TEXTS]
    for order in ([0, 1, 2, 3, 4], [4, 2, 0], [3, 3, 3, 1], [2, 0] * 9):
        together = run(graph, padded([TEXTS[i] for i in order], 24))["sentiment"]
        for row, i in enumerate(order):
            np.testing.assert_array_equal(together[row], alone[i])


def test_int8_stays_close_and_rounds_what_float_would_say(network: Network) -> None:
    inputs = padded(TEXTS)
    exact, rounded = (
        run(graph, inputs)["topic"] for graph in (build(network), build(*quantise(network, TEXTS)))
    )
    difference = np.abs(exact - rounded).max()
    assert 0 < difference < 0.05


def test_large_tables_and_matrices_take_half_the_room(network: Network) -> None:
    words = network.words.repeat(500, axis=0)
    large = Network(**{**vars(network), "words": words})
    plain, small = build(large), build(*quantise(large, TEXTS))
    assert small.ByteSize() < 0.65 * plain.ByteSize()


def test_rounding_with_an_eye_on_the_inputs_loses_less() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(400, 6)) @ rng.normal(size=(6, 48))).astype(np.float32)
    weight = rng.normal(size=(48, 16)).astype(np.float32)
    scales = (np.abs(weight).max(axis=0) / 7).astype(np.float32)  # coarse, so that it shows
    squares = (x.T @ x).astype(np.float64)
    plain = np.rint(weight / scales) * scales
    careful = round_weights(weight, scales, squares) * scales
    assert np.abs(x @ careful - x @ weight).mean() < 0.5 * np.abs(x @ plain - x @ weight).mean()


def test_what_is_added_to_make_inputs_positive_is_taken_off_again() -> None:
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(12, 4)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    moments = np.ones(12, np.float32), np.eye(12)
    made = integer_linear(Linear(weight, bias), moments, least=0.17)
    x = (rng.random((5, 12)) - 0.17).astype(np.float32)
    exact = (x + 0.17) @ (made.weight * made.scales) + made.bias
    np.testing.assert_allclose(exact, x @ weight + bias, atol=0.1)


def test_half_precision_keeps_its_interface_and_answers_alike(network: Network) -> None:
    inputs = padded(TEXTS)
    model = half(network)
    assert [i.type.tensor_type.elem_type for i in model.graph.input] == [7, 7]
    found, exact = run(model, inputs), run(build(network), inputs)
    for name in ("sentiment", "topic"):
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], exact[name], atol=0.02)
