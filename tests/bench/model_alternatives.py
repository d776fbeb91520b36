"""Other ways to run the same checkpoint, beside the one that is served: speed and exactness.

    python -m tests.bench.model_alternatives --run runs/student --data TABLE

Every way runs the same packs, one thread a pack and as many side by side as there are cores, in
this process. `moved` is the largest |Δs| of a text between random batches, `flips` how many of the
texts changed their class with it. What Tickertone does not need is measured where it is installed:
`pip install openvino onnx-ir`. Nothing here gates.
"""

import argparse
import functools
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from models.export.graph import build, padded
from models.export.int8 import quantise
from models.export.runs import trial_texts
from models.export.weights import opinion_network
from models.network import MAX_TOKENS, Opinion, load_network
from tests.bench.model import backend
from tests.bench.model_parity import tokens

Answer = Callable[[dict[str, np.ndarray]], list[np.ndarray]]
"""Padded ids and mask → probabilities of both heads."""

BUDGET = 512
SHUFFLES = 5
console = Console()


def main() -> None:
    """Read the arguments, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=2000)
    args = parser.parse_args()
    module, slow = load_network(args.run)
    tokenizer = Tokenizer.from_str(slow.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    rows, calibration = trial_texts(args.data)
    ids = tokens(tokenizer, [row.text for row in rows[: args.texts]])
    table = Table("way", "texts/s", "× float32", "moved", "flips", "same class", "p99 |Δp|")
    exact: list[np.ndarray] = []
    first = 0.0
    with TemporaryDirectory() as folder:
        ways = _ways(module, tokens(tokenizer, calibration), Path(folder))
        for name, answer in ways:
            started = time.perf_counter()
            found = _in_packs(answer, ids)
            rate = len(ids) / (time.perf_counter() - started)
            exact, first = exact or found, first or rate
            moved, flips = _moved(answer, ids, found)
            same = [(a.argmax(1) == b.argmax(1)).mean() for a, b in zip(exact, found, strict=True)]
            apart = [
                np.percentile(np.abs(a - b).max(1), 99) for a, b in zip(exact, found, strict=True)
            ]
            table.add_row(
                name,
                f"{rate:.0f}",
                f"{rate / first:.2f}",
                f"{moved:.4f}",
                str(flips),
                f"{same[0]:.4f} / {same[1]:.4f}",
                f"{apart[0]:.3f} / {apart[1]:.3f}",
            )
    console.print(f"{len(ids)} texts, load {os.getloadavg()[0]:.1f}", table)


def _ways(module: Opinion, typical: list[list[int]], folder: Path) -> Iterator[tuple[str, Answer]]:
    """Yield what is compared; the first is the reference."""
    state = {name: part.float().numpy() for name, part in module.state_dict().items()}
    network = opinion_network(state, module.encoder.config)
    plain = build(network)
    yield "float32", _onnx(plain)
    yield "int8 per token (served)", _onnx(build(*quantise(network, typical)))
    dynamic = folder / "dynamic.onnx"
    # Products of weights that are cast from half precision are not found: folded first.
    whole = folder / "plain.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(whole)
    onnxruntime.InferenceSession(
        plain.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    quantize_dynamic(
        whole,
        dynamic,
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    yield "int8 dynamic, scale per batch", _onnx(onnx.load(dynamic))
    yield from _blocks(whole)
    yield from _openvino(module)


def _blocks(whole: Path) -> Iterator[tuple[str, Answer]]:
    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    except ImportError as error:
        console.print(f"MatMulNBits left out: {error}")
        return
    for level in (4, 0):
        blocks = MatMulNBitsQuantizer(
            onnx.load(whole), bits=8, block_size=32, is_symmetric=True, accuracy_level=level
        )
        blocks.process()
        yield f"MatMulNBits, 8 bits, accuracy level {level}", _onnx(blocks.model.model)


def _onnx(model: onnx.ModelProto) -> Answer:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return functools.partial(session.run, ["sentiment", "topic"])


def _openvino(module: Opinion) -> Iterator[tuple[str, Answer]]:
    try:
        import openvino
    except ImportError as error:
        console.print(f"OpenVINO left out: {error}")
        return

    class Probabilities(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module.eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return tuple(part.softmax(-1) for part in self.inner(input_ids, attention_mask))

    example = {k: torch.from_numpy(v) for k, v in padded([[101, 7592, 102]] * 2).items()}
    model = openvino.convert_model(Probabilities(), example_input=example)
    cores = len(os.sched_getaffinity(0))
    for name, settings in {
        "OpenVINO float32": {"INFERENCE_PRECISION_HINT": "f32"},
        "OpenVINO bfloat16": {"INFERENCE_PRECISION_HINT": "bf16"},
    }.items():
        fixed = {"INFERENCE_NUM_THREADS": cores, "NUM_STREAMS": cores}
        compiled = openvino.Core().compile_model(model, "CPU", {**settings, **fixed})

        def answer(inputs: dict[str, np.ndarray], compiled: Any = compiled) -> list[np.ndarray]:
            found = compiled.create_infer_request().infer(inputs)
            return [np.array(found[at]) for at in range(2)]

        yield name, answer


def _in_packs(answer: Answer, ids: list[list[int]]) -> list[np.ndarray]:
    """Return both heads' probabilities in the order of the texts, run as they are served."""
    served = backend()
    groups = served.plan([len(tokens) for tokens in ids], BUDGET)

    def run(rows: list[int]) -> list[np.ndarray]:
        chosen = [ids[row] for row in rows]
        return answer(padded(chosen, served.width(len(chosen[0]))))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        parts = list(pool.map(run, groups))
    result = [np.empty((len(ids), part.shape[1]), np.float32) for part in parts[0]]
    for rows, found in zip(groups, parts, strict=True):
        for whole, part in zip(result, found, strict=True):
            whole[rows] = part
    return result


def _moved(answer: Answer, ids: list[list[int]], before: list[np.ndarray]) -> tuple[float, int]:
    """Return the largest |Δs| of a text in random batches of up to 128, and how many flipped."""
    rng = random.Random(1)
    chosen = rng.sample(range(len(ids)), min(256, len(ids)))
    was = before[0][chosen]
    apart, flipped = 0.0, np.zeros(len(chosen), bool)
    for _ in range(SHUFFLES):
        order = list(range(len(chosen)))
        rng.shuffle(order)
        while order:
            rows = [order.pop() for _ in range(min(rng.randint(1, 128), len(order)))]
            now, _ = _in_packs(answer, [ids[chosen[row]] for row in rows])
            change = (now[:, 2] - now[:, 0]) - (was[rows, 2] - was[rows, 0])
            apart = max(apart, float(np.abs(change).max()))
            flipped[rows] |= now.argmax(1) != was[rows].argmax(1)
    return apart, int(flipped.sum())


if __name__ == "__main__":
    main()
