"""Alert rules, read from YAML."""

import fnmatch
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streams.core.errors import ConfigurationError
from streams.core.records import WindowValues


class Rule(BaseModel):
    """Negative surge: unusual volume with a tone below the subject's own baseline."""

    # Infinity would come back as null from the row that the rule is kept in.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]
    kind: Literal["negative_surge"]
    subjects: Annotated[tuple[str, ...], Field(min_length=1)] = ("ticker:*",)
    """names or patterns with *"""
    windows: Annotated[tuple[Literal["8h", "24h"], ...], Field(min_length=1)] = ("8h", "24h")
    start_z: Annotated[float, Field(gt=0)] = 5.0
    """volume z at which an alert starts"""
    end_z: Annotated[float, Field(gt=0)] = 2.0
    """volume z under which it may end"""
    critical_z: Annotated[float, Field(gt=0)] = 15.0
    """volume z from which it is critical"""
    min_stories: Annotated[int, Field(ge=1)] = 10
    min_drop: Annotated[float, Field(ge=0, le=2)] = 0.2
    """least distance of the index below the baseline; the whole interval must lie below it"""
    clear_minutes: Annotated[int, Field(ge=1, le=1440)] = 60
    """how long the end condition must hold"""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.end_z < self.start_z <= self.critical_z:
            raise ValueError("end_z < start_z <= critical_z must hold")
        return self

    def covers(self, subject: str) -> bool:
        """Return whether the rule looks at the subject."""
        return any(fnmatch.fnmatchcase(subject, pattern) for pattern in self.subjects)

    def starts(self, values: WindowValues) -> bool:
        """Return whether a window is past the threshold."""
        return (
            values.z_volume is not None
            and values.z_volume >= self.start_z
            and values.stories >= self.min_stories
            and values.index is not None
            and values.high is not None
            and values.baseline is not None
            and values.high < values.baseline
            and values.index <= values.baseline - self.min_drop
        )

    def holds(self, values: WindowValues) -> bool:
        """Return whether an alert that is open has reason to stay open."""
        return (
            values.z_volume is not None
            and values.z_volume >= self.end_z
            and values.index is not None
            and values.baseline is not None
            and values.index < values.baseline
        )


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Return the rules of a YAML text `rules: [...]`.

    Raises:
        ConfigurationError: names the rule and the field, or the line that is no YAML.
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the rules are not YAML: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("rules"), list):
        raise ConfigurationError("the rules need a list under the key `rules`")
    rules: list[Rule] = []
    for number, entry in enumerate(document["rules"], 1):
        try:
            rules.append(Rule.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigurationError(
                f"rule {number}, field {where or '-'}: {first['msg']}"
            ) from error
    if len({rule.id for rule in rules}) != len(rules):
        raise ConfigurationError("two rules have the same id")
    return tuple(rules)
