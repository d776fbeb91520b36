"""How fast Triton scores texts, beside what the processor could do at most.

    python -m tests.bench.model --data TABLE --version triton_repo/opinion/2 --run runs/student

Texts are validation texts of the twitter sets, in the order of their ids. Everything runs on this
machine, one after the other, so ratios count and not texts per second:

- the ceiling: the integer matrix products of these texts alone, in the packs that are served;
- the version in Triton, for each number of processes x threads and each token budget;
- the checkpoint in a transformers pipeline, text by text and in batches of 32.

Nothing here gates.
"""

import argparse
import asyncio
import importlib.util
import itertools
import os
import shutil
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

import models.export
from models.data.table import read_table
from models.export.pbtxt import Serving, render
from streams.adapters.triton import MAX_BATCH, TritonClassifier
from streams.settings import TritonSettings
from tests.support.triton import ModelServer

SETS = ("en_sentiment_twitter", "en_topic_twitter")
console = Console()


def main() -> None:
    """Read the arguments, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="prepared table")
    parser.add_argument("--version", type=Path, required=True, action="append", dest="versions")
    parser.add_argument("--run", type=Path, help="run folder, for the transformers pipeline")
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10.0, help="at most, for each pipeline")
    parser.add_argument("--budgets", default="512", help="token budgets, separated by commas")
    parser.add_argument("--shapes", default="1x2", help="processes x threads, such as 1x2,2x1")
    args = parser.parse_args()
    rows = (r for r in read_table(args.data) if r.source in SETS and r.split == "valid")
    texts = [row.model_text() for row in itertools.islice(rows, args.texts)]
    budgets = [int(budget) for budget in args.budgets.split(",")]
    shapes = [tuple(map(int, shape.split("x"))) for shape in args.shapes.split(",")]
    cores = len(os.sched_getaffinity(0))
    lengths, weights = _lengths(args.versions[0], texts), _integer_weights(args.versions)
    console.print(
        f"{len(texts)} texts, {np.mean(lengths):.1f} tokens on average, {cores} cores, load "
        f"{os.getloadavg()[0]:.1f} before"
    )
    found: list[tuple[str, float]] = []
    for budget in budgets:
        rate = ceiling(weights, lengths, budget, cores)
        found.append((f"integer products alone, packs of {budget} tokens", rate))
    best = max(rate for _, rate in found)
    for version, budget, (instances, threads) in itertools.product(args.versions, budgets, shapes):
        serving = Serving(instances=instances, threads=threads, token_budget=budget)
        name = f"{version.parent.name}/{version.name}, {instances} x {threads}, {budget} tokens"
        found.append((name, served(version, serving, texts)))
    if args.run:
        for size in (1, 32):
            rate = pipeline(args.run, texts, size, args.seconds)
            found.append((f"transformers pipeline, {size} at once", rate))
    table = Table("what", "texts/s", "of the integer ceiling")
    for name, rate in found:
        table.add_row(name, f"{rate:.0f}", f"{rate / best:.2f}")
    console.print(table)


def ceiling(weights: Sequence[np.ndarray], lengths: list[int], budget: int, cores: int) -> float:
    """Return texts per second if there were nothing to do but the products of the layers.

    Args:
        weights: int8 [inputs, outputs], one per product.
        lengths: Tokens of each text.
        budget: Most tokens of a pack.
        cores: Packs that run side by side, one thread each.
    """
    plan = backend().plan
    batches = [lengths[at : at + MAX_BATCH] for at in range(0, len(lengths), MAX_BATCH)]
    packs = [sum(batch[row] for row in group) for batch in batches for group in plan(batch, budget)]
    products = [_product(weight) for weight in weights]

    def run(tokens: int) -> None:
        for product in products:
            product(tokens)

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(run, packs[:cores]))
        started = time.perf_counter()
        list(pool.map(run, packs))
        return len(lengths) / (time.perf_counter() - started)


def _product(weight: np.ndarray) -> Callable[[int], None]:
    """Return a function that multiplies so many tokens by the weight."""
    inputs, outputs = weight.shape
    node = helper.make_node("MatMulInteger", ["x", "weight", "zero"], ["y"])
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["tokens", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["tokens", outputs])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array(128, np.uint8), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 9
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(0).integers(0, 256, (4096, inputs), np.uint8)

    def multiply(tokens: int) -> None:
        session.run(["y"], {"x": x[:tokens]})

    return multiply


def served(version: Path, serving: Serving, texts: list[str]) -> float:
    """Return texts per second through a Triton of its own, as the workers ask."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "repository" / "opinion"
        shutil.copytree(version, model / "1")
        (model / "config.pbtxt").write_text(render(serving), encoding="utf-8")

        async def ask(url: str) -> float:
            async with TritonClassifier(TritonSettings(deadline_s=60), url) as classifier:
                await classifier.classify(texts[: 2 * MAX_BATCH])
                started = time.perf_counter()
                await classifier.classify(texts)
                return len(texts) / (time.perf_counter() - started)

        with ModelServer(Path(folder) / "server", model.parent) as server:
            return asyncio.run(ask(server.url))


def pipeline(run: Path, texts: list[str], size: int, seconds: float) -> float:
    """Return texts per second of a transformers pipeline with the checkpoint, float32."""
    import torch
    from transformers import BertForSequenceClassification, TextClassificationPipeline

    from models.network import MAX_TOKENS, load_network

    network, tokenizer = load_network(run)
    network.encoder.config.num_labels = 3
    classifier = BertForSequenceClassification(network.encoder.config).eval()
    classifier.bert.load_state_dict(network.encoder.state_dict(), strict=False)
    score = TextClassificationPipeline(
        model=classifier, tokenizer=tokenizer, batch_size=size, device="cpu"
    )
    done, started = 0, time.perf_counter()
    with torch.inference_mode():
        while done < len(texts) and time.perf_counter() - started < seconds:
            part = texts[done : done + max(size, 8)]
            score(part, truncation=True, max_length=MAX_TOKENS, padding=True)
            done += len(part)
    return done / (time.perf_counter() - started)


def _lengths(version: Path, texts: list[str]) -> list[int]:
    tokenizer = Tokenizer.from_file(str(version / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(Serving().max_tokens)
    return [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts)]


def _integer_weights(versions: list[Path]) -> list[np.ndarray]:
    """Return the int8 matrices of the first version that has some."""
    for version in versions:
        graph = onnx.load(str(version / "model.onnx")).graph
        arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        products = [a for n, a in arrays.items() if n.endswith(".int8") and n != "words.int8"]
        if products:
            return products
    raise SystemExit("none of the versions is in int8: export one with --precision int8")


def backend() -> types.ModuleType:
    """Import the model.py that versions are written with; it plans the packs."""
    path = Path(models.export.__file__).parent / "model.py"
    spec = importlib.util.spec_from_file_location("served_model", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    name = "triton_python_backend_utils"
    sys.modules[name] = types.ModuleType(name)
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


if __name__ == "__main__":
    main()
