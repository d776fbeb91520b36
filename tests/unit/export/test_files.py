"""Tables as files: the same rows are the same bytes, and half a file never appears."""

import csv
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from streams.core.errors import ConfigurationError
from streams.export import files
from streams.export.columns import Column, Kind
from streams.export.files import all_or_nothing, check_target, write_table

COLUMNS = [
    Column("subject", Kind.TEXT, ()),
    Column("texts", Kind.INTEGER, ()),
    Column("index", Kind.NUMBER, ()),
    Column("organic", Kind.FLAG, ()),
    Column("end", Kind.TIME, ()),
]
ROWS: list[list[Any]] = [
    ['a "quoted", name\n', 1, -0.1, True, 1_792_072_860_000],
    ["b", None, None, None, None],
    ["c", 3, 1e-7, False, -1],
]


def test_csv_reads_back_with_times_in_iso(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    assert write_table(path, COLUMNS, ROWS) == 3
    with path.open(encoding="utf-8", newline="") as file:
        head, *found = csv.reader(file)
    assert head == ["subject", "texts", "index", "organic", "end"]
    assert found[0] == ['a "quoted", name\n', "1", "-0.1", "True", "2026-10-15T14:01:00.000Z"]
    assert found[1] == ["b", "", "", "", ""]
    assert found[2][4] == "1969-12-31T23:59:59.999Z"


def test_parquet_reads_back_with_types_and_nulls(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    assert write_table(path, COLUMNS, ROWS) == 3
    table = pyarrow.parquet.read_table(path)
    assert [str(field.type) for field in table.schema] == [
        "string", "int64", "double", "bool", "timestamp[ms, tz=UTC]",
    ]  # fmt: skip
    got = table.set_column(4, "end", table["end"].cast("int64")).to_pylist()
    assert [list(row.values()) for row in got] == ROWS


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_same_rows_are_the_same_bytes_over_many_groups(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ROWS_IN_GROUP", 2)
    one, other = tmp_path / f"1{suffix}", tmp_path / f"2{suffix}"
    assert write_table(one, COLUMNS, ROWS) == write_table(other, COLUMNS, iter(ROWS)) == 3
    assert one.read_bytes() == other.read_bytes()
    if suffix == ".parquet":
        assert pyarrow.parquet.ParquetFile(one).num_row_groups == 2


def test_an_error_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    old = tmp_path / "x.csv"
    old.write_text("old")

    def fail() -> None:
        with all_or_nothing(tmp_path) as hidden:
            (hidden / "x.csv").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (old.read_text(), list(tmp_path.iterdir())) == ("old", [old])
    with all_or_nothing(tmp_path) as hidden:
        (hidden / "x.csv").write_text("whole")
        (hidden / ".work").write_text("work")
        assert old.read_text() == "old"
    assert (old.read_text(), list(tmp_path.iterdir())) == ("whole", [old])


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="failed"), all_or_nothing(tmp_path / "none"):
        pass


@pytest.mark.parametrize("name", ["x", "x.txt", "x.csv.gz", "none/x.csv", "folder.csv"])
def test_a_target_that_will_not_do_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigurationError, match=name.partition("/")[0]):
        check_target(tmp_path / name)


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        assert name == "pyarrow"
        raise ImportError("No module named 'pyarrow'")

    monkeypatch.setattr(files.importlib, "import_module", missing)
    check_target(tmp_path / "x.csv")
    with pytest.raises(ConfigurationError, match=r"pip install 'tickertone\[parquet\]'"):
        check_target(tmp_path / "x.parquet")
