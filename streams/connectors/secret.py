"""Secrets by reference: a configuration file names where they are, never what they are."""

import os
import re
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from streams.core.errors import ConfigurationError

_TELLING: Final = re.compile(
    r"auth(?!ors?(?:$|[-_.]))|token|secret|passw|cookie|credential|session|signature"
    r"|(?:^|[-_.]|api|access)key(?:$|[-_.])",
    re.IGNORECASE,
)


class SecretRef(BaseModel):
    """Where a secret is: `{env: NAME}` or `{file: PATH}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    env: str | None = None
    """environment variable that holds it"""
    file: Path | None = None
    """file that holds it; read at each use, so it may be changed without a restart"""
    prefix: str = ""
    """put before it, such as `Bearer ` with the space"""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give either env or file")
        return self

    def reveal(self) -> str:
        """Return the secret.

        Raises:
            ConfigurationError: it is not there, or empty, or has a line feed in it.
        """
        if self.file is not None:
            where = f"the file {self.file}"
            try:
                value = self.file.read_text("utf-8").strip()
            except (OSError, ValueError) as error:
                raise ConfigurationError(f"can't read {where}: {error}") from None
        else:
            where = f"the environment variable {self.env}"
            value = os.environ.get(str(self.env), "").strip()
        if not value:
            raise ConfigurationError(f"{where} is not set or empty")
        if not value.isprintable():
            raise ConfigurationError(f"{where} holds a line feed or a control character")
        return self.prefix + value


PLAIN: Final = "plain"
REFERENCE: Final = "reference"

Values = dict[
    str,
    Annotated[
        Annotated[str, Field(coerce_numbers_to_str=True), Tag(PLAIN)]
        | Annotated[SecretRef, Tag(REFERENCE)],
        Discriminator(lambda v: REFERENCE if isinstance(v, dict | SecretRef) else PLAIN),
    ],
]


def plain_secrets(values: Values) -> list[str]:
    """Return the names whose values stand in the open although their names say they are secret."""
    return [name for name, value in values.items() if isinstance(value, str) and sounds(name)]


def sounds(name: str) -> bool:
    """Return whether the name of a header or parameter sounds like a secret."""
    return _TELLING.search(name) is not None


def reveal_all(values: Values) -> dict[str, str]:
    """Return the values with their secrets filled in.

    Raises:
        ConfigurationError: a secret is not where it should be.
    """
    return {
        name: value.reveal() if isinstance(value, SecretRef) else value
        for name, value in values.items()
    }
