"""The examples of docs/connectors.md are configurations that the code takes."""

import re
from pathlib import Path

import pytest

from streams.connectors.config import load_config

PAGE = Path(__file__).parents[3] / "docs" / "connectors.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_is_valid(number: int, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("t0ken")
    file = tmp_path / "connect.yaml"
    file.write_text(EXAMPLES[number].replace("/run/secrets/desk-token", str(secret)))
    assert load_config(file).connectors


def test_every_kind_has_an_example() -> None:
    assert set(re.findall(r"kind: (\w+)", "".join(EXAMPLES))) == {
        "rss",
        "http",
        "file",
        "jetstream",
    }
