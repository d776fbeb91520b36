"""What any model must beat: the commonest class, and a linear model on words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from models.data.table import TableRow, Task
from models.evaluation.judged import CLASSES

Ints = NDArray[np.int64]

_TOKEN = r"\[[to]\]|[$@#]?\w+"  # noqa: S105 - words; role tokens, cashtags and hashtags whole


def majority(truth: Ints) -> Ints:
    """Return the commonest class of these very rows for each: the best that a constant can do."""
    empty = np.zeros((len(truth), 1))
    guess: Ints = DummyClassifier(strategy="most_frequent").fit(empty, truth).predict(empty)
    return guess


def word_model(rows: Sequence[TableRow], task: Task, seed: int) -> Pipeline:
    """Return TF-IDF of words and word pairs with a logistic regression, fitted on a task's rows.

    Args:
        rows: Training rows; those of other tasks are left out.
        task: What to predict.
        seed: Of the solver.

    Raises:
        ValueError: there is no training row of the task.
    """
    chosen = [row for row in rows if row.task == task]
    if not chosen:
        raise ValueError(f"the table has no training rows for {task}")
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=_TOKEN),
        LogisticRegression(C=10.0, max_iter=1000, random_state=seed),
    )
    names = CLASSES[task]
    labels = [names.index(row.label) for row in chosen]
    return pipeline.fit([row.model_text() for row in chosen], labels)


def word_guess(model: Pipeline, rows: Sequence[TableRow]) -> Ints:
    """Return the word model's class of each row."""
    return np.asarray(model.predict([row.model_text() for row in rows]), np.int64)
