"""Weights and activations in eight bits, without a text's answer depending on its batch.

Weights: one scale a column, rounded so that the errors of a row make up for each other on real
inputs (Frantar et al., GPTQ, 2023). Activations: one scale a token, so that nothing outside of a
text has a part in it. Features of different size are evened out before (Xiao et al., SmoothQuant,
2023): in attention's values for nothing, elsewhere by one multiplication.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.export.graph import IntegerLinear, IntegerTable, build, padded
from models.export.weights import Floats, Linear, Network

PARTS: Final = ("qkv", "mixed", "inner", "outer")
GELU_LEAST: Final = 0.17
"""GELU is above minus this: x · Φ(x) has its minimum, -0.16997, at x = -0.7518."""
_DAMPING: Final = 0.01
_BLOCK: Final = 64
_TEXTS: Final = 16
_LEVELS: Final = 127


@dataclass(frozen=True)
class Recipe:
    """What is done so that eight bits lose little. The default serves, others compare."""

    smoothing: float | None = 0.7
    """share of a feature's size that goes into the weights (SmoothQuant's alpha); None: nothing"""
    careful: bool = True
    """round weights with an eye on their inputs (GPTQ)"""
    gelu: bool = True
    """place the zero where GELU ends"""
    float_parts: frozenset[str] = frozenset()
    """parts of each layer, or numbers of layers, that stay in float32"""


Moments = dict[str, tuple[Floats, NDArray[np.float64]]]
"""Of the inputs of each linear layer: largest |x| by feature, and Σ x · xᵀ over tokens."""


def quantise(
    network: Network,
    calibration: Sequence[Sequence[int]],
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
    recipe: Recipe = Recipe(),
) -> tuple[Network, dict[str, IntegerLinear], IntegerTable]:
    """Return the network with evened attention, its integer products and its integer embeddings.

    The network's float weights still compute what they did, apart from rounding in float32.

    Args:
        network: The weights.
        calibration: Token ids of some hundred typical texts.
        on_progress: Called with what is done, how much of it, and of how much.
        recipe: How.
    """
    moments = observe(network, calibration)
    if recipe.smoothing is not None:
        network = _even_attention(network, moments, recipe.smoothing)
    products = {}
    for index, layer in enumerate(network.layers):
        for part in PARTS:
            if {part, str(index)} & recipe.float_parts:
                continue
            name, linear = f"{index}.{part}", getattr(layer, part)
            after_gelu = part == "outer" and network.activation == "Gelu" and recipe.gelu
            products[name] = integer_linear(
                linear,
                moments[name],
                smoothing=recipe.smoothing if part in ("qkv", "inner") else None,
                least=GELU_LEAST if after_gelu else 0.0,
                careful=recipe.careful,
            )
            on_progress("products rounded", len(products), len(PARTS) * len(network.layers))
    return network, products, integer_table(network.words)


def observe(network: Network, calibration: Sequence[Sequence[int]]) -> Moments:
    """Run the float network and return what its linear layers are fed."""
    session = onnxruntime.InferenceSession(
        build(network, expose=True).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [o.name for o in session.get_outputs() if o.name.endswith(".input")]
    moments: Moments = {}
    for start in range(0, len(calibration), _TEXTS):
        fed = session.run(names, padded(calibration[start : start + _TEXTS]))
        for name, x in zip(names, fed, strict=True):
            key = name.removesuffix(".input")
            largest, squares = np.abs(x).max(axis=0), (x.T @ x).astype(np.float64)
            if key in moments:
                largest = np.maximum(largest, moments[key][0])
                squares += moments[key][1]
            moments[key] = largest, squares
    return moments


def integer_linear(
    linear: Linear,
    moments: tuple[Floats, NDArray[np.float64]],
    *,
    smoothing: float | None = None,
    least: float = 0.0,
    careful: bool = True,
) -> IntegerLinear:
    """Return one linear layer in integers.

    Args:
        linear: The layer.
        moments: Of its inputs.
        smoothing: Divide the inputs by feature and multiply the weights; None: don't.
        least: The inputs are above minus this; 0 where nothing is known.
        careful: Round the weights with an eye on the inputs.
    """
    weight, squares, divisor = linear.weight, moments[1], None
    if smoothing is not None:
        divisor = _divisor(linear, moments[0], smoothing)
        weight = weight * divisor[:, None]
        squares = squares / np.outer(divisor, divisor)
    scales = (np.maximum(np.abs(weight).max(axis=0), 1e-12) / _LEVELS).astype(np.float32)
    if careful:
        rounded = round_weights(weight, scales, squares)
    else:
        rounded = np.rint(weight / scales).astype(np.int8)
    sums = rounded.sum(axis=0, dtype=np.int64) * scales.astype(np.float64)
    bias = (linear.bias - least * sums).astype(np.float32)
    return IntegerLinear(rounded, scales, bias, divisor, least)


def round_weights(weight: Floats, scales: Floats, squares: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return int8 weights that keep x · weight where x is what `squares` was summed over.

    Rows are rounded one after the other; what a row loses, the rows after it make up for, as far
    as their inputs go together.

    Args:
        weight: [inputs, outputs].
        scales: [outputs]: the value of one step.
        squares: Σ x · xᵀ, [inputs, inputs].

    Source:
        Frantar, Ashkboos, Hoefler, Alistarh: GPTQ. ICLR 2023, algorithm 1.
    """
    inputs = weight.shape[0]
    hessian = squares + np.eye(inputs) * (_DAMPING * np.diag(squares).mean() + 1e-12)
    inverse = np.linalg.cholesky(np.linalg.inv(hessian)).T
    left = weight.astype(np.float64)
    rounded = np.zeros_like(left)
    for start in range(0, inputs, _BLOCK):
        end = min(start + _BLOCK, inputs)
        errors = np.zeros((end - start, weight.shape[1]))
        for row in range(start, end):
            rounded[row] = np.clip(np.rint(left[row] / scales), -_LEVELS, _LEVELS)
            error = (left[row] - rounded[row] * scales) / inverse[row, row]
            left[row:end] -= np.outer(inverse[row, row:end], error)
            errors[row - start] = error
        left[end:] -= inverse[start:end, end:].T @ errors
    return rounded.astype(np.int8)


def integer_table(values: Floats) -> IntegerTable:
    """Return embeddings in int8, one scale a row."""
    scales = np.maximum(np.abs(values).max(axis=1), 1e-12) / _LEVELS
    return IntegerTable(
        np.rint(values / scales[:, None]).astype(np.int8), scales.astype(np.float32)
    )


def _divisor(linear: Linear, largest: Floats, smoothing: float) -> Floats:
    """Return how much smaller each input feature shall become; 1 on average."""
    size = np.maximum(largest, 1e-5) ** smoothing
    weights = np.maximum(np.abs(linear.weight).max(axis=1), 1e-5) ** (1 - smoothing)
    divisor: Floats = size / weights
    return (divisor / divisor.mean()).astype(np.float32)


def _even_attention(network: Network, moments: Moments, smoothing: float) -> Network:
    """Divide attention's values by feature and multiply the product that reads them.

    `moments` are changed to those of the new network.
    """
    layers = []
    for index, layer in enumerate(network.layers):
        largest, squares = moments[f"{index}.mixed"]
        divisor = _divisor(layer.mixed, largest, smoothing)
        moments[f"{index}.mixed"] = largest / divisor, squares / np.outer(divisor, divisor)
        factors = np.ones(layer.qkv.bias.size, np.float32)
        factors[-divisor.size :] = 1 / divisor
        qkv = Linear(layer.qkv.weight * factors, layer.qkv.bias * factors)
        mixed = Linear(layer.mixed.weight * divisor[:, None], layer.mixed.bias)
        layers.append(replace(layer, qkv=qkv, mixed=mixed))
    return replace(network, layers=tuple(layers))
