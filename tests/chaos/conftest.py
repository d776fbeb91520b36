"""The stage on which faults are played: brokers, a model server, the undisturbed run, the report.

TICKERTONE_TEST_CHAOS=all runs everything (`make chaos`), otherwise a short selection;
TICKERTONE_TEST_REPEAT is how often each scenario is played, each time with other texts.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos import report
from tests.chaos.invariants import World
from tests.chaos.theatre import Theatre, played
from tests.support.triton import ModelServer

REPEAT = int(os.environ.get("TICKERTONE_TEST_REPEAT", "1"))
ALL = os.environ.get("TICKERTONE_TEST_CHAOS") == "all"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if ALL:
        return
    here = Path(__file__).parent
    long = [i for i in items if here in i.path.parents and i.get_closest_marker("chaos_long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "repetition" in metafunc.fixturenames:
        metafunc.parametrize("repetition", range(1, REPEAT + 1))


def pytest_terminal_summary() -> None:
    if played:
        Console(width=200).print(report.table(played))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A real Triton whose model's answers are fixed and which fails on demand."""
    server = ModelServer(tmp_path_factory.mktemp("model"))
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def calm_worlds() -> dict[tuple[str, int], World]:
    """Undisturbed runs: (broker, seed) → what they left behind."""
    return {}


@pytest.fixture
def theatre(
    model: ModelServer,
    calm_worlds: dict[tuple[str, int], World],
    tmp_path: Path,
    repetition: int,
) -> Iterator[Theatre]:
    """A stage for one scenario, with the texts of this repetition."""
    yield Theatre(model, tmp_path, calm_worlds, repetition)
    model.fault(None)


@pytest.fixture(params=[pytest.param("tansu", marks=pytest.mark.chaos_long), "kafka"])
def broker(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Address and kind of a broker that itself does not fail."""
    return request.getfixturevalue(request.param), request.param
