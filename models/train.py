"""Fine-tune the opinion model.

    python -m models.train --data FOLDER --out FOLDER [--epochs 4]

Writes `model.safetensors` (the moving average of the weights, best epoch by validation) and
`metrics.json` into the folder, anew after every epoch that is better.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.data import IGNORED, Row, load
from models.evaluate import evaluate
from models.network import MAX_TOKENS, Opinion, load_tokenizer

BATCH = 32
LEARNING_RATE = 1.2e-4
HEAD_LEARNING_RATE = 1e-3
LAYER_DECAY = 0.9
LABEL_SMOOTHING = 0.05
EMA_DECAY = 0.998

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def batches(rows: list[Row], tokens: list[list[int]], rng: random.Random) -> list[list[int]]:
    """Return shuffled batches of row numbers whose texts are of similar length."""
    order = list(range(len(rows)))
    rng.shuffle(order)
    pools = [order[i : i + BATCH * 50] for i in range(0, len(order), BATCH * 50)]
    result: list[list[int]] = []
    for pool in pools:
        pool.sort(key=lambda i: len(tokens[i]))
        result += [pool[i : i + BATCH] for i in range(0, len(pool), BATCH)]
    rng.shuffle(result)
    return result


def collate(rows: list[Row], tokens: list[list[int]], chosen: list[int], pad: int) -> Batch:
    """Return ids, mask, sentiment and topic of the chosen rows, padded to the longest."""
    width = max(len(tokens[i]) for i in chosen)
    ids = torch.tensor([tokens[i] + [pad] * (width - len(tokens[i])) for i in chosen])
    mask = torch.tensor([[1] * len(tokens[i]) + [0] * (width - len(tokens[i])) for i in chosen])
    sentiment = torch.tensor([rows[i].sentiment for i in chosen])
    topic = torch.tensor([rows[i].topic for i in chosen])
    return ids, mask, sentiment, topic


def optimizer_for(model: Opinion) -> torch.optim.AdamW:
    """Return AdamW with a learning rate that decays from the heads down to the embeddings."""
    layers = len(model.encoder.encoder.layer)
    groups = []
    for name, parameter in model.named_parameters():
        if not name.startswith("encoder."):
            rate = HEAD_LEARNING_RATE
        elif ".layer." in name:
            depth = int(name.split(".layer.")[1].split(".")[0])
            rate = LEARNING_RATE * LAYER_DECAY ** (layers - 1 - depth)
        else:
            rate = LEARNING_RATE * LAYER_DECAY**layers
        decay = 0.01 if parameter.ndim > 1 else 0.0
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups)


def train(data: Path, out: Path, epochs: int, seed: int) -> None:
    """Fine-tune and write the best epoch's averaged weights and its metrics."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer()
    rows = load(data)
    fit = [r for r in rows if r.split == "train"]
    held_out = [r for r in rows if r.split == "valid"]
    tokens = tokenizer([r.text for r in fit], truncation=True, max_length=MAX_TOKENS).input_ids
    model = Opinion(len(tokenizer))
    average = Opinion(len(tokenizer)).eval()
    average.load_state_dict(model.state_dict())
    optimizer = optimizer_for(model)
    steps = epochs * math.ceil(len(fit) / BATCH)
    warm_up = steps // 10

    def factor(step: int) -> float:
        return min((step + 1) / warm_up, (steps - step) / (steps - warm_up))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    best, step, started = -1.0, 0, time.monotonic()
    for epoch in range(epochs):
        model.train()
        for chosen in batches(fit, tokens, rng):
            ids, mask, sentiment, topic = collate(fit, tokens, chosen, tokenizer.pad_token_id)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                guesses = model(ids, mask)
            loss = torch.zeros(())
            for guess, label in zip(guesses, (sentiment, topic), strict=True):
                if (label != IGNORED).any():
                    share = (label != IGNORED).float().mean()
                    loss = loss + share * cross_entropy(
                        guess.float(), label, ignore_index=IGNORED, label_smoothing=LABEL_SMOOTHING
                    )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            _blend(average, model, min(EMA_DECAY, (1 + step) / (10 + step)))
            if step % 50 == 0:
                pace = (time.monotonic() - started) / step
                print(
                    f"epoch {epoch + 1} step {step}/{steps} loss {loss.item():.3f} "
                    f"{pace:.2f} s/step, {pace * (steps - step) / 60:.0f} min left",
                    flush=True,
                )
        metrics = evaluate(average, tokenizer, held_out)
        print(json.dumps({"epoch": epoch + 1, **metrics}), flush=True)
        score = sum(part["macro_f1"] for part in metrics.values())
        if score > best:
            best = score
            save_file(average.state_dict(), out / "model.safetensors")
            report = {"epoch": epoch + 1, "epochs": epochs, "seed": seed, "valid": metrics}
            (out / "metrics.json").write_text(json.dumps(report, indent=1) + "\n")


@torch.no_grad()
def _blend(average: nn.Module, model: nn.Module, decay: float) -> None:
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the result")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    train(args.data, args.out, args.epochs, args.seed)


if __name__ == "__main__":
    main()
