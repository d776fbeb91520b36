"""Texts in, probabilities out, from any form a model has: a run, a version folder, a server.

The texts are normalised and hold role tokens already (`TableRow.model_text`, or the scorer's
inputs); every predictor answers in the order of the texts.
"""

import asyncio
import hashlib
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from streams.core.errors import ConfigurationError, UnscorableText
from streams.core.labels import SENTIMENTS, TOPICS
from streams.core.records import MILLION
from streams.ports import Prediction

Floats = NDArray[np.float32]
Probabilities = tuple[Floats, Floats]
"""float32 [texts, 3] and [texts, 20]; rows sum to one."""

MAX_BATCH: Final = 128
"""Triton merges requests up to `max_batch_size` texts."""
_CHUNK: Final = 1024
_TORCH_BATCH: Final = 32
_BACKEND: Final = "triton_python_backend_utils"


class Predictor(Protocol):
    """Scores texts; an answer does not depend on the other texts."""

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        """Return the sentiment and topic probabilities of each text, in order."""
        ...


class Model(Predictor, Protocol):
    """A predictor that can say what it is."""

    @property
    def name(self) -> str:
        """What reports call it, such as `opinion/1`."""
        ...

    @property
    def checksum(self) -> str | None:
        """SHA-256 of the weights; None where nobody can know, as with a server."""
        ...


def open_model(where: str) -> Model:
    """Return the model at a place.

    Args:
        where: A run folder (`model.safetensors`), a version folder of a Triton repository
            (`model.onnx`), or the gRPC address host:port of a Triton.

    Raises:
        ConfigurationError: there is no model at that place.
    """
    folder = Path(where)
    if (folder / "model.onnx").is_file():
        return OnnxPredictor(folder)
    if (folder / "model.safetensors").is_file():
        return TorchPredictor(folder)
    if folder.exists():
        raise ConfigurationError(
            f"no model in {where}: name a run folder (it holds model.safetensors) or a version "
            "folder such as triton_repo/opinion/1 (it holds model.onnx)"
        )
    host, _, port = where.removeprefix("grpc://").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigurationError(
            f"{where} is neither a folder nor an address: name a run folder, a version folder, or "
            "the gRPC address of a Triton as host:port"
        )
    return ServedPredictor(f"{host}:{port}")


class TorchPredictor:
    """The network of a run folder in torch, on a GPU where there is one."""

    def __init__(self, folder: Path) -> None:
        """Load weights and tokenizer.

        Raises:
            ConfigurationError: the folder is no finished run.
        """
        import torch

        from models.network import load_network

        self.name = folder.resolve().name
        self.checksum: str | None = file_sha256(folder / "model.safetensors")
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network, self._tokenizer = load_network(folder)
        self._network.to(self._device).eval()

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        """Return float32 [texts, 3] and [texts, 20]."""
        return in_length_order(texts, _TORCH_BATCH, self._batch)

    def _batch(self, texts: Sequence[str]) -> Probabilities:
        import torch

        from models.network import MAX_TOKENS

        inputs = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=MAX_TOKENS,
            padding=True,
            return_tensors="pt",
        ).to(self._device)
        with torch.inference_mode():
            outputs = self._network(inputs.input_ids, inputs.attention_mask)
        sentiment, topic = (o.float().softmax(-1).cpu().numpy() for o in outputs)
        return sentiment, topic


class OnnxPredictor:
    """A version folder, run by its own `model.py` and `config.pbtxt`, without Triton.

    So packing, padding and threads are those of serving, whatever they are in that version.
    """

    def __init__(self, folder: Path) -> None:
        """Load the version.

        Raises:
            ConfigurationError: a file of the version is missing.
        """
        folder = folder.resolve()
        config = folder.parent / "config.pbtxt"
        for path in (folder / "model.py", folder / "tokenizer.json", config):
            if not path.is_file():
                raise ConfigurationError(
                    f"{path} is missing: a version folder stands beside config.pbtxt and holds "
                    "model.onnx, model.py and tokenizer.json"
                )
        self.name = f"{folder.parent.name}/{folder.name}"
        self.checksum: str | None = file_sha256(folder / "model.onnx")
        self._model = _load_backend(folder / "model.py").TritonPythonModel()
        self._model.initialize(
            {
                "model_config": json.dumps(_read_config(config)),
                "model_repository": str(folder.parent),
                "model_version": folder.name,
            }
        )

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        """Return float32 [texts, 3] and [texts, 20].

        Raises:
            ValueError: the model refuses a text.
        """
        return in_length_order(texts, MAX_BATCH, self._batch)

    def _batch(self, texts: Sequence[str]) -> Probabilities:
        request = _Tensor("TEXT", np.array([t.encode() for t in texts], object).reshape(-1, 1))
        (response,) = self._model.execute([{"TEXT": request}])
        if response.error is not None:
            raise ValueError(f"{self.name} refuses a text: {response.error}")
        outputs = {tensor.name: tensor.as_numpy() for tensor in response.output_tensors}
        return outputs["SENTIMENT"], outputs["TOPIC"]


class ServedPredictor:
    """A running Triton, asked as the workers ask it."""

    def __init__(self, url: str, model: str = "opinion") -> None:
        """Ask whether it answers.

        Args:
            url: gRPC address host:port.
            model: Name of the model on the server.

        Raises:
            ConfigurationError: no model answers there.
        """
        from streams.adapters.triton import TritonClassifier
        from streams.settings import TritonSettings

        self.checksum: str | None = None
        self._url = url
        self._settings = TritonSettings(model=model)

        async def greet() -> str | None:
            async with TritonClassifier(self._settings, url) as classifier:
                return classifier.model if await classifier.ready() else None

        name = asyncio.run(greet())
        if name is None:
            raise ConfigurationError(f"no Triton with the model {model} answers at {url}")
        self.name = name

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        """Return float32 [texts, 3] and [texts, 20], to the 10⁻⁶ at which workers read them.

        Raises:
            ClassifierUnavailable: the server stopped answering.
            ValueError: the model refuses a text.
        """
        from streams.adapters.triton import TritonClassifier

        async def ask(part: Sequence[str]) -> Probabilities:
            async with TritonClassifier(self._settings, self._url) as classifier:
                answers = await classifier.classify(part)
            for answer in answers:
                if isinstance(answer, UnscorableText):
                    raise ValueError(f"{self.name} refuses a text: {answer}")
            known = [a for a in answers if not isinstance(a, UnscorableText)]
            sentiment = np.array([a.sentiment for a in known], np.float32) / MILLION
            topic = np.array([a.topic for a in known], np.float32) / MILLION
            return sentiment, topic

        return in_length_order(texts, _CHUNK, lambda part: asyncio.run(ask(part)))


class CachedPredictor:
    """Remembers answers in a file, by the weights' checksum and the text's hash.

    Without a checksum it remembers only as long as it lives.
    """

    def __init__(self, model: Model, folder: Path, say: Callable[[int], None]) -> None:
        """Read what is known.

        Args:
            model: Who answers what is not known.
            folder: The cache's folder; made if need be.
            say: Called with the number of texts just scored, for a progress bar.
        """
        self._model, self._say = model, say
        self.name, self.checksum = model.name, model.checksum
        self._path = folder / f"{model.checksum[:16]}.npz" if model.checksum else None
        self._known = _stored(self._path)

    def missing(self, texts: Sequence[str]) -> int:
        """Return how many different texts have no answer yet."""
        return len({k for k in map(_key, texts) if k not in self._known})

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        """Return float32 [texts, 3] and [texts, 20]."""
        keys = [_key(text) for text in texts]
        asked = {k: t for k, t in zip(keys, texts, strict=True) if k not in self._known}
        order = sorted(asked, key=lambda key: len(asked[key]))
        for at in range(0, len(order), _CHUNK):
            part = order[at : at + _CHUNK]
            answers = self._model([asked[key] for key in part])
            self._known.update(zip(part, zip(*answers, strict=True), strict=True))
            self._save()
            self._say(len(part))
        if not keys:
            return _empty()
        sentiment, topic = zip(*(self._known[key] for key in keys), strict=True)
        return np.stack(sentiment), np.stack(topic)

    def _save(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Another predictor of the same weights may have written since.
        self._known = _stored(self._path) | self._known
        keys = np.frombuffer(b"".join(self._known), np.uint8).reshape(-1, 16)
        sentiment, topic = zip(*self._known.values(), strict=True)
        draft = self._path.with_suffix(".part.npz")
        np.savez(draft, keys=keys, sentiment=np.stack(sentiment), topic=np.stack(topic))
        draft.replace(self._path)


class AsClassifier:
    """The scorer's port over a predictor: a text takes the whole path of the service."""

    def __init__(self, predictor: Predictor, model: str = "evaluation/0") -> None:
        """Take the predictor, and the name that opinions and votes carry."""
        self._predictor, self.model = predictor, model

    async def ready(self) -> bool:
        """Return True."""
        return True

    async def classify(self, texts: Sequence[str]) -> list[Prediction | UnscorableText]:
        """Return the prediction of each text, in order."""
        # In a thread: a predictor blocks, and one that asks a server needs a loop of its own.
        answers = await asyncio.to_thread(self._predictor, texts)
        sentiments, topics = (
            np.rint(p.astype(np.float64) * MILLION).astype(np.int64).tolist() for p in answers
        )
        return [
            Prediction((s[0], s[1], s[2]), tuple(t))
            for s, t in zip(sentiments, topics, strict=True)
        ]


def _stored(path: Path | None) -> dict[bytes, tuple[Floats, Floats]]:
    """Return the answers in a cache file, by the hash of the text."""
    if path is None or not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        keys = [key.tobytes() for key in stored["keys"]]
        answers = zip(stored["sentiment"], stored["topic"], strict=True)
        return dict(zip(keys, answers, strict=True))


def in_length_order(
    texts: Sequence[str], size: int, score: Callable[[Sequence[str]], Probabilities]
) -> Probabilities:
    """Score texts in batches of similar length, and answer in their own order."""
    if not texts:
        return _empty()
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    sentiment = np.empty((len(texts), len(SENTIMENTS)), np.float32)
    topic = np.empty((len(texts), len(TOPICS)), np.float32)
    for rows in _batches(order, size):
        sentiment[rows], topic[rows] = score([texts[row] for row in rows])
    return sentiment, topic


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _batches(order: list[int], size: int) -> Iterator[list[int]]:
    for at in range(0, len(order), size):
        yield order[at : at + size]


def _empty() -> Probabilities:
    return np.empty((0, len(SENTIMENTS)), np.float32), np.empty((0, len(TOPICS)), np.float32)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _read_config(path: Path) -> dict[str, Any]:
    """Return `config.pbtxt` in the form in which Triton hands it to a model."""
    from google.protobuf import json_format, text_format
    from tritonclient.grpc import model_config_pb2

    config = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    fields: dict[str, Any] = json_format.MessageToDict(config, preserving_proto_field_name=True)
    return fields


class _Tensor:
    """A tensor as `triton_python_backend_utils` has it."""

    def __init__(self, name: str, value: NDArray[Any]) -> None:
        self.name, self._value = name, value

    def as_numpy(self) -> NDArray[Any]:
        return self._value


class _Response:
    def __init__(self, output_tensors: list[_Tensor], error: object = None) -> None:
        self.output_tensors, self.error = output_tensors, error


class _Error(str):
    """An error of one request; its second argument is a code."""

    INVALID_ARG: Final = 3

    def __new__(cls, message: str, _code: int = 0) -> "_Error":
        return super().__new__(cls, message)


def _load_backend(path: Path) -> types.ModuleType:
    """Import a `model.py`, giving it what it uses of Triton's Python backend."""
    offered = types.ModuleType(_BACKEND)
    offered.__dict__.update(
        Tensor=_Tensor,
        InferenceResponse=_Response,
        TritonError=_Error,
        TritonModelException=ConfigurationError,
        get_input_tensor_by_name=lambda request, name: request[name],
    )
    spec = importlib.util.spec_from_file_location(f"opinion_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(_BACKEND)
    sys.modules[_BACKEND] = offered
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[_BACKEND]
        if before is not None:
            sys.modules[_BACKEND] = before
    return module
