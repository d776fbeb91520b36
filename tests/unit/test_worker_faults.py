"""The faults that tests order by environment happen where, when and as often as ordered."""

import asyncio
from pathlib import Path

import pytest

from streams.core.errors import ConfigurationError
from streams.worker import _hook


async def test_a_fault_happens_at_its_stage_step_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTONE_FAULT", "score:markers:2:raise")
    other, hook = _hook("aggregate"), _hook("score")
    for _ in range(3):
        await other("markers")
    await hook("markers")
    await hook("outputs")
    with pytest.raises(RuntimeError, match="on purpose"):
        await hook("markers")
    await hook("markers")


async def test_a_stalled_step_never_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTONE_FAULT", "aggregate:rows:1:stall")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await _hook("aggregate")("rows")


async def test_a_fault_that_has_its_file_is_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TICKERTONE_FAULT", "score:commit:1:raise")
    monkeypatch.setenv("TICKERTONE_FAULT_ONCE", str(tmp_path / "once"))
    with pytest.raises(RuntimeError):
        await _hook("score")("commit")
    assert (tmp_path / "once").exists()
    await _hook("score")("commit")


@pytest.mark.parametrize("fault", ["score", "score:commit:x", "score:commit:1:explode"])
def test_a_fault_that_is_mistyped_is_said(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setenv("TICKERTONE_FAULT", fault)
    with pytest.raises(ConfigurationError, match="stage:step:n"):
        _hook("score")
