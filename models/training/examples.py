"""From rows of the table to batches of tensors.

What a text looks like, how much it weighs and in which order it comes depend on the configuration,
the epoch and hashes alone, so a run that is resumed sees what an undisturbed one sees.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedTokenizerFast

from models.data.reading import unit
from models.data.table import Span, Split, TableRow
from models.training.augment import augmented
from models.training.config import Augmentation, Data, RunConfig
from models.training.soft import SoftLabels
from streams.core.labels import SENTIMENTS, TOPICS

IGNORED: Final = -100
"""Class index of a head that an example says nothing about."""

POOL_BATCHES: Final = 50
"""Texts are sorted by length within so many batches: little padding, and batches still differ."""

Kind = Literal["text", "target", "topic", "unlabelled"]


@dataclass(frozen=True, slots=True)
class Example:
    """A text as the model sees it, with what is known about it."""

    id: str
    text: str
    """normalised, with role tokens where there is a target"""
    kind: Kind
    sentiment: int
    """class index, or `IGNORED`"""
    topic: int
    """class index, or `IGNORED`"""
    source: str
    names: tuple[Span, ...] = ()
    """where companies stand by name, though the table knows them: apart, in order"""


def examples(rows: Iterable[TableRow], split: Split, options: Data) -> list[Example]:
    """Return what a split's rows teach, in the order of the table.

    With `options.plain`, documents of the training split follow without their role tokens, where
    all rows of the document have one label.
    """
    chosen = [row for row in rows if row.split == split]
    result = [_example(row) for row in chosen]
    if split != "train":
        return result
    result += _plain(chosen, options.plain)
    return [one for one in result if unit(f"share/{one.id}") < options.share]


def _example(row: TableRow) -> Example:
    if row.task == "topic":
        topic = TOPICS.index(row.label)
        return Example(row.id, row.model_text(), "topic", IGNORED, topic, row.source)
    kind: Kind = "target" if row.target else "text"
    sentiment = SENTIMENTS.index(row.label)
    return Example(row.id, row.model_text(), kind, sentiment, IGNORED, row.source)


def _plain(rows: Sequence[TableRow], share: float) -> Iterator[Example]:
    documents: dict[tuple[str, str], list[TableRow]] = defaultdict(list)
    for row in rows:
        if row.task == "sentiment":
            documents[row.source, row.doc].append(row)
    for (source, doc), told in documents.items():
        marked = all(row.target for row in told)
        alike = len({row.label for row in told}) == 1
        if marked and alike and unit(f"plain/{source}/{doc}") < share:
            first = told[0]
            yield Example(
                f"{first.id}/plain",
                first.text,
                "text",
                SENTIMENTS.index(first.label),
                IGNORED,
                source,
                tuple(sorted({*first.target, *first.others})),
            )


def loss_weights(given: Sequence[Example], config: RunConfig) -> NDArray[np.float32]:
    """Return the weight of each example, float32 [examples].

    The labelled kinds share the loss as `data.mix` says, whatever their numbers; the mean weight of
    a labelled example is 1. Every example is seen once an epoch, so nothing is repeated or left out
    to reach the mix.
    """
    counts = Counter(one.kind for one in given)
    mix = config.data.mix
    wanted: dict[Kind, float] = {"text": mix.text, "target": mix.target, "topic": mix.topic}
    shares = {kind: share for kind, share in wanted.items() if counts[kind]}
    labelled = sum(counts[kind] for kind in shares)
    total = sum(shares.values()) or 1.0
    weights = {kind: share / total * labelled / counts[kind] for kind, share in shares.items()}
    weights["unlabelled"] = config.distillation.unlabelled if config.distillation else 1.0
    return np.array([weights[one.kind] for one in given], np.float32)


class Examples(Dataset[dict[str, Any]]):
    """Examples as token ids with labels, weights and soft labels; not thread-safe."""

    def __init__(
        self,
        given: Sequence[Example],
        tokenizer: PreTrainedTokenizerFast,
        config: RunConfig,
        soft: SoftLabels | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        """Tokenise the examples.

        Args:
            given: In the order of the data set.
            tokenizer: With the role tokens.
            config: Of the run.
            soft: The teacher's labels, if there are any.
            augmentation: How texts are changed; without it they are not.
        """
        self.given = given
        self._tokenizer = tokenizer
        self._config = config
        self._augmentation = augmentation if augmentation and augmentation.any() else None
        self._weights = loss_weights(given, config)
        self._tokens = self._tokenised([one.text for one in given])
        self._soft = soft.rows_of([one.id for one in given]) if soft else None
        self._labels = soft
        self._names = sorted({one.text[start:end] for one in given for start, end in one.names})
        self._epoch = 0

    def _tokenised(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self._tokenizer(
            texts, truncation=True, max_length=self._config.max_tokens
        ).input_ids
        return ids

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next items are for; augmentation differs between epochs."""
        self._epoch = epoch

    def lengths(self) -> list[int]:
        """Return the number of tokens of each example, before augmentation."""
        return [len(ids) for ids in self._tokens]

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, index: int) -> dict[str, Any]:
        one = self.given[index]
        tokens = self._tokens[index]
        if self._augmentation:
            rng = random.Random(f"{self._config.seed}/{self._epoch}/{one.id}")
            text = augmented(one.text, self._augmentation, rng, one.names, self._names)
            tokens = self._tokenised([text])[0]
        item = {
            "input_ids": tokens,
            "sentiment": one.sentiment,
            "topic": one.topic,
            "weight": float(self._weights[index]),
        }
        if self._labels is not None and self._soft is not None:
            at = self._soft[index]
            item["soft"] = at >= 0
            item["soft_sentiment"] = self._labels.sentiment[at]
            item["soft_topic"] = self._labels.topic[at]
        return item


class Collate:
    """Items of `Examples` → tensors, padded to the longest text of the batch."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return ids, mask, labels, weights and soft labels of a batch."""
        width = max(len(item["input_ids"]) for item in items)
        ids = torch.full((len(items), width), self._pad)
        mask = torch.zeros((len(items), width), dtype=torch.int64)
        for row, item in enumerate(items):
            tokens = torch.tensor(item["input_ids"])
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        batch = {"input_ids": ids, "attention_mask": mask}
        for name in ("sentiment", "topic", "weight"):
            batch[name] = torch.tensor([item[name] for item in items])
        if "soft" in items[0]:
            batch["soft"] = torch.tensor([item["soft"] for item in items])
            for name in ("soft_sentiment", "soft_topic"):
                stacked = np.stack([item[name] for item in items]).astype(np.float32)
                batch[name] = torch.from_numpy(stacked)
        return batch


class SimilarLengths(Sampler[int]):
    """Indices in an order in which every `batch` of them have similar lengths.

    The order depends on seed and epoch alone. The batch that is not full comes last.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch: int,
        seed: int,
        on_epoch: Callable[[int], None] = lambda epoch: None,
    ) -> None:
        """Order examples.

        Args:
            lengths: Of the examples.
            batch: How many consecutive indices are to be alike.
            seed: Of the orders.
            on_epoch: Told each epoch that is chosen. (The `Trainer` tells the epoch to its sampler
                always, but to the data set only where it does not resume within an epoch.)
        """
        self._lengths, self._batch, self._seed = lengths, batch, seed
        self._on_epoch = on_epoch
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; the first is 0."""
        self._epoch = epoch
        self._on_epoch(epoch)

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self._seed}/{self._epoch}")
        order = list(range(len(self._lengths)))
        rng.shuffle(order)
        full = len(order) - len(order) % self._batch
        order, rest = order[:full], order[full:]
        pool = self._batch * POOL_BATCHES
        batches: list[list[int]] = []
        for start in range(0, full, pool):
            alike = sorted(order[start : start + pool], key=lambda i: self._lengths[i])
            batches += [alike[i : i + self._batch] for i in range(0, len(alike), self._batch)]
        rng.shuffle(batches)
        for chosen in (*batches, rest):
            yield from chosen
