import gzip
import json
from pathlib import Path

import pytest

from models.data.table import (
    MANIFEST,
    TABLE,
    VERSION,
    TableRow,
    read_manifest,
    read_table,
    row_id,
    write_table,
)
from streams.core.errors import ConfigurationError
from tests.models.rows import made_row

TEXT = "Norvane – beats Vesper Air"


def row(doc: str = "1", entity: str | None = "Norvane") -> TableRow:
    return made_row(
        TEXT,
        doc=doc,
        source="made-up",
        entity=entity,
        target=((0, 7),) if entity else (),
        others=((16, 26),) if entity else (),
        label="positive",
        group="g",
    )


def folder_of(tmp_path: Path, rows: list[TableRow], version: int = VERSION) -> Path:
    manifest = {"version": version, "table_sha256": write_table(tmp_path, rows)}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    return tmp_path


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [row("1"), row("2", None)]
    assert list(read_table(folder_of(tmp_path, rows))) == rows


def test_the_model_sees_roles_only_where_there_is_a_target() -> None:
    assert row().model_text() == "[T] – beats [O]"
    assert row(entity=None).model_text() == TEXT


def test_ids_tell_source_document_and_entity_apart() -> None:
    keys = [("a", "1", "x"), ("a", "1", None), ("a", "1x", ""), ("b", "1", "x"), ("a", "2", "x")]
    assert len({row_id(*key) for key in keys}) == len(keys)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        write_table(folder, [row()])
    one, other = ((folder / TABLE).read_bytes() for folder in folders)
    assert one == other
    assert one[4:8] == bytes(4)  # no time of writing
    assert b"table" not in one  # no file name


def test_a_table_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [row()])
    with gzip.open(folder / TABLE, "at") as lines:
        lines.write(row("2").to_json() + "\n")
    with pytest.raises(ConfigurationError, match="not the table of its manifest"):
        list(read_table(folder))
    assert len(list(read_table(folder, verify=False))) == 2


def test_a_folder_without_a_table_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tickertone data prepare"):
        list(read_table(tmp_path))
    folder = folder_of(tmp_path, [row()])
    (folder / TABLE).unlink()
    with pytest.raises(ConfigurationError, match="tickertone data prepare"):
        list(read_table(folder))


def test_another_version_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [], VERSION + 1)
    with pytest.raises(ConfigurationError, match=f"version {VERSION + 1}"):
        read_manifest(folder)
