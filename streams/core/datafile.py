"""Reading the TOML files of rules that ship with Tickertone or replace those that do."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streams.core.errors import ConfigurationError


@contextmanager
def data_file(path: Path, what: str) -> Iterator[dict[str, Any]]:
    """Give the file's fields to a block that validates and uses them.

    Args:
        path: Of the file.
        what: It is, in the message where it can't be read.

    Raises:
        ConfigurationError: names the file and the entry that is wrong, wherever it is found.
    """
    try:
        yield tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"no {what}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}, {where}: {first['msg']}") from error
    except ValueError as error:  # no UTF-8, no TOML, or no regular expression
        raise ConfigurationError(f"{path}: {error}") from error
