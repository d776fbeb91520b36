"""Laws of finding grave events, for any text."""

from hypothesis import given
from hypothesis import strategies as st

from streams.core.grave import PhraseBook

BOOK = PhraseBook.load(trial=True)
SLUGS = tuple(BOOK.file.classes)
PIECES = st.sampled_from(
    [
        "Contoso",
        "SEC",
        "probes",
        "fraud",
        "charges",
        "recalls",
        "40,000",
        "cars",
        "files for",
        "bankruptcy",
        "denies",
        "could",
        "data",
        "breach",
        "after",
        "U.S.",
        "?",
        ". ",
        ", ",
        "’s",
    ],
)
TEXTS = (
    st.lists(PIECES | st.text(max_size=4), max_size=40).map(" ".join)
    | st.text()
    | st.text(st.characters())
)


@given(TEXTS)
def test_any_text_gets_each_class_at_most_once_in_order_inside_the_text(text: str) -> None:
    found = BOOK.find(text)
    assert [report.start for report in found] == sorted(report.start for report in found)
    assert len({report.slug for report in found}) == len(found)
    for report in found:
        assert 0 <= report.start < report.end <= len(text)
        assert report.slug in SLUGS
        assert report.phrase.startswith(f"{report.slug}/")


@given(st.lists(TEXTS, max_size=4))
def test_what_a_text_reports_does_not_depend_on_other_texts(texts: list[str]) -> None:
    alone = {text: PhraseBook(BOOK.file, trial=True).find(text) for text in texts[:1]}
    together = {text: BOOK.find(text) for text in texts}
    assert all(together[text] == found for text, found in alone.items())


@given(TEXTS)
def test_a_report_needs_a_stem(text: str) -> None:
    stemmed = {SLUGS[number] for number in BOOK.stemmed(text)}
    assert {report.slug for report in BOOK.find(text)} <= stemmed


@given(TEXTS)
def test_a_text_turned_into_a_question_reports_nothing_more(text: str) -> None:
    asked = {report.slug for report in BOOK.find(f"{text}?")}
    assert asked <= {report.slug for report in BOOK.find(text)}


@given(TEXTS)
def test_a_report_stays_behind_another_sentence(text: str) -> None:
    lead = "Nothing else today; "
    moved = [(r.slug, r.start - len(lead), r.end - len(lead)) for r in BOOK.find(lead + text)]
    assert moved == [(r.slug, r.start, r.end) for r in BOOK.find(text)]
