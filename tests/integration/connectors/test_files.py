"""Files that grow, rotate, shrink and vanish."""

import os
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.connectors import tail, tail_files
from streams.connectors.config import FileSpec
from streams.connectors.tail import FileConnector
from streams.connectors.tail_files import CHUNK_BYTES, MAX_LINE_BYTES
from streams.core.records import Text
from streams.testing import MemorySink
from tests.support.web import config, ids, records, running, until


def follow(path: Path, **more: Any) -> dict[str, Any]:
    short = {"every_s": 0.05, "linger_s": 0.2}
    return {"name": "desk", "kind": "file", "path": str(path), **short, **more}


def line(number: int, **more: Any) -> str:
    return (
        orjson.dumps(
            {
                "id": f"n-{number}",
                "text": f"Nordwind Air note {number}",
                "published_at": "2026-10-05T10:00:00Z",
                **more,
            }
        ).decode()
        + "\n"
    )


def write(path: Path, *numbers: int) -> None:
    with Path(path).open("a") as file:
        file.writelines(line(number) for number in numbers)


def names(*numbers: int) -> list[str]:
    return [f"n-{number}" for number in numbers]


async def test_lines_are_followed_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    write(path, 1, 2)
    sink = MemorySink()
    async with running(config(follow(path, source="news")), sink):
        await until(lambda: len(sink.texts) == 2)
        write(path, 3)
        await until(lambda: len(sink.texts) == 3)
    assert ids(sink) == names(1, 2, 3)
    old, _, new = records(sink)
    assert old == {
        "id": "n-1",
        "text": "Nordwind Air note 1",
        "published_at": "2026-10-05T10:00:00Z",
        "channel": "desk",
        "source": "news",
    }
    assert new["observed_at"] > 1_791_194_400_000
    assert {text.topic for text in sink.texts} == {"texts.news.v1"}
    for text in sink.texts:
        Text.model_validate_json(text.value or b"")


async def test_a_line_says_where_it_goes_unless_the_configuration_does(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(line(1, source="news", channel="own", lang="de") + line(2))
    sink = MemorySink()
    async with running(config(follow(path, lang="en")), sink):
        await until(lambda: len(sink.texts) == 2)
    assert [text.topic for text in sink.texts] == ["texts.news.v1", "texts.social.v1"]
    assert [(each["channel"], each["lang"]) for each in records(sink)] == [
        ("own", "de"),
        ("desk", "en"),
    ]


async def test_a_restart_begins_at_the_right_place(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    write(path, 1, 2)
    sink = MemorySink()
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == 2)
    write(path, 3)
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == 3)
        write(path, 4)
        await until(lambda: len(sink.texts) == 4)
    assert ids(sink) == names(1, 2, 3, 4)


async def test_a_partial_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    whole = line(1)
    sink = MemorySink()
    path.write_text(whole[:20])
    async with running(config(follow(path)), sink):
        await until(lambda: sink.puts)
    async with running(config(follow(path)), sink):
        with path.open("a") as file:
            file.write(whole[20:] + line(2)[:9])
        await until(lambda: sink.texts)
        with path.open("a") as file:
            file.write(line(2)[9:])
        await until(lambda: len(sink.texts) == 2)
    assert ids(sink) == names(1, 2)


async def test_a_file_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "later" / "notes.jsonl"
    sink = MemorySink()
    async with running(config(follow(path)), sink) as at_work:
        path.parent.mkdir()
        write(path, 1)
        await until(lambda: sink.texts)
        assert not at_work.failures("desk")
    assert ids(sink) == names(1)


async def test_rotation_by_rename_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    write(path, 1)
    sink = MemorySink()
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == 1)
        with path.open("a") as held:
            path.rename(tmp_path / "notes.jsonl.1")
            write(path, 3)
            held.write(line(2))  # the daemon has not heard of it yet
        await until(lambda: len(sink.texts) == 3)
        await until(lambda: len(orjson.loads(sink.at["desk"])["files"]) == 1)
        write(path, 4)
        await until(lambda: len(sink.texts) == 4)
    assert sorted(ids(sink)) == names(1, 2, 3, 4)


async def test_rotation_and_deletion_while_a_file_is_open_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    write(path, 1)
    sink = MemorySink()
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == 1)
        sink.down = True
        write(path, 2)
        with path.open("a") as held:
            path.unlink()
            held.write(line(3).rstrip("\n"))  # and its last line has no end
        write(path, 4)
        sink.down = False
        await until(lambda: len(sink.texts) == 4)
    assert sorted(ids(sink)) == names(1, 2, 3, 4)


async def test_a_file_that_was_rotated_while_nobody_watched_is_read_to_its_end(
    tmp_path: Path,
) -> None:
    path = tmp_path / "notes.jsonl"
    write(path, 1)
    sink = MemorySink()
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == 1)
    write(path, 2)
    path.rename(tmp_path / "notes.jsonl.1")
    write(path, 3)
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == 3)
        await until(lambda: len(orjson.loads(sink.at["desk"])["files"]) == 1)
    assert sorted(ids(sink)) == names(1, 2, 3)


async def test_a_file_that_vanished_while_nobody_watched_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.jsonl"
    write(path, 1)
    sink = MemorySink()
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == 1)
    path.unlink()
    async with running(config(follow(path)), sink):
        await until(lambda: sink.at["desk"] == b"{}")
        write(path, 2)
        await until(lambda: len(sink.texts) == 2)
    said = capsys.readouterr()
    assert "file_is_gone" in said.out + said.err


async def test_a_truncated_file_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    write(path, 1, 2)
    sink = MemorySink()
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == 2)
        shutil.copy(path, tmp_path / "notes.jsonl.1")
        os.truncate(path, 0)
        write(path, 3)
        await until(lambda: len(sink.texts) == 3)
    assert ids(sink) == names(1, 2, 3)


async def test_a_file_that_was_truncated_and_has_grown_beyond_is_told_by_its_beginning(
    tmp_path: Path,
) -> None:
    path = tmp_path / "notes.jsonl"
    write(path, 1, 2)
    sink = MemorySink()
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == 2)
    os.truncate(path, 0)
    write(path, 3, 4, 5, 6)
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == 6)
    assert ids(sink) == names(1, 2, 3, 4, 5, 6)


async def test_a_folder_is_followed_file_by_file(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", 1)
    write(tmp_path / "b.jsonl", 2)
    write(tmp_path / "other.txt", 9)
    write(tmp_path / ".c.jsonl", 9)
    (tmp_path / "d.jsonl.gz").write_bytes(b"\x1f\x8b")
    sink = MemorySink()
    async with running(config(follow(tmp_path, pattern="*.jsonl*")), sink):
        await until(lambda: len(sink.texts) == 2)
        write(tmp_path / "e.jsonl", 3)
        await until(lambda: len(sink.texts) == 3)
        (tmp_path / "a.jsonl").rename(tmp_path / "a.jsonl.1")
        write(tmp_path / "a.jsonl.1", 4)
        await until(lambda: len(sink.texts) == 4)
        (tmp_path / "b.jsonl").unlink()
        await until(lambda: len(orjson.loads(sink.at["desk"])["files"]) == 2)
    assert ids(sink) == names(1, 2, 3, 4)


async def test_the_end_of_a_file_can_be_where_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(line(1) + line(2)[:9])
    sink = MemorySink()
    async with running(config(follow(path, start="end")), sink):
        await until(lambda: sink.puts)
        with path.open("a") as file:
            file.write(line(2)[9:] + line(3))
        await until(lambda: sink.texts)
        write(tmp_path / "notes.jsonl", 4)
        await until(lambda: len(sink.texts) == 2)
    assert ids(sink) == names(3, 4)


async def test_what_is_no_text_record_goes_on_as_it_is(tmp_path: Path) -> None:
    """score makes a dead letter of it and says why; nothing is swallowed here."""
    wrong = [b"not json", b"[1]", b'{"text": 5}', b"\xff\xfe", b'{"text": "x"}']
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b"\n".join(wrong) + b"\n\n  \n")
    sink = MemorySink()
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == len(wrong))
    assert [text.value for text in sink.texts] == wrong


async def test_plain_lines_have_ids_that_a_restart_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes("Nordwind Air fällt\r\nNordwind Air fällt\n".encode("latin-1"))
    sink = MemorySink()
    spec = follow(path, format="lines", encoding="latin-1", lang="de")
    async with running(config(spec), sink):
        await until(lambda: len(sink.texts) == 2)
    known = dict(sink.at)
    first = ids(sink)
    assert len(set(first)) == 2  # the same words, twice, are two texts
    assert {each["text"] for each in records(sink)} == {"Nordwind Air fällt"}

    again = MemorySink()
    place = orjson.loads(known["desk"])
    for each in place["files"].values():  # as it stood before the texts did
        each.pop("offset")
        each.pop("head")
    again.at["desk"] = orjson.dumps(place)
    async with running(config(spec), again):
        await until(lambda: len(again.texts) == 2)
    assert ids(again) == first


async def test_a_new_file_stands_in_the_position_before_its_first_text(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Nordwind Air\n")
    connector = FileConnector(
        FileSpec(name="desk", kind="file", path=path, format="lines", every_s=0.05), lambda: 77
    )
    batches = connector.batches(None)
    first, second = await anext(batches), await anext(batches)
    await batches.aclose()
    assert first.texts == ()
    (place,) = orjson.loads(first.position)["files"].values()
    assert place["born"] == 77
    assert len(second.texts) == 1


async def test_a_line_that_is_too_long_is_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    huge = line(2, text="x" * (2 * MAX_LINE_BYTES))
    path.write_text(line(1) + huge + line(3))
    sink = MemorySink()
    async with running(config(follow(path)), sink) as at_work:
        await until(lambda: len(sink.texts) == 2)
        labels = {"connector": "desk"}
        name = "tickertone_connect_items_skipped_total"
        assert at_work.registry.get_sample_value(name, labels) == 1
    assert ids(sink) == names(1, 3)


async def test_lines_around_the_size_of_a_chunk_come_whole(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    sizes = [CHUNK_BYTES - 200 + step for step in range(0, 400, 37)] + [MAX_LINE_BYTES - 100]
    path.write_text("".join(line(n, text="y" * size) for n, size in enumerate(sizes)))
    sink = MemorySink()
    async with running(config(follow(path)), sink):
        await until(lambda: len(sink.texts) == len(sizes))
    assert [len(each["text"]) for each in records(sink)] == sizes


async def test_a_crash_repeats_the_last_batch_only(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    write(path, *range(5_000))
    sink = MemorySink()

    async def fail_late(name: str, texts: Any, position: bytes) -> None:
        sink.fail_before_position = sink.puts == 2
        await MemorySink.put(sink, name, texts, position)

    sink.put = fail_late  # type: ignore[method-assign]
    async with running(config(follow(path)), sink):
        await until(lambda: sink.puts == 2 and len(sink.texts) > 4_000)
        del sink.put
        await until(lambda: sink.puts >= 3)
    assert set(ids(sink)) == set(names(*range(5_000)))
    assert 0 < len(sink.texts) - 5_000 <= CHUNK_BYTES // len(line(1_000))


async def test_too_many_files_are_a_failure_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "MOST_FILES", 2)
    for number in range(3):
        write(tmp_path / f"{number}.jsonl", number)
    sink = MemorySink()
    async with running(config(follow(tmp_path)), sink) as at_work:
        await until(lambda: at_work.failures("desk"))
        (tmp_path / "0.jsonl").unlink()
        await until(lambda: len(sink.texts) == 2)


async def test_a_file_that_can_not_be_read_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.jsonl", 1)
    write(tmp_path / "b.jsonl", 2)
    opened = Path.open

    def locked(self: Path, *args: Any, **options: Any) -> Any:
        if self.name == "a.jsonl" and not (tmp_path / ".unlocked").exists():
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **options)

    monkeypatch.setattr(tail_files.Path, "open", locked)  # root may read everything
    sink = MemorySink()
    async with running(config(follow(tmp_path)), sink):
        await until(lambda: sink.texts)
        (tmp_path / ".unlocked").touch()
        await until(lambda: len(sink.texts) == 2)
    assert ids(sink) == names(2, 1)
    said = capsys.readouterr()
    assert (said.out + said.err).count("file_unreadable") == 1
