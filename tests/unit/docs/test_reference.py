from pathlib import Path

from streams.reference import render

PAGE = Path(__file__).parents[3] / "docs" / "reference.md"


def test_the_reference_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == render(), "run `make docs`"
