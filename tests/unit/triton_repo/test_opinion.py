"""model.py and config.pbtxt without Triton: a stand-in for what its Python backend offers.

Both the first version's model.py and the one that the export writes into new versions.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

import models.export
from models.export.pbtxt import GPU, Serving, render
from streams.adapters.triton import INPUT, MAX_BATCH, OUTPUTS
from streams.core.labels import SENTIMENTS, TOPICS
from streams.embedded.triton import shipped_repository

MODEL = shipped_repository() / "opinion"
VERSION = MODEL / "1"
NEW = Path(models.export.__file__).parent / "model.py"


class PbUtils(types.ModuleType):
    """As little of `triton_python_backend_utils` as model.py uses."""

    class TritonModelException(Exception): ...

    class TritonError:
        INVALID_ARG = 3

        def __init__(self, message: str, code: int) -> None:
            self.message, self.code = message, code

    class Tensor:
        def __init__(self, name: str, value: np.ndarray) -> None:
            self.name, self.value = name, value

        def as_numpy(self) -> np.ndarray:
            return self.value

    class InferenceResponse:
        def __init__(self, output_tensors: list, error: object = None) -> None:
            self.outputs = {tensor.name: tensor.value for tensor in output_tensors}
            self.error = error

    @staticmethod
    def get_input_tensor_by_name(request: dict, name: str) -> "PbUtils.Tensor":
        return PbUtils.Tensor(name, request[name])


@pytest.fixture(scope="module", params=[VERSION / "model.py", NEW], ids=["first", "new"])
def module(request: pytest.FixtureRequest) -> types.ModuleType:
    return load(request.param)


def load(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("opinion_model", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    name = "triton_python_backend_utils"
    sys.modules[name] = PbUtils(name)
    try:
        spec.loader.exec_module(loaded)
    finally:
        del sys.modules[name]
    return loaded


def arguments(folder: Path, **parameters: str) -> dict[str, str]:
    config = {
        "parameters": {k: {"string_value": v} for k, v in parameters.items()},
        "output": [{"name": name, "dims": [str(size)]} for name, size in OUTPUTS.items()],
    }
    return {
        "model_config": json.dumps(config),
        "model_repository": str(folder),
        "model_version": "1",
    }


@pytest.fixture(scope="module")
def model(module: types.ModuleType) -> object:
    made = module.TritonPythonModel()
    made.initialize(arguments(MODEL))
    return made


def request(*texts: bytes) -> dict[str, np.ndarray]:
    return {INPUT: np.array(texts, dtype=np.object_).reshape(-1, 1)}


def test_every_request_gets_its_own_rows(model) -> None:
    texts = [b"Nokia sinks", b"Apple beats estimates " * 20, "株価 🚀".encode(), b"", b"x"]
    alone = [model.execute([request(text)])[0].outputs for text in texts]
    first, second, third = model.execute(
        [request(*texts[:2]), request(texts[2]), request(*texts[3:])]
    )
    merged = [first.outputs, second.outputs, third.outputs]
    for name, classes in OUTPUTS.items():
        together = np.concatenate([outputs[name] for outputs in merged])
        assert together.shape == (5, classes)
        assert together.dtype == np.float32
        np.testing.assert_allclose(together, np.concatenate([a[name] for a in alone]), atol=1e-5)


def test_a_text_that_is_not_utf8_is_an_error_of_its_own_request(model) -> None:
    good, bad, other = model.execute(
        [request(b"Nokia sinks"), request(b"fine", b"\xff\xfe"), request(b"Apple gains")]
    )
    assert bad.error.code == PbUtils.TritonError.INVALID_ARG
    assert "UTF-8" in bad.error.message
    assert not bad.outputs
    for response in (good, other):
        assert response.error is None
        assert response.outputs["SENTIMENT"].shape == (1, 3)


def test_nothing_but_bad_requests(model) -> None:
    assert all(r.error for r in model.execute([request(b"\xff"), request(b"\xfe")]))


def test_without_weights_it_says_what_to_do(module: types.ModuleType, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with pytest.raises(PbUtils.TritonModelException, match=r"models[ .]export"):
        module.TritonPythonModel().initialize(arguments(tmp_path))


def test_groups_cover_every_row_once_and_keep_the_budget(module: types.ModuleType) -> None:
    lengths = [3, 128, 5, 5, 90, 2, 128, 60, 4, 300]
    groups = module.plan(lengths, 256)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[row] for row in group)
        assert lengths[group[-1]] == longest
        assert len(group) * longest <= 256 or len(group) == 1


def test_packs_hold_texts_of_one_width_and_the_largest_comes_first() -> None:
    module = load(NEW)
    lengths = [3, 8, 9, 16, 17, 24, 24, 24, 130]
    groups = module.plan(lengths, 60)
    assert all(len({module.width(lengths[row]) for row in group}) == 1 for group in groups)
    tokens = [sum(lengths[row] for row in group) for group in groups]
    assert tokens == sorted(tokens, reverse=True)
    assert [8] in groups


def test_without_a_topic_head_all_topics_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(NEW).TritonPythonModel()
    model.initialize(arguments(MODEL))
    monkeypatch.setattr(model, "names", ["sentiment"])
    (response,) = model.execute([request(b"Nokia sinks", b"Apple gains")])
    np.testing.assert_array_equal(response.outputs["TOPIC"], np.full((2, 20), 0.05, np.float32))
    assert response.outputs["SENTIMENT"].shape == (2, 3)


def parsed(text: str) -> object:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_the_configuration_is_the_one_that_the_code_renders() -> None:
    assert (MODEL / "config.pbtxt").read_text() == render(Serving())


@pytest.mark.parametrize("serving", [Serving(), GPU], ids=["cpu", "gpu"])
def test_the_configuration_says_what_the_client_says(serving: Serving) -> None:
    config = parsed(render(serving))
    assert config.max_batch_size == MAX_BATCH
    assert [(t.name, list(t.dims)) for t in config.input] == [(INPUT, [1])]
    assert {t.name: list(t.dims) for t in config.output} == {n: [k] for n, k in OUTPUTS.items()}
    assert config.dynamic_batching.default_queue_policy.max_queue_size > 0
    assert config.model_warmup[0].inputs[INPUT].zero_data


def test_a_gpu_gets_half_precision_large_packs_and_its_own_instances() -> None:
    config = parsed(render(GPU))
    kinds = model_config_pb2.ModelInstanceGroup
    assert [(g.kind, g.count) for g in config.instance_group] == [(kinds.KIND_GPU, 1)]
    assert config.parameters["weights"].string_value == "model.fp16.onnx"
    assert int(config.parameters["token_budget"].string_value) > 4096


def test_versions_can_be_pinned() -> None:
    assert list(parsed(render(Serving(versions=(1, 3)))).version_policy.specific.versions) == [1, 3]


def test_the_labels_are_in_the_one_order() -> None:
    labels = json.loads((VERSION / "labels.json").read_text())
    assert labels == {"sentiments": list(SENTIMENTS), "topics": list(TOPICS)}
