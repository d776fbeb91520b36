"""What an operator meets is in the documents."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from streams.adapters.readiness import REASONS
from streams.cli import app
from streams.core.errors import Reason
from streams.core.topics import SPECS
from streams.reference import render
from streams.settings import Settings
from streams.settings_check import describe

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "models/*.md", "triton_repo/**/*.md")
    for page in ROOT.glob(pattern)
)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def commands(command: Any, name: str) -> Iterator[str]:
    """A group of Typer's own copy of Click has `commands`, a command has none."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name
        return
    for word in inner:
        yield from commands(inner[word], f"{name} {word}")


def links() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
            if not re.match(r"[a-z]+:|#", target):
                yield page, target.partition("#")[0]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_dead_letter_reason_has_a_runbook_paragraph(reason: Reason) -> None:
    assert f"\n- **`{reason.value}`**: " in read("docs/operations.md")


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_not_to_be_ready_has_a_runbook_paragraph(reason: str) -> None:
    assert f"\n- **`{reason}`** (" in read("docs/operations.md")


def test_every_command_is_named() -> None:
    named = read("README.md") + read("docs/operations.md")
    every = list(commands(typer.main.get_command(app), "tickertone"))
    assert "tickertone ledger check" in every
    assert [name for name in every if not re.search(rf"\b{name}\b", named)] == []


def test_every_topic_is_described() -> None:
    page = read("docs/architecture.md")
    assert [spec.name for spec in SPECS if spec.name not in page] == []


@pytest.mark.parametrize(("page", "target"), sorted(set(links())))
def test_every_relative_link_leads_somewhere(page: str, target: str) -> None:
    assert ((ROOT / page).parent / target).exists()


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    known = {name for name, _, _ in describe(Settings.model_construct())}
    named = set(re.findall(r"TICKERTONE_[A-Z0-9_]*[A-Z0-9]", read(page)))
    assert {n for n in named if not n.startswith("TICKERTONE_TEST_")} <= known


def test_every_metric_that_operators_are_told_to_watch_exists() -> None:
    known = set(re.findall(r"tickertone_\w+", render()))
    told = set(re.findall(r"tickertone_\w+", read("docs/operations.md")))
    assert {name.removesuffix("_bucket") for name in told} <= known
