"""The wheel that users install holds everything that runs, and works away from the repository."""

import email
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("streams", "models")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel, which finds its dependencies in ours."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-deps", "-q"]
    subprocess.run([*install, "--python", str(python), str(wheel)], check=True)
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    # Path files inside of a folder that a path file adds are not read: an editable install of
    # ours stays out of sight.
    ours = sysconfig.get_path("purelib")
    (Path(where.stdout.strip()) / "dependencies.pth").write_text(f"{ours}\n")
    return home


def run(home: Path, *command: str) -> str:
    """Run a program of the environment, far from the repository and from our settings."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("TICKERTONE", "PYTHON"))
    }
    done = subprocess.run(
        [str(home / "bin" / command[0]), *command[1:]],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_top_level_holds_our_two_packages_only(names: set[str], wheel: Path) -> None:
    version = wheel.name.split("-")[1]
    tops = {name.partition("/")[0] for name in names}
    assert tops == {*PACKAGES, f"tickertone-{version}.dist-info"}


@pytest.mark.parametrize(
    "name",
    [
        "streams/triton_repo/opinion/config.pbtxt",
        "streams/triton_repo/opinion/1/model.py",
        "streams/triton_repo/opinion/1/model.onnx",
        "streams/triton_repo/opinion/1/tokenizer.json",
        "streams/triton_repo/opinion/1/labels.json",
        "streams/core/rules.yaml",
        "streams/core/data/companies.csv",
        "streams/samples/trading_day.jsonl.gz",
        "streams/samples/companies.csv",
        "streams/gateway/static/index.html",
        "streams/gateway/static/app.js",
        "streams/gateway/static/style.css",
        "streams/py.typed",
        "models/py.typed",
    ],
)
def test_what_runs_is_inside(name: str, names: set[str]) -> None:
    assert name in names


def test_no_file_of_the_packages_is_left_out(names: set[str]) -> None:
    there = {
        prefix + path.relative_to(ROOT).as_posix()
        for prefix, folder in (("", "streams"), ("", "models"), ("streams/", "triton_repo"))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert there - names == set()


def test_nothing_compiled_is_inside(names: set[str]) -> None:
    assert [n for n in names if "__pycache__" in n or n.endswith((".pyc", ".pyo"))] == []


def test_the_metadata_say_what_pyproject_says(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert (metadata["Name"], metadata["Version"]) == (project["name"], project["version"])
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra") or ()) == set(project["optional-dependencies"])


def test_the_installed_packages_bring_their_own_files(installed: Path) -> None:
    code = """
import models, streams
from streams.core.entities import EntityIndex
from streams.embedded.triton import shipped_repository
from streams.samples import STREAM
from streams.worker import load_rules
assert load_rules(None) and len(EntityIndex.load()) and STREAM.is_file()
assert (shipped_repository() / "opinion" / "1" / "model.onnx").is_file()
print(models.__file__, streams.__file__, shipped_repository(), STREAM, sep="\\n")
"""
    paths = run(installed, "python", "-c", code).split()
    assert len(paths) == 4
    assert all(Path(path).resolve().is_relative_to(installed.resolve()) for path in paths)


def test_the_installed_command_runs(installed: Path) -> None:
    assert "ledger" in run(installed, "tickertone", "--help")
