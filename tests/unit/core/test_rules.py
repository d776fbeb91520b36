"""Rules are checked when they are read; the complaint names the rule and the field."""

from importlib.resources import files

import orjson
import pytest

from streams.core.errors import ConfigurationError
from streams.core.rules import Rule, parse_rules

GOOD = "{id: a, kind: negative_surge}"


def test_the_shipped_rules_are_valid() -> None:
    (rule,) = parse_rules((files("streams.core") / "rules.yaml").read_text("utf-8"))
    assert rule.covers("ticker:AAPL")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rules: [", "not YAML"),
        ("rules: [{id: 2026-99-99}]", "not YAML"),
        ("[" * 5000, "not YAML"),
        ("", "key `rules`"),
        ("rules: 3", "key `rules`"),
        ("- 1", "key `rules`"),
        ("rules: [3]", "rule 1, field -"),
        (f"rules: [{GOOD}, {{kind: negative_surge}}]", "rule 2, field id"),
        (f"rules: [{GOOD}, {{id: B, kind: negative_surge}}]", "rule 2, field id"),
        ("rules: [{id: a, kind: surge}]", "rule 1, field kind"),
        ("rules: [{id: a, kind: negative_surge, strat_z: 3}]", "rule 1, field strat_z"),
        ("rules: [{id: a, kind: negative_surge, start_z: -1}]", "rule 1, field start_z"),
        ("rules: [{id: a, kind: negative_surge, start_z: .nan}]", "rule 1, field start_z"),
        ("rules: [{id: a, kind: negative_surge, critical_z: .inf}]", "rule 1, field critical_z"),
        ("rules: [{id: a, kind: negative_surge, windows: [1h]}]", "rule 1, field windows.0"),
        ("rules: [{id: a, kind: negative_surge, windows: []}]", "rule 1, field windows"),
        ("rules: [{id: a, kind: negative_surge, subjects: []}]", "rule 1, field subjects"),
        ("rules: [{id: a, kind: negative_surge, subjects: market}]", "rule 1, field subjects"),
        ("rules: [{id: a, kind: negative_surge, end_z: 6}]", "rule 1, field -.*end_z < start_z"),
        (f"rules: [{GOOD}, {GOOD}]", "same id"),
    ],
)
def test_a_faulty_rule_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_rules(text)


def test_a_rule_comes_back_from_its_row() -> None:
    rule = Rule(id="a", kind="negative_surge", subjects=("market",), start_z=1e9, critical_z=1e9)
    row = orjson.dumps(rule.model_dump(mode="json"))
    assert Rule.model_validate(orjson.loads(row)) == rule


def test_subjects_are_patterns_that_mind_case() -> None:
    rule = Rule(id="a", kind="negative_surge", subjects=("ticker:B*", "market"))
    assert [rule.covers(s) for s in ("ticker:BA", "ticker:b", "market", "markets")] == [
        *(True, False, True, False)
    ]
