"""Reading the settings so that every mistake is reported, mistyped names included."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from streams.core.errors import ConfigurationError
from streams.settings import Settings

_PREFIX = "TICKERTONE_"
# Beginnings of names that tests use.
_NOT_SETTINGS = tuple(_PREFIX + name for name in ("FAULT", "TEST_", "CHROMIUM", "SCREENSHOT"))


class _Given(Settings):
    """The settings as they are handed in, without a look at the environment of the process."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: Any,
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings. An empty variable is one that is not set.

    Raises:
        ConfigurationError: lists all problems, one a line.
    """
    problems: list[str] = []
    tree: dict[str, Any] = {}
    # Sorted, so that a group's JSON comes before the variables that change single fields of it.
    for name, value in sorted(environment.items()):
        variable = name.upper()
        if value and variable.startswith(_PREFIX) and not variable.startswith(_NOT_SETTINGS):
            problem = _put(tree, variable, value)
            if problem:
                problems.append(f"{name}: {problem}")
    try:
        given = _Given(**tree)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            path = tuple(str(part) for part in fault["loc"])
            problems.append(f"{_variable(path)}: {fault['msg']}")
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Settings.model_construct(**dict(given))


def _put(tree: dict[str, Any], variable: str, value: str) -> str | None:
    """Put a variable's value at its place in the tree; return what is wrong with it."""
    name = variable.removeprefix(_PREFIX).lower()
    fields = {_variable(path): (path, field) for path, field in _leaves(Settings, ())}
    if variable in fields:
        path, field = fields[variable]
        wanted = get_origin(field.annotation)
    elif name in Settings.model_fields:
        path, wanted = (name,), dict
    else:
        return "no such setting; `tickertone check-config` lists them all"
    *above, last = path
    for part in above:
        tree = tree.setdefault(part, {})
    if wanted not in (dict, tuple):
        tree[last] = value
        return None
    # A whole group, or a list, is given as JSON.
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict if wanted is dict else list):
        return "must be a JSON object" if wanted is dict else 'must be a JSON list, such as ["a"]'
    tree[last] = parsed
    return None


def describe(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield (variable, value, description) of every setting; secrets are masked."""
    for path, field in _leaves(Settings, ()):
        value: Any = settings
        for part in path:
            value = getattr(value, part)
        yield _variable(path), _shown(value), field.description or ""


def _shown(value: Any) -> str:
    """A value as one would set it; a list is JSON."""
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, tuple):
        return json.dumps([each if isinstance(each, int) else str(each) for each in value])
    return "" if value is None else str(value)


def _leaves(
    model: type[BaseModel], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _leaves(inner, (*above, name))
        else:
            yield (*above, name), field


def _variable(path: tuple[str, ...]) -> str:
    return _PREFIX + "__".join(path).upper()
