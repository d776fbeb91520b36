import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from models.cli import app
from models.data.table import read_manifest
from streams.core.errors import ConfigurationError

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_prepare_writes_the_table_and_shows_what_is_in_it(sets: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasketch", reason="needs the extra train")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["data", "prepare", "--from", str(sets), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"{read_manifest(out)['rows']} rows" in done.output
    assert "0 near-duplicates across splits" in done.output
    (bank,) = (line for line in done.output.splitlines() if "phrasebank" in line)
    assert bank.split() == ["en_sentiment_phrasebank", "CC", "BY-NC-SA", "3.0", "0", "0", "40", "0"]
    assert "must not be given away" not in done.output


def test_prepare_warns_of_what_must_not_be_given_away(sets: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasketch", reason="needs the extra train")
    options = ["--from", str(sets), "--out", str(tmp_path / "out"), "--all-licences"]
    done = CliRunner().invoke(app, ["data", "prepare", *options])
    assert done.exit_code == 0, done.output
    assert "must not be given away" in done.output


def test_without_the_extra_the_error_says_what_to_install(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name in ("models.data.prepare", "models.data.duplicates"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "datasketch", None)
    options = ["--from", str(sets), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["data", "prepare", *options])
    assert isinstance(done.exception, ConfigurationError)
    assert "pip install 'tickertone[train]'" in str(done.exception)


def test_the_service_finds_the_commands_by_their_entry_point() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"]["tickertone.commands"]["models"].partition(":")
    found = getattr(import_module(module), name)
    assert isinstance(found, typer.Typer)
    assert found is app
