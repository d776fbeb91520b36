"""Turn trained weights into what Triton serves, and check that it computes the same.

    python -m models.export --weights run/model.safetensors --out triton_repo/opinion/1

Writes `model.onnx`, `tokenizer.json` and `labels.json`. Fails, leaving the folder as it was, if
the graph does not compute what torch computes, or if a text's scores depend on its batch.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer

from models.graph import build
from models.network import MAX_TOKENS, Opinion, load_tokenizer
from streams.core.labels import SENTIMENTS, TOPICS

GRAPH_TOLERANCE = 1e-4
"""Largest |Δp| against torch with the same rounded weights: the graph is the network."""
ROUNDING_TOLERANCE = 0.02
"""Largest |Δp| against torch with the weights as trained: what half precision costs."""
BATCH_TOLERANCE = 0.001
"""Largest |Δs| of a text between batches (docs: design, scoring)."""
_BATCHES = (2, 8, 40)

Probabilities = NDArray[np.float32]
"""[texts, 3 + topics]: sentiment and topic side by side."""


def export(weights: Path, out: Path) -> None:
    """Write the version folder and print the checks' figures.

    Raises:
        SystemExit: a check failed; nothing was written.
    """
    tokenizer = load_tokenizer()
    network = Opinion(len(tokenizer)).eval()
    network.load_state_dict(load_file(weights))
    config = network.encoder.config
    model = build(
        {name: value.float().numpy() for name, value in network.state_dict().items()},
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        epsilon=config.layer_norm_eps,
    )
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        fast = Tokenizer.from_file(f"{scratch}/tokenizer.json")
    fast.no_padding()
    fast.enable_truncation(MAX_TOKENS)

    check(model, fast, network)
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(out / "model.onnx"))
    fast.save(str(out / "tokenizer.json"))
    labels = {"sentiments": SENTIMENTS, "topics": TOPICS}
    (out / "labels.json").write_text(json.dumps(labels, indent=1) + "\n")
    print(f"{out / 'model.onnx'}: {(out / 'model.onnx').stat().st_size / 1e6:.1f} MB")


def check(model: onnx.ModelProto, tokenizer: Tokenizer, network: Opinion) -> None:
    """Compare the graph with torch and with itself in other batches.

    Raises:
        SystemExit: a difference is above its tolerance.
    """
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(sample_texts())]
    alone = np.concatenate([run(session, [tokens]) for tokens in ids])
    trained = _torch(network, ids)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1 and "position" not in name and "token_type" not in name:
                parameter.copy_(parameter.half().float())  # as models.graph stores them
    rounded = _torch(network, ids)
    started = time.monotonic()
    score = _score(alone)
    apart = 0.0
    rng = random.Random(1)
    for size in _BATCHES:
        order = list(range(len(ids)))
        rng.shuffle(order)
        for at in range(0, len(order), size):
            rows = order[at : at + size]
            together = _score(run(session, [ids[row] for row in rows]))
            apart = max(apart, float(np.abs(together - score[rows]).max()))
    pace = len(_BATCHES) * len(ids) / (time.monotonic() - started)
    graph, rounding = (float(np.abs(alone - other).max()) for other in (rounded, trained))
    print(f"graph against torch, same weights: max |Δp| {graph:.2e}")
    print(f"half-precision storage: max |Δp| {rounding:.2e}")
    print(f"a text in other batches: max |Δs| {apart:.2e} ({len(ids)} texts)")
    print(f"about {pace:.0f} texts/s in mixed lengths, padded")
    for name, value, limit in (
        ("graph", graph, GRAPH_TOLERANCE),
        ("rounding", rounding, ROUNDING_TOLERANCE),
        ("batch", apart, BATCH_TOLERANCE),
    ):
        if not value <= limit:
            raise SystemExit(f"{name}: {value:.2e} is above {limit:g}; nothing written")


def run(session: onnxruntime.InferenceSession, ids: Sequence[Sequence[int]]) -> Probabilities:
    """Return the graph's probabilities of one padded batch."""
    tokens, mask = _pad(ids)
    outputs = session.run(["sentiment", "topic"], {"input_ids": tokens, "attention_mask": mask})
    return np.concatenate(outputs, axis=1)


def sample_texts() -> list[str]:
    """Return 200 texts of all lengths and kinds, always the same."""
    names = ("$AAPL", "[T]", "Nokia", "[O]", "the Fed", "Brent crude", "Deutsche Bank", "$TSLA")
    verbs = ("beats estimates", "sinks 12%", "to acquire", "cuts its dividend", "is flat after",
             "faces a probe over", "names new CFO at", "gains as investors fear")  # fmt: skip
    tails = ("", " - Reuters", " 🚀🚀 to the moon", " @user so true!!", " in Q3, sources say",
             " (€4.2 bn)", " Gewinnwarnung für 2025", " 株価が上昇", " #stocks")  # fmt: skip
    rng = random.Random(0)

    def sentence() -> str:
        left, right = rng.choice(names), rng.choice(names)
        return f"{left} {rng.choice(verbs)} {right}{rng.choice(tails)}"

    texts = ["", " ", "a", "?" * 300, "0 " * 500, "\u0301\u200d", "[T]", "buy"]
    while len(texts) < 200:
        sentences = rng.choice((1, 1, 1, 1, 1, 1, 1, 1, 2, 6))
        texts.append(". ".join(sentence() for _ in range(sentences)))
    return texts


def _pad(ids: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    width = max(len(tokens) for tokens in ids)
    padded = np.zeros((len(ids), width), np.int64)
    mask = np.zeros((len(ids), width), np.int64)
    for row, tokens in enumerate(ids):
        padded[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return padded, mask


@torch.no_grad()
def _torch(network: Opinion, ids: Sequence[Sequence[int]]) -> Probabilities:
    """Return torch's probabilities, each text on its own, so without any padding."""
    rows = []
    for tokens in ids:
        outputs = network(torch.tensor([tokens]), torch.ones(1, len(tokens), dtype=torch.int64))
        rows.append(torch.cat([output.softmax(-1) for output in outputs], dim=1).numpy())
    return np.concatenate(rows)


def _score(probabilities: Probabilities) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = probabilities[:, 2] - probabilities[:, 0]
    return scores


def main() -> None:
    """Read the arguments and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="model.safetensors of a run")
    parser.add_argument("--out", type=Path, required=True, help="version folder in triton_repo")
    args = parser.parse_args()
    export(args.weights, args.out)


if __name__ == "__main__":
    main()
