import pytest

from streams.core.labels import subject_named


@pytest.mark.parametrize(
    ("typed", "subject"),
    [
        ("AAPL", "ticker:AAPL"),
        ("$aapl", "ticker:AAPL"),
        ("ticker:AAPL", "ticker:AAPL"),
        ("Ticker: brk.b ", "ticker:BRK.B"),
        ("600519.sh", "ticker:600519.SH"),
        ("topic:earnings", "topic:earnings"),
        ("Topic:Earnings", "topic:earnings"),
        ("market", "market"),
        (" Market", "market"),
        ("$MARKET", "ticker:MARKET"),
    ],
)
def test_a_subject_is_found_however_people_write_it(typed: str, subject: str) -> None:
    assert subject_named(typed) == subject
    assert subject_named(subject) == subject


@pytest.mark.parametrize("typed", ["", "  ", "$", "ticker:", "fx:EURUSD", ":AAPL"])
def test_what_names_no_subject_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="names no subject"):
        subject_named(typed)
