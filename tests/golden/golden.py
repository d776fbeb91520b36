"""What the served model says about fifty texts, kept in a file per version.

    python -m tests.golden.golden

starts Triton with the repository's model and writes `opinion-<version>.json`, if that version has
none: answers of a version never change. The texts were written for this project.
"""

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, Final

from streams.adapters.triton import MILLION, TritonClassifier
from streams.embedded.triton import shipped_repository
from streams.ports import Prediction
from streams.settings import TritonSettings

FOLDER: Final = Path(__file__).parent
TOLERANCE: Final = 0.001
"""Largest |Δs| and |Δp|: float32 sums differ in their last digits from processor to processor."""


def texts() -> list[str]:
    """Return the fifty texts, as the model gets them."""
    found: list[str] = json.loads((FOLDER / "texts.json").read_text(encoding="utf-8"))
    return found


async def ask(url: str) -> tuple[str, list[Prediction]]:
    """Return the version that a server has, and its answers."""
    async with TritonClassifier(TritonSettings(deadline_s=60), url) as classifier:
        answers = await classifier.classify(texts())
        assert all(isinstance(answer, Prediction) for answer in answers), answers
        return classifier.model.rpartition("/")[2], [
            answer for answer in answers if isinstance(answer, Prediction)
        ]


def path(version: str) -> Path:
    """Return the file of a version."""
    return FOLDER / f"opinion-{version}.json"


def as_json(answers: list[Prediction]) -> list[dict[str, Any]]:
    """Return probabilities to four digits; topics that are rare are left out."""
    return [
        {
            "sentiment": [round(p / MILLION, 4) for p in answer.sentiment],
            "topic": {
                str(index): round(p / MILLION, 4)
                for index, p in enumerate(answer.topic)
                if p >= MILLION // 100
            },
        }
        for answer in answers
    ]


def main() -> None:
    """Write the file of the version that is served."""
    from tests.support.triton import ModelServer

    argparse.ArgumentParser(description=__doc__).parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelServer(Path(folder), shipped_repository()) as server,
    ):
        version, answers = asyncio.run(ask(server.url))
    if path(version).exists():
        raise SystemExit(f"{path(version).name} is there: a version's answers never change")
    lines = ",\n ".join(json.dumps(answer) for answer in as_json(answers))
    path(version).write_text(f"[\n {lines}\n]\n", encoding="utf-8")
    print(f"{path(version).name}: {len(answers)} answers")


if __name__ == "__main__":
    main()
