from pathlib import Path

import pytest

from models.data.sets import CONTRAST, SETS, SetInfo

README = (Path(__file__).parents[3] / "models" / "README.md").read_text(encoding="utf-8")


def test_only_licences_that_allow_commercial_use_are_permissive() -> None:
    licences = {info.licence for info in [*SETS.values(), CONTRAST] if info.permissive}
    assert licences == {"MIT", "ODC-BY 1.0", "Apache-2.0"}
    assert not SETS["en_sentiment_phrasebank"].permissive
    assert not any(info.permissive for info in SETS.values() if info.licence == "none stated")


@pytest.mark.parametrize("info", SETS.values(), ids=lambda info: info.name)
def test_the_page_names_every_set_with_its_licence_and_use(info: SetInfo) -> None:
    (line,) = (line for line in README.splitlines() if line.startswith("|") and info.name in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2].startswith(info.licence)
    assert cells[3].startswith("training") == info.permissive
