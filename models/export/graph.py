"""The network as an ONNX graph, written node by node.

A tracer would need packages of its own and leaves hundreds of shape computations behind; the
architecture is fixed, so it is simpler to say it.

Tokens stand in one long row without padding wherever they do not look at each other; only
attention lays them out as [texts, width]. Nothing in the graph depends on other texts but through
the width: a text's answer is a function of the text and the width alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.export.weights import Head, Layer, Linear, Network, Norm

OPSET: Final = 20
"""The first with `Gelu`; `LayerNormalization` came in 17."""
CONTRIB: Final = "com.microsoft"
"""Operators of ONNX Runtime itself: MatMulIntegerToFloat and FusedMatMul (with a transposition)."""
_MASKED: Final = -60.0
"""Added to the scores of padding: exp() of it is exactly zero in float32."""
_CENTRE: Final = 128
_LEAST_SCALE: Final = 1e-12


@dataclass(frozen=True)
class IntegerLinear:
    """A linear layer over int8 weights and tokens rounded to uint8, each by its own largest value.

    y = scale_of_token · (q · weight · scales) + bias, with x / divisor ≈ scale_of_token · q.
    Tokens are centred: scale_of_token = max |x / divisor| / 127, and q is stored with 128 as zero.
    Where all x are above -`least` (as after GELU), the zero is placed such that -least is a whole
    number of steps below it. Then one constant, in the bias, makes up for every token's own zero.
    """

    weight: NDArray[np.int8]
    """[inputs, outputs]"""
    scales: NDArray[np.float32]
    """[outputs]"""
    bias: NDArray[np.float32]
    """[outputs]; what `least` adds is taken off already"""
    divisor: NDArray[np.float32] | None = None
    """[inputs]: evens out features of different size (Xiao et al., SmoothQuant, 2023)"""
    least: float = 0.0


@dataclass(frozen=True)
class IntegerTable:
    """Embeddings in int8, one scale a row."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


class _Writer:
    """Collects nodes and initialisers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []
        self._known: set[str] = set()

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """Append a node with one output; return the output's name."""
        name = out or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Store a value as it is, once a name."""
        if name not in self._known:
            self._known.add(name)
            self.initialisers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def integers(self, *values: int) -> str:
        """Store a list of int64."""
        return self.constant(f"int_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """Store an int64 scalar."""
        return self.constant(f"int_{value}_scalar", np.array(value, np.int64))

    def number(self, value: float) -> str:
        """Store a float32 scalar."""
        return self.constant(f"float_{value}", np.array(value, np.float32))

    def matrix(self, name: str, value: NDArray[np.float32]) -> str:
        """Store a value in half precision, restored to float32 where it is used."""
        stored = self.constant(f"{name}.half", value.astype(np.float16))
        return self.op("Cast", stored, out=name, to=TensorProto.FLOAT)


@dataclass(frozen=True)
class _Shapes:
    """Names of what is computed once and used in every layer."""

    slots: str
    """int64 [texts, width]: the token that stands there; any where there is none"""
    cells: str
    """int64 [tokens]: where a token stands in [texts · width]"""
    parts: tuple[str, str, str]
    """int64 [texts, heads, width]: rows of query, key and value in [tokens · 3 · heads, size]"""
    back: str
    """int64 [tokens, heads]: rows of attention's result in [texts · heads · width, size]"""
    bias: str
    """float32 [texts, 1, 1, width]: 0 for tokens, large and negative for padding"""
    rows: str
    """int64: (-1, size of a head)"""
    flat: str
    """int64: (-1, features)"""
    centres: str
    """uint8 [tokens]: the zero points"""


Products = Mapping[str, IntegerLinear]
"""Integer products by the name of the linear layer, `<layer>.<qkv|mixed|inner|outer>`."""


def build(
    network: Network,
    products: Products | None = None,
    table: IntegerTable | None = None,
    *,
    expose: bool = False,
) -> onnx.ModelProto:
    """Return the graph: `input_ids`, `attention_mask` int64 [texts, width] → probabilities.

    One float32 output [texts, classes] per head. Padding is on the right.

    Args:
        network: The weights. Those that `products` and `table` do not replace are stored in half
            precision and cast to float32 when a runtime loads them.
        products: Linear layers in integers.
        table: The word embeddings in integers.
        expose: Make the inputs of all linear layers outputs too, named `<name>.input`
            [tokens, features], for calibration.
    """
    w = _Writer()
    features = network.words.shape[1]
    shapes = _shapes(w, features, network.attention_heads, bool(products))
    ids = w.op("Gather", w.op("Reshape", "input_ids", w.integers(-1)), shapes.cells)
    places = w.op("Mod", shapes.cells, _dim(w, 1))
    x = w.op("Add", _words(w, ids, network, table), _row(w, "places", network.places, places))
    x = _norm(w, x, "embeddings", network.norm, network.epsilon)
    for index, layer in enumerate(network.layers):
        x = _layer(w, x, f"{index}", layer, network, products or {}, shapes, expose)
    pooled = _pool(w, x, network.pooling, shapes)
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["texts", head.output.bias.size])
        for name, head in network.heads.items()
    ]
    for name, head in network.heads.items():
        _head(w, pooled, name, head)
    if expose:
        outputs += [
            helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, ["tokens", "features"])
            for node in w.nodes
            if node.output[0].endswith(".input")
        ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "width"])
        for name in ("input_ids", "attention_mask")
    ]
    graph = helper.make_graph(w.nodes, "opinion", inputs, outputs, w.initialisers)
    model = helper.make_model(
        graph,
        producer_name="tickertone",
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
    )
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


def padded(ids: Sequence[Sequence[int]], width: int | None = None) -> dict[str, NDArray[np.int64]]:
    """Return token ids as the graph's inputs, padded to the longest or to `width`."""
    shape = (len(ids), width or max(map(len, ids)))
    inputs = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask")}
    for row, tokens in enumerate(ids):
        inputs["input_ids"][row, : len(tokens)] = tokens
        inputs["attention_mask"][row, : len(tokens)] = 1
    return inputs


def _shapes(w: _Writer, features: int, heads: int, integers: bool) -> _Shapes:
    mask = w.op("Reshape", "attention_mask", w.integers(-1))
    cells = w.op("Reshape", w.op("NonZero", mask), w.integers(-1))
    before = w.op("Sub", w.op("CumSum", mask, w.integer(0)), w.integer(1))
    slots = w.op("Max", before, w.integer(0))
    slots = w.op("Reshape", slots, w.op("Shape", "attention_mask"))
    real = w.op("Cast", "attention_mask", to=TensorProto.FLOAT, out="mask")
    bias = w.op("Mul", w.op("Sub", w.number(1.0), real), w.number(_MASKED))
    bias = w.op("Unsqueeze", bias, w.integers(1, 2))
    # Heads are moved about as rows of their own: one look-up instead of a transposition.
    row = w.op("Unsqueeze", w.op("Mul", slots, w.integer(3 * heads)), w.integers(1))
    own = [np.arange(part * heads, (part + 1) * heads)[None, :, None] for part in range(3)]
    query, key, value = (
        w.op("Add", row, w.constant(f"heads.{letter}", places))
        for letter, places in zip("qkv", own, strict=True)
    )
    width = _dim(w, 1)
    text = w.op("Mul", w.op("Div", cells, width), w.op("Mul", width, w.integer(heads)))
    start = w.op("Unsqueeze", w.op("Add", text, w.op("Mod", cells, width)), w.integers(1))
    steps = w.op("Mul", w.constant("heads.all", np.arange(heads)[None]), width)
    back = w.op("Add", start, steps)
    centres = ""
    if integers:
        centre = w.constant("centre", np.array([_CENTRE], np.uint8))
        centres = w.op("Expand", centre, w.op("Shape", cells))
    return _Shapes(
        slots,
        cells,
        (query, key, value),
        back,
        bias,
        w.integers(-1, features // heads),
        w.integers(-1, features),
        centres,
    )


def _dim(w: _Writer, axis: int) -> str:
    """Return int64 [1]: the number of texts (0) or the width (1)."""
    return w.op("Shape", "attention_mask", start=axis, end=axis + 1)


def _words(w: _Writer, ids: str, network: Network, table: IntegerTable | None) -> str:
    if table is None:
        return _row(w, "words", network.words, ids)
    rows = w.op("Gather", w.constant("words.int8", table.values), ids)
    scales = w.op("Gather", w.constant("words.scales", table.scales[:, None]), ids)
    return w.op("Mul", w.op("Cast", rows, to=TensorProto.FLOAT), scales)


def _row(w: _Writer, name: str, value: NDArray[np.float32], index: str) -> str:
    """Look rows up in half precision: casting the table would double it in memory."""
    rows = w.op("Gather", w.constant(f"{name}.half", value.astype(np.float16)), index)
    return w.op("Cast", rows, to=TensorProto.FLOAT)


def _layer(
    w: _Writer,
    x: str,
    index: str,
    layer: Layer,
    network: Network,
    products: Products,
    shapes: _Shapes,
    expose: bool,
) -> str:
    """One encoder layer; query, key and value are one product."""

    def linear(x: str, name: str, weights: Linear) -> str:
        full = f"{index}.{name}"
        if expose:
            x = w.op("Identity", x, out=f"{full}.input")
        product = products.get(full)
        if product is not None:
            return _integer(w, x, full, product, shapes)
        result = w.op("MatMul", x, w.matrix(f"{full}.weight", weights.weight))
        return w.op("Add", result, w.constant(f"{full}.bias", weights.bias))

    qkv = w.op("Reshape", linear(x, "qkv", layer.qkv), shapes.rows)
    query, key, value = (w.op("Gather", qkv, part, axis=0) for part in shapes.parts)
    size = layer.mixed.weight.shape[0] // network.attention_heads
    factor = 1.0 / math.sqrt(size)
    scores = w.op("FusedMatMul", query, key, transB=1, alpha=factor, domain=CONTRIB)
    scores = w.op("Softmax", w.op("Add", scores, shapes.bias), axis=-1)
    mixed = w.op("Reshape", w.op("MatMul", scores, value), shapes.rows)
    mixed = w.op("Reshape", w.op("Gather", mixed, shapes.back, axis=0), shapes.flat)
    mixed = linear(mixed, "mixed", layer.mixed)
    x = _norm(w, w.op("Add", mixed, x), f"{index}.mixed", layer.mixed_norm, network.epsilon)
    inner = w.op(network.activation, linear(x, "inner", layer.inner))
    outer = linear(inner, "outer", layer.outer)
    return _norm(w, w.op("Add", outer, x), f"{index}.outer", layer.outer_norm, network.epsilon)


def _integer(w: _Writer, x: str, name: str, product: IntegerLinear, shapes: _Shapes) -> str:
    """Round each token by its own scale, multiply integers, scale back."""
    if product.divisor is not None:
        x = w.op("Mul", x, w.constant(f"{name}.inverse", 1 / product.divisor))
    last, zeros, zero = w.integers(1), shapes.centres, _CENTRE
    largest = w.op("ReduceMax", x, last)
    if product.least:
        least = w.number(product.least)
        span = w.op("Add", w.op("Max", largest, w.number(0.0)), least)
        steps = w.op("Floor", w.op("Div", w.number(255 * product.least), span))
        steps = w.op("Max", steps, w.number(1.0))
        scale, zero = w.op("Div", least, steps), 0
        zeros = w.op("Reshape", w.op("Cast", steps, to=TensorProto.UINT8), w.integers(-1))
    else:
        largest = w.op("Max", largest, w.op("Neg", w.op("ReduceMin", x, last)))
        scale = w.op("Mul", largest, w.number(1 / 127))
        scale = w.op("Max", scale, w.number(_LEAST_SCALE))
    flat = w.op("Reshape", scale, w.integers(-1))
    result = w.op(
        "MatMulIntegerToFloat",
        w.op("QuantizeLinear", x, flat, zeros, axis=0),
        w.constant(f"{name}.int8", product.weight),
        w.number(1.0),
        w.constant(f"{name}.scales", product.scales),
        w.constant(f"zero_{zero}", np.array(zero, np.uint8)),
        domain=CONTRIB,
    )
    result = w.op("Mul", result, scale)
    return w.op("Add", result, w.constant(f"{name}.bias", product.bias))


def _pool(w: _Writer, x: str, pooling: str, shapes: _Shapes) -> str:
    """Return float32 [texts, features]."""
    x = w.op("Gather", x, shapes.slots)
    if pooling == "first":
        return w.op("Gather", x, w.constant("first", np.array(0, np.int64)), axis=1)
    # A product per text: a sum over one text alone would take another order than over many.
    total = w.op("MatMul", w.op("Unsqueeze", "mask", w.integers(1)), x)
    total = w.op("Squeeze", total, w.integers(1))
    count = w.op("ReduceSum", "mask", w.integers(1), keepdims=1)
    return w.op("Div", total, w.op("Max", count, w.number(1.0)))


def _head(w: _Writer, pooled: str, name: str, head: Head) -> None:
    if head.dense is not None:
        pooled = w.op(head.activation, _rowwise(w, pooled, f"{name}.dense", head.dense))
    w.op("Softmax", _rowwise(w, pooled, f"{name}.head", head.output), out=name, axis=-1)


def _rowwise(w: _Writer, x: str, name: str, linear: Linear) -> str:
    """Return x · weight + bias, each text by itself.

    A matrix product takes another kernel for one row than for many, with another order of sums.
    """
    weight = w.constant(f"{name}.weight", linear.weight.T[None])
    terms = w.op("Mul", w.op("Unsqueeze", x, w.integers(1)), weight)
    total = w.op("ReduceSum", terms, w.integers(2), keepdims=0)
    return w.op("Add", total, w.constant(f"{name}.bias", linear.bias))


def _norm(w: _Writer, x: str, name: str, norm: Norm, epsilon: float) -> str:
    scale = w.constant(f"{name}.norm.weight", norm.weight)
    shift = w.constant(f"{name}.norm.bias", norm.bias)
    return w.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)
