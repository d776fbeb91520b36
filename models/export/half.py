"""The network in half precision, for the CUDA provider of ONNX Runtime."""

from typing import Final

import onnx

from models.export.graph import build
from models.export.weights import Network

KEPT: Final = ("Softmax", "ReduceSum", "CumSum", "NonZero")
"""Operators that stay as they are: sums over many numbers, and those over indices."""


def half(network: Network) -> onnx.ModelProto:
    """Return the graph with weights and products in float16; inputs and outputs stay as they are.

    Attention is normalised in float32. A text's scores may differ between batches by what
    half precision rounds off, since a GPU chooses its kernels by shape.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = convert_float_to_float16(build(network), keep_io_types=True, op_block_list=list(KEPT))
    OnnxModel.graph_topological_sort(model.graph)  # casts were put at the end
    onnx.checker.check_model(model)
    return model
