"""What people call a subject."""

from pathlib import Path

from streams.gateway.names import SubjectNames


def test_a_reviewed_name_wins_over_a_built_one_and_a_users_over_both(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("symbol,name,aliases\nNOK,Nokia of Espoo,\n", encoding="utf-8")
    names = SubjectNames([mine])
    assert names.name("ticker:NOK") == "Nokia of Espoo"
    assert names.name("ticker:GE") == "General Electric"
    assert names.name("ticker:BALL") == "Ball Corporation"
    assert names.name("ticker:ZZZZ") == "ZZZZ"
