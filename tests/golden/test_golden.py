"""The served version answers today what it answered when it was released."""

import json

import pytest

from streams.adapters.triton import MILLION
from tests.golden.golden import TOLERANCE, ask, path, texts


def test_there_are_fifty_different_texts() -> None:
    assert len(set(texts())) == 50


async def test_the_served_version_answers_as_when_it_was_released(triton_url: str) -> None:
    version, answers = await ask(triton_url)
    assert path(version).is_file(), "a new version: write its file, python -m tests.golden.golden"
    kept = json.loads(path(version).read_text(encoding="utf-8"))
    assert len(kept) == len(answers) == len(texts())
    for text, answer, golden in zip(texts(), answers, kept, strict=True):
        negative, neutral, positive = (p / MILLION for p in answer.sentiment)
        was = golden["sentiment"]
        assert positive - negative == pytest.approx(was[2] - was[0], abs=TOLERANCE), text
        assert neutral == pytest.approx(was[1], abs=TOLERANCE), text
        for index, p in golden["topic"].items():
            assert answer.topic[int(index)] / MILLION == pytest.approx(p, abs=TOLERANCE), text
