"""What each measure against rounding errors is worth: int8 variants beside the network in float32.

    python -m tests.bench.model_parity --run runs/student --data TABLE --texts 800

Prints the table of docs/decisions/0005. Calibrated on training texts, compared on validation texts
of all sets; nothing here gates.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from models.export.graph import build, padded
from models.export.int8 import Recipe, quantise
from models.export.runs import trial_texts
from models.export.weights import opinion_network
from models.network import MAX_TOKENS, load_network

RECIPES = {
    "per token, nothing else": Recipe(smoothing=None, careful=False, gelu=False),
    "zero placed where GELU ends": Recipe(smoothing=None, careful=False),
    "also evened by 0.5": Recipe(smoothing=0.5, careful=False),
    "also evened by 0.7": Recipe(careful=False),
    "also weights rounded by their inputs (served)": Recipe(),
    "the same, evened by 0.85": Recipe(smoothing=0.85),
    "served, but the last product of each layer in float32": Recipe(
        float_parts=frozenset({"outer"})
    ),
    "served, but the first layer in float32": Recipe(float_parts=frozenset({"0"})),
}


def main() -> None:
    """Read the arguments, compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=800)
    args = parser.parse_args()
    module, slow = load_network(args.run)
    state = {name: part.float().numpy() for name, part in module.state_dict().items()}
    network = opinion_network(state, module.encoder.config)
    tokenizer = Tokenizer.from_str(slow.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    rows, calibration = trial_texts(args.data)
    ids = tokens(tokenizer, [row.text for row in rows[: args.texts]])
    typical = tokens(tokenizer, calibration)
    exact = _answers(build(network).SerializeToString(), ids)
    table = Table("variant", "same class, sentiment / topic", "p99 |Δp|, sentiment / topic")
    for name, recipe in RECIPES.items():
        graph = build(*quantise(network, typical, recipe=recipe))
        found = _answers(graph.SerializeToString(), ids)
        pairs = list(zip(exact, found, strict=True))
        same = [(a.argmax(axis=1) == b.argmax(axis=1)).mean() for a, b in pairs]
        apart = [np.percentile(np.abs(a - b).max(axis=1), 99) for a, b in pairs]
        table.add_row(name, f"{same[0]:.4f} / {same[1]:.4f}", f"{apart[0]:.4f} / {apart[1]:.4f}")
    Console().print(f"{len(ids)} texts", table)


def tokens(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Return token ids, shortest first, so that batches need little padding."""
    return sorted((encoding.ids for encoding in tokenizer.encode_batch_fast(texts)), key=len)


def _answers(graph: bytes, ids: list[list[int]]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    parts = [
        session.run(["sentiment", "topic"], padded(ids[at : at + 16]))
        for at in range(0, len(ids), 16)
    ]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


if __name__ == "__main__":
    main()
