"""Lines are read whole, whatever the file, and parsed without ever failing."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.connectors.lines import Line, LineReader, parse
from streams.core.errors import ConfigurationError

NOW = 1_790_000_000_000


async def read(path: Path) -> tuple[list[Line], LineReader]:
    reader = LineReader(str(path))
    lines: list[Line] = []
    try:
        while await reader.fill(NOW):
            lines.append(reader.lines.popleft())
    finally:
        reader.close()
    return lines, reader


def test_a_text_is_routed_by_source_and_keyed_by_its_id() -> None:
    line = parse(
        b'{"id":"n1","source":"news","text":"x","published_at":"2026-01-01T00:00:00Z"}', 3, NOW
    )
    assert (line.source, line.key, line.event_time, line.number) == (
        "news",
        b"n1",
        1_767_225_600_000,
        3,
    )


def test_the_time_of_observation_counts_before_that_of_publication() -> None:
    assert (
        parse(b'{"text":"x","published_at":1700000000000}', 1, NOW).event_time == 1_700_000_000_000
    )
    line = parse(b'{"text":"x","published_at":1700000000000,"observed_at":1700000000001}', 1, NOW)
    assert line.event_time == 1_700_000_000_001


@pytest.mark.parametrize(
    "value",
    [
        b"no json",
        b"\xff\xfe",
        b"[1]",
        b"{}",
        b'{"text":1,"published_at":1700000000000}',
        b'{"text":"x"}',
        b'{"text":"x","published_at":"yesterday"}',
        b'{"text":"x","published_at":1}',
        b'{"text":"x","published_at":99999999999999}',
        b'{"text":"x","published_at":true}',
    ],
)
def test_what_score_would_reject_has_no_event_time(value: bytes) -> None:
    line = parse(value, 1, NOW)
    assert line.event_time is None
    assert line.source == "social"
    assert line.value == value


def test_texts_without_an_id_get_keys_that_spread() -> None:
    keys = {parse(b'{"text":"%d"}' % n, 1, NOW).key for n in range(50)}
    assert len(keys) == 50


@given(st.binary() | st.text().map(str.encode) | st.from_regex(rb'\{"id":"[^"]*","text":"."\}'))
def test_any_bytes_are_parsed_and_kept(value: bytes) -> None:
    line = parse(value, 1, NOW)
    assert line.value == value
    assert line.key


@pytest.mark.parametrize("zipped", [False, True])
async def test_lines_come_whole_from_plain_and_gzipped_files(tmp_path: Path, zipped: bool) -> None:
    lines = [b'{"id":"%d","text":"%s"}' % (n, b"x" * (n % 997)) for n in range(3000)]
    content = b"\n".join([*lines[:2], b"", *lines[2:]])  # one blank line, none after the last
    path = tmp_path / "lines"
    path.write_bytes(gzip.compress(content) if zipped else content)
    found, reader = await read(path)
    assert [line.value for line in found] == lines
    assert [line.number for line in found] == [1, 2, *range(4, 3002)]
    assert (reader.blank, reader.live, reader.total_bytes) == (1, False, path.stat().st_size)


@pytest.mark.parametrize(("content", "count"), [(b"", 0), (b"\n", 0), (b"a\n", 1), (b"a\r\nb", 2)])
async def test_ends_of_files_make_no_lines(tmp_path: Path, content: bytes, count: int) -> None:
    path = tmp_path / "lines"
    path.write_bytes(content)
    found, _ = await read(path)
    assert len(found) == count


async def test_a_damaged_file_and_an_endless_line_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "damaged.gz"
    path.write_bytes(gzip.compress(b"line\n" * 1000)[:-10])
    with pytest.raises(ConfigurationError, match=r"damaged\.gz is damaged"):
        await read(path)
    monkeypatch.setattr("streams.connectors.lines.MAX_LINE_BYTES", 1000)
    path.write_bytes(b"short\n" + b"x" * 5000)
    with pytest.raises(ConfigurationError, match="line 2: longer than 1000"):
        await read(path)
    with pytest.raises(ConfigurationError, match="No such file"):
        LineReader(str(tmp_path / "nowhere"))
