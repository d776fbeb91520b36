"""The network as an ONNX graph, written node by node.

A tracer would need packages of its own and leaves hundreds of shape computations behind; the
architecture is fixed, so it is simpler to say it. Only standard operators: ONNX Runtime fuses
them when it loads the graph, and other runtimes can read it. Matrices are stored in half
precision and cast to float32, which runtimes fold when loading, so all arithmetic is float32.
"""

import math
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
"""The first with `Gelu`; `LayerNormalization` came in 17."""
_MASKED = -1e4
"""Added to the scores of padding: exp() of it is exactly zero in float32."""

Weights = Mapping[str, NDArray[np.float32]]


class _Writer:
    """Collects nodes and initialisers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: object) -> str:
        """Append a node with one output; return the output's name."""
        name = out or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Store a value as it is."""
        self.initialisers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def matrix(self, name: str, value: NDArray[np.float32]) -> str:
        """Store a value in half precision, restored to float32 where it is used."""
        stored = self.constant(f"{name}.half", value.astype(np.float16))
        return self.op("Cast", stored, out=name, to=TensorProto.FLOAT)

    def linear(
        self, x: str, name: str, weight: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> str:
        """Return x · weightᵀ + bias, with the weight as torch keeps it: [outputs, inputs]."""
        product = self.op("MatMul", x, self.matrix(f"{name}.weight", weight.T))
        return self.op("Add", product, self.constant(f"{name}.bias", bias))


def build(weights: Weights, *, layers: int, heads: int, epsilon: float) -> onnx.ModelProto:
    """Return the graph: `input_ids`, `attention_mask` int64 [texts, tokens] → `sentiment`, `topic`.

    The outputs are float32 probabilities, [texts, 3] and [texts, topics].

    Args:
        weights: The state of `models.network.Opinion` with a BERT encoder, float32.
        layers: Number of encoder layers.
        heads: Attention heads of each.
        epsilon: Of the layer normalisations.
    """
    w = _Writer()
    prefix = "encoder.embeddings"
    words = w.matrix("words", weights[f"{prefix}.word_embeddings.weight"])
    # There is one segment, so its embedding is part of every position's.
    places = w.constant(
        "places",
        weights[f"{prefix}.position_embeddings.weight"]
        + weights[f"{prefix}.token_type_embeddings.weight"][0],
    )
    width = w.op("Shape", "input_ids", start=1, end=2)
    zero = w.constant("zero", np.array([0], np.int64))
    place = w.op("Slice", places, zero, width, zero)
    x = w.op("Add", w.op("Gather", words, "input_ids"), place)
    x = _norm(w, x, f"{prefix}.LayerNorm", weights, epsilon)

    mask = w.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    one = w.constant("one", np.array(1, np.float32))
    bias = w.op("Mul", w.op("Sub", one, mask), w.constant("masked", np.array(_MASKED, np.float32)))
    bias = w.op("Unsqueeze", bias, w.constant("axes", np.array([1, 2], np.int64)))
    for i in range(layers):
        x = _layer(w, x, bias, f"encoder.encoder.layer.{i}", weights, heads, epsilon)

    mask = w.op("Unsqueeze", mask, w.constant("last", np.array([2], np.int64)))
    axis = w.constant("tokens", np.array([1], np.int64))
    total = w.op("ReduceSum", w.op("Mul", x, mask), axis, keepdims=0)
    count = w.op("Max", w.op("ReduceSum", mask, axis, keepdims=0), one)
    pooled = w.op("Div", total, count)
    outputs = []
    for name in ("sentiment", "topic"):
        weight = weights[f"{name}.weight"]
        logits = w.linear(pooled, f"{name}_head", weight, weights[f"{name}.bias"])
        w.op("Softmax", logits, out=name, axis=-1)
        outputs.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["texts", weight.shape[0]])
        )
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    graph = helper.make_graph(w.nodes, "opinion", inputs, outputs, w.initialisers)
    model = helper.make_model(
        graph, producer_name="tickertone", opset_imports=[helper.make_opsetid("", OPSET)]
    )
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


def _layer(
    w: _Writer, x: str, bias: str, prefix: str, weights: Weights, heads: int, epsilon: float
) -> str:
    """One encoder layer; query, key and value are one product."""
    attention = f"{prefix}.attention"
    parts = [f"{attention}.self.{role}" for role in ("query", "key", "value")]
    size = weights[f"{parts[0]}.weight"].shape[0]
    merged = {
        kind: np.concatenate([weights[f"{part}.{kind}"] for part in parts])
        for kind in ("weight", "bias")
    }
    qkv = w.linear(x, f"{attention}.qkv", merged["weight"], merged["bias"])
    thirds = [f"{attention}.{letter}" for letter in "qkv"]
    w.nodes.append(helper.make_node("Split", [qkv], thirds, axis=-1, num_outputs=3))
    shape = w.constant(f"{attention}.heads", np.array([0, 0, heads, size // heads], np.int64))
    query, key, value = (
        w.op("Transpose", w.op("Reshape", third, shape), perm=perm)
        for third, perm in zip(thirds, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    factor = np.array(1.0 / math.sqrt(size // heads), np.float32)
    scores = w.op("Mul", w.op("MatMul", query, key), w.constant(f"{attention}.scale", factor))
    scores = w.op("Softmax", w.op("Add", scores, bias), axis=-1)
    mixed = w.op("Transpose", w.op("MatMul", scores, value), perm=[0, 2, 1, 3])
    mixed = w.op(
        "Reshape", mixed, w.constant(f"{attention}.joined", np.array([0, 0, size], np.int64))
    )
    mixed = _linear(w, mixed, f"{attention}.output.dense", weights)
    x = _norm(w, w.op("Add", mixed, x), f"{attention}.output.LayerNorm", weights, epsilon)
    inner = w.op("Gelu", _linear(w, x, f"{prefix}.intermediate.dense", weights))
    inner = _linear(w, inner, f"{prefix}.output.dense", weights)
    return _norm(w, w.op("Add", inner, x), f"{prefix}.output.LayerNorm", weights, epsilon)


def _linear(w: _Writer, x: str, name: str, weights: Weights) -> str:
    return w.linear(x, name, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(w: _Writer, x: str, name: str, weights: Weights, epsilon: float) -> str:
    scale = w.constant(f"{name}.weight", weights[f"{name}.weight"])
    shift = w.constant(f"{name}.bias", weights[f"{name}.bias"])
    return w.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)
