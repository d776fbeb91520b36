"""Accuracy and F1 per set, on texts the model has not seen."""

from collections import defaultdict

import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import nn
from transformers import PreTrainedTokenizerFast

from models.data import IGNORED, Row
from models.network import MAX_TOKENS


@torch.no_grad()
def evaluate(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, rows: list[Row]
) -> dict[str, dict[str, float]]:
    """Return `{set: {rows, accuracy, macro_f1, weighted_f1}}` of the model on the rows."""
    model.eval()
    truth: dict[str, list[int]] = defaultdict(list)
    guess: dict[str, list[int]] = defaultdict(list)
    ordered = sorted(rows, key=lambda r: len(r.text))
    for start in range(0, len(ordered), 64):
        part = ordered[start : start + 64]
        inputs = tokenizer(
            [r.text for r in part],
            truncation=True,
            max_length=MAX_TOKENS,
            padding=True,
            return_tensors="pt",
        )
        sentiments, topics = model(inputs.input_ids, inputs.attention_mask)
        for row, sentiment, topic in zip(part, sentiments, topics, strict=True):
            about_topic = row.topic != IGNORED
            truth[row.source].append(row.topic if about_topic else row.sentiment)
            guess[row.source].append(int((topic if about_topic else sentiment).argmax()))
    return {
        name: {
            "rows": len(truth[name]),
            "accuracy": round(float(accuracy_score(truth[name], guess[name])), 4),
            "macro_f1": round(float(f1_score(truth[name], guess[name], average="macro")), 4),
            "weighted_f1": round(float(f1_score(truth[name], guess[name], average="weighted")), 4),
        }
        for name in sorted(truth)
    }
