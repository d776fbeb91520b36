"""Reading the settings so that every mistake is reported, mistyped names included."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from streams.core.errors import ConfigurationError
from streams.settings import Settings

_PREFIX = "TICKERTONE_"
_NOT_SETTINGS = frozenset({"TICKERTONE_FAULT"})


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings.

    Raises:
        ConfigurationError: lists all problems, one a line.
    """
    known = {_variable(path) for path, _ in _leaves(Settings, ())}
    problems = [
        f"{name}: no such setting; `tickertone check-config` lists them all"
        for name in sorted(environment)
        if name.upper().startswith(_PREFIX)
        and name.upper() not in known
        and name.upper() not in _NOT_SETTINGS
        and not _is_group(name.upper())
    ]
    try:
        settings = Settings()
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            path = tuple(str(part) for part in fault["loc"])
            problems.append(f"{_variable(path)}: {fault['msg']}")
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return settings


def describe(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield (variable, value, description) of every setting; secrets are masked."""
    for path, description in _leaves(Settings, ()):
        value: Any = settings
        for part in path:
            value = getattr(value, part)
        shown = "********" if isinstance(value, SecretStr) else "" if value is None else str(value)
        yield _variable(path), shown, description


def _leaves(
    model: type[BaseModel], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _leaves(inner, (*above, name))
        else:
            yield (*above, name), field.description or ""


def _variable(path: tuple[str, ...]) -> str:
    return _PREFIX + "__".join(path).upper()


def _is_group(name: str) -> bool:
    # A whole group may be given as JSON.
    return name.removeprefix(_PREFIX).lower() in Settings.model_fields
