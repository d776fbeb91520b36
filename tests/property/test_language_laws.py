"""Detection is a total function."""

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.language import language


@settings(deadline=None)  # the first text that needs the detector loads it
@given(st.text(), st.none() | st.text(max_size=12))
def test_any_text_gets_an_answer_and_only_named_languages_are_filtered(
    text: str, hint: str | None
) -> None:
    found = language(text, hint)
    assert found == language(text, hint)
    assert found.scorable or found.code is not None
