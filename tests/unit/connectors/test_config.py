"""A configuration file is right, or every fault in it is named."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.connectors.build import fields, summary
from streams.connectors.config import ConnectConfig, load_config
from streams.core.errors import ConfigurationError

RSS = {"name": "wire", "kind": "rss", "url": "https://news.example/feed"}
HTTP = {
    "name": "desk",
    "kind": "http",
    "url": "https://desk.example/v1/news",
    "items": "data",
    "fields": {"id": "id", "text": "text"},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "connect.yaml"


def loaded(file: Path, *connectors: Any, **more: Any) -> ConnectConfig:
    file.write_text(yaml.safe_dump({"connectors": list(connectors), **more}))
    return load_config(file)


def faults(file: Path, *connectors: Any, **more: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(file, *connectors, **more)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}") for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


def test_four_kinds_can_stand_in_one_file(file: Path) -> None:
    config = loaded(
        file,
        RSS,
        HTTP,
        {"name": "notes", "kind": "file", "path": "/var/log/notes.jsonl"},
        {"name": "bluesky", "kind": "jetstream", "langs": ["en"]},
    )
    assert [summary(spec) for spec in config.connectors] == [
        ("wire", "rss", "news.example", "news, channel wire"),
        ("desk", "http", "desk.example", "news, channel desk"),
        ("notes", "file", "/var/log/notes.jsonl", "as each line says, channel notes"),
        ("bluesky", "jetstream", "jetstream2.us-east.bsky.network", "social, channel bluesky"),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "news.example/feed"}, "field url: must be a URL of http or https"),
        ({"url": "file:///etc/passwd"}, "field url: must be a URL"),
        ({"url": "https://me:pw@news.example/"}, "names and passwords don't belong in it"),
        ({"url": "https://news.example/?token=abc"}, "token sounds like a secret"),
        ({"every_s": 0}, "field every_s: Input should be greater than or equal to 0.1"),
        ({"every_seconds": 5}, "field every_seconds: Extra inputs are not permitted"),
        ({"source": "blog"}, "field source: "),
        ({"channel": "two words"}, "field channel: "),
        ({"headers": {"X-Api-Key": "abc"}}, "headers.X-Api-Key sounds like a secret"),
        ({"params": {"access_token": "abc"}}, "params.access_token sounds like a secret"),
        (
            {"headers": {"A": {"env": "A", "file": "b"}}},
            "field headers.A: give either env or file",
        ),
        ({"kind": "ftp"}, "connector wire: Input tag 'ftp'"),
    ],
)
def test_a_fault_names_connector_and_field(file: Path, change: dict[str, Any], said: str) -> None:
    told = faults(file, RSS | change)
    assert all(line.startswith("connector wire") for line in told)
    assert any(said in line for line in told), told


def test_secrets_in_the_open_are_refused_without_being_told(file: Path) -> None:
    told = faults(file, RSS | {"headers": {"Authorization": "Bearer s3cret"}})
    assert "s3cret" not in "".join(told)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"items": "data["}, "field items: is no JMESPath expression"),
        ({"fields": {"id": "id"}}, "field fields.text: Field required"),
        ({"fields": {"id": "id", "text": "a..b"}}, "field fields.text: "),
        ({"cursor": {"param": "p"}}, "field cursor: give either next or newest"),
        ({"times": "unix"}, "field times: "),
    ],
)
def test_a_mapping_is_checked_before_anything_is_asked(
    file: Path, change: dict[str, Any], said: str
) -> None:
    (told,) = faults(file, HTTP | change)
    assert told.startswith("connector desk, ")
    assert said in told


def test_every_fault_of_every_connector_is_told_at_once(file: Path) -> None:
    told = faults(file, RSS | {"every_s": -1, "lang": 5}, HTTP | {"robots": "perhaps"}, "words")
    assert [line.partition(":")[0] for line in told] == [
        "connector wire, field lang",
        "connector wire, field every_s",
        "connector desk, field robots",
        "connector number 3",
    ]


def test_names_must_differ(file: Path) -> None:
    assert "two connectors have the name wire" in faults(file, RSS, RSS)[0]


def test_the_rest_of_the_file_is_checked_too(file: Path) -> None:
    told = faults(file, RSS, retry={"first_s": 9, "longest_s": 1}, politeness={"agent": "x"})
    assert told == [
        "field politeness.agent: Extra inputs are not permitted",
        "field retry: first_s must not be above longest_s",
    ]


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "connectors: 5", "connectors: []", "\x00"])
def test_what_is_no_configuration_is_said(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=str(file)):
        load_config(file)


def test_a_file_that_is_missing_or_huge_is_said(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_config(file)
    file.write_text("#" * (1 << 21))
    with pytest.raises(ConfigurationError, match="larger than"):
        load_config(file)


def test_secrets_must_be_where_the_file_says(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY_KEY", "")
    (tmp_path / "two-lines").write_text("a\nb")
    wanted = {
        "A": {"env": "NO_SUCH_KEY"},
        "B": {"env": "EMPTY_KEY"},
        "C": {"file": str(tmp_path / "none")},
        "D": {"file": str(tmp_path / "two-lines")},
    }
    told = faults(file, HTTP | {"headers": wanted})
    assert [line.partition(":")[0] for line in told] == [
        f"connector desk, field headers.{name}" for name in "ABCD"
    ]
    assert "environment variable NO_SUCH_KEY is not set" in told[0]
    assert "line feed" in told[3]


@pytest.mark.parametrize("encoding", ["utf-16", "no-such", "hex"])
def test_encodings_whose_lines_end_otherwise_are_refused(file: Path, encoding: str) -> None:
    spec = {"name": "notes", "kind": "file", "path": "a", "format": "lines", "encoding": encoding}
    (told,) = faults(file, spec)
    assert encoding in told


def test_every_field_has_a_meaning() -> None:
    silent = {(place, name) for place, name, _, meaning in fields() if not meaning}
    assert silent == {("http, `fields`", f"`{n}`") for n in ("title", "url", "author", "lang")}
