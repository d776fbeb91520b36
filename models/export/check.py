"""What a version must pass before it is written: it answers what the checkpoint answers, always.

The candidate is run by its own `model.py` and `config.pbtxt`, so packs and shapes are those of
serving; the reference is the checkpoint in float32.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from models.predict import MAX_BATCH, Predictor, Probabilities
from streams.core.labels import SENTIMENTS, TOPICS

BATCH_LIMIT: Final = 0.001
"""Largest |Δs| of a text between batches (docs: design, scoring)."""
AGREEMENT_LIMIT: Final = 0.993
"""Least share of texts whose class is the checkpoint's."""
PROBABILITY_LIMIT: Final = 0.05
"""Most that 99 % of texts may differ from the checkpoint, in the probability that differs most."""
F1_LIMIT: Final = 0.003
"""Most F1 that may be lost on the labelled texts of a task."""
BATCHES: Final = 20
_SEED: Final = 1

Progress = Callable[[str, int, int], None]
_CLASSES: Final = {"sentiment": SENTIMENTS, "topic": TOPICS}


@dataclass(frozen=True)
class Labelled:
    """A text as the model sees it, and what is right about it, if that is known."""

    text: str
    task: str = ""
    """`sentiment` or `topic`"""
    label: str = ""


@dataclass
class Report:
    """What was found. Probabilities and F1 are between 0 and 1."""

    texts: int
    batch_score: float
    """largest |Δs| of a text, alone and in random batches"""
    batch_texts: int
    batches: int
    agreement: dict[str, float] = field(default_factory=dict)
    """share of texts with the checkpoint's class, by task"""
    p99: dict[str, float] = field(default_factory=dict)
    """99 % of texts differ by at most this in any probability, by task"""
    f1: dict[str, tuple[float, float]] = field(default_factory=dict)
    """weighted F1 of checkpoint and candidate on the labelled texts, by task"""
    rows: dict[str, int] = field(default_factory=dict)
    """labelled texts, by task"""

    def failures(self) -> list[str]:
        """Return what keeps the version from being written, in words."""
        found = []
        if not self.batch_score <= BATCH_LIMIT:
            found.append(f"a text's s moves by {self.batch_score:.4f} with its batch")
        for task, share in self.agreement.items():
            if not share >= AGREEMENT_LIMIT:
                found.append(f"only {share:.2%} of the {task} classes are the checkpoint's")
        for task, distance in self.p99.items():
            if not distance <= PROBABILITY_LIMIT:
                found.append(f"1 % of the {task} probabilities move by over {distance:.3f}")
        for task, (before, after) in self.f1.items():
            if not before - after <= F1_LIMIT:
                found.append(f"{task}: F1 falls from {before:.4f} to {after:.4f}")
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the figures, rounded, with the limits beside them."""
        limits = {
            "batch_score": BATCH_LIMIT,
            "agreement": AGREEMENT_LIMIT,
            "p99": PROBABILITY_LIMIT,
            "f1": F1_LIMIT,
        }
        rounded: dict[str, Any] = _rounded(asdict(self))
        return {**rounded, "limits": limits}


def check(
    reference: Predictor,
    candidate: Predictor,
    rows: Sequence[Labelled],
    *,
    tasks: Sequence[str] = ("sentiment", "topic"),
    invariance_texts: int = 200,
    on_progress: Progress = lambda *_: None,
) -> Report:
    """Compare the candidate with the checkpoint, and with itself in other batches.

    Args:
        reference: The checkpoint in float32.
        candidate: What is to be served; a call with up to 128 texts is one batch.
        rows: Texts, with labels where they are known.
        tasks: Heads that the checkpoint has.
        invariance_texts: How many of the texts are also run alone and in random batches.
        on_progress: Called with what is done, how much of it, and of how much.
    """
    texts = [row.text for row in rows]
    apart, used = invariance(candidate, texts, invariance_texts, on_progress)
    report = Report(len(texts), apart, used, BATCHES)
    theirs = _in_parts(reference, texts, "checkpoint", on_progress)
    ours = _in_parts(candidate, texts, "candidate", on_progress)
    for index, task in enumerate(("sentiment", "topic")):
        if task not in tasks:
            continue
        a, b = theirs[index], ours[index]
        report.agreement[task] = float((a.argmax(axis=1) == b.argmax(axis=1)).mean())
        report.p99[task] = float(np.percentile(np.abs(a - b).max(axis=1), 99))
        chosen = [i for i, row in enumerate(rows) if row.task == task]
        if chosen:
            truth = [_CLASSES[task].index(rows[i].label) for i in chosen]
            report.rows[task] = len(chosen)
            report.f1[task] = _f1(truth, a[chosen]), _f1(truth, b[chosen])
    return report


def invariance(
    candidate: Predictor, texts: Sequence[str], count: int, on_progress: Progress = lambda *_: None
) -> tuple[float, int]:
    """Return the largest |Δs| of texts between runs alone and in random batches, and how many.

    Every text is in 20 batches of random size, each time with other texts.
    """
    rng = random.Random(_SEED)
    chosen = sorted(set(texts))
    chosen = rng.sample(chosen, min(count, len(chosen)))
    alone = np.concatenate([_score(candidate([text])) for text in chosen])
    apart = 0.0
    for turn in range(BATCHES):
        order = list(range(len(chosen)))
        rng.shuffle(order)
        for rows in _random_parts(order, rng):
            together = _score(candidate([chosen[row] for row in rows]))
            apart = max(apart, float(np.abs(together - alone[rows]).max()))
        on_progress("a text in other batches", turn + 1, BATCHES)
    return apart, len(chosen)


def _random_parts(order: list[int], rng: random.Random) -> Iterator[list[int]]:
    at = 0
    while at < len(order):
        size = rng.randint(1, MAX_BATCH)
        yield order[at : at + size]
        at += size


def _in_parts(
    predict: Predictor, texts: Sequence[str], what: str, on_progress: Progress
) -> Probabilities:
    """Score texts in length order, part by part, so that progress can be shown."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    sentiment = np.empty((len(texts), len(SENTIMENTS)), np.float32)
    topic = np.empty((len(texts), len(TOPICS)), np.float32)
    for at in range(0, len(order), MAX_BATCH):
        rows = order[at : at + MAX_BATCH]
        sentiment[rows], topic[rows] = predict([texts[row] for row in rows])
        on_progress(what, at + len(rows), len(order))
    return sentiment, topic


def sample_texts() -> list[str]:
    """Return 400 texts of all lengths and kinds, made up for this project, always the same."""
    names = ("$AAPL", "[T]", "Nokia", "[O]", "the Fed", "Brent crude", "Deutsche Bank", "$TSLA")
    verbs = ("beats estimates", "sinks 12%", "to acquire", "cuts its dividend", "is flat after",
             "faces a probe over", "names new CFO at", "gains as investors fear")  # fmt: skip
    tails = ("", " - Reuters", " 🚀🚀 to the moon", " @user so true!!", " in Q3, sources say",
             " (€4.2 bn)", " Gewinnwarnung für 2025", " 株価が上昇", " #stocks")  # fmt: skip
    rng = random.Random(0)

    def sentence() -> str:
        left, right = rng.choice(names), rng.choice(names)
        return f"{left} {rng.choice(verbs)} {right}{rng.choice(tails)}"

    texts = dict.fromkeys(["", " ", "a", "?" * 300, "0 " * 500, "\u0301\u200d", "[T]", "buy"])
    while len(texts) < 400:
        sentences = rng.choice((1, 1, 1, 1, 1, 1, 1, 1, 2, 6))
        texts[". ".join(sentence() for _ in range(sentences))] = None
    return list(texts)


def _score(probabilities: Probabilities) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = probabilities[0][:, 2] - probabilities[0][:, 0]
    return scores


def _f1(truth: list[int], probabilities: NDArray[np.float32]) -> float:
    return float(f1_score(truth, probabilities.argmax(axis=1), average="weighted"))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return value
