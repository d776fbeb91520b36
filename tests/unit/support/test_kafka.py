"""The jars of Apache Kafka are those that we listed."""

import hashlib
from pathlib import Path

import pytest

from tests.support.kafka import ChecksumMismatch, verify


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    folder = tmp_path / "jars"
    folder.mkdir()
    for name in ("a-1.jar", "b-2.jar"):
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    names = ("a-1.jar", "b-2.jar")
    lines = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in names]
    listed = tmp_path / "SHA256SUMS"
    listed.write_text("".join(lines))
    return listed


def test_the_listed_jars_pass(jars: Path, sums: Path) -> None:
    verify(jars, sums)


def test_a_changed_jar_is_named(jars: Path, sums: Path) -> None:
    (jars / "b-2.jar").write_bytes(b"something else")
    with pytest.raises(ChecksumMismatch, match=r"^b-2\.jar has another checksum"):
        verify(jars, sums)


def test_a_jar_that_nobody_listed_is_named(jars: Path, sums: Path) -> None:
    (jars / "aa.jar").touch()
    with pytest.raises(ChecksumMismatch, match=r"^aa\.jar is not listed"):
        verify(jars, sums)


def test_a_missing_jar_is_named(jars: Path, sums: Path) -> None:
    (jars / "a-1.jar").unlink()
    with pytest.raises(ChecksumMismatch, match=r"^a-1\.jar is missing"):
        verify(jars, sums)
