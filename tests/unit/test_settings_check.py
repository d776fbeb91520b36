"""Every mistake in the settings is told at once, and no secret with it."""

import pytest

from streams.core.errors import ConfigurationError
from streams.settings import Settings
from streams.settings_check import describe, load_settings


def problems(**environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load_settings({f"TICKERTONE_{name}": value for name, value in environment.items()})
    return str(raised.value).splitlines()


def test_without_variables_the_defaults_hold() -> None:
    assert load_settings({}) == Settings.model_construct()


def test_variables_reach_their_settings() -> None:
    settings = load_settings(
        {
            "TICKERTONE_KAFKA__PARTITIONS": "7",
            "tickertone_log_json": "true",
            "TICKERTONE_SCORE": '{"idle_s": 5, "batch_texts": 9}',
            "TICKERTONE_SCORE__BATCH_TEXTS": "10",
            "TICKERTONE_SCORE__DICTIONARIES": '["a.csv", "b.csv"]',
            "PATH": "x",
        }
    )
    assert settings.kafka.partitions == 7
    assert settings.log_json
    assert (settings.score.idle_s, settings.score.batch_texts) == (5, 10)
    assert [path.name for path in settings.score.dictionaries] == ["a.csv", "b.csv"]


def test_the_environment_of_the_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTONE_KAFKA__PREFIX", "mine.")
    assert load_settings().kafka.prefix == "mine."
    assert load_settings({}).kafka.prefix == ""


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    settings = load_settings(
        {"TICKERTONE_SCORE__AUTHOR_KEY": "", "TICKERTONE_KAFKA__BOOTSTRAP": ""}
    )
    assert settings.score.author_key is None
    assert settings.kafka.bootstrap is None


@pytest.mark.parametrize("name", ["KAFKA__BOOTSTRP", "KAFKAS__PREFIX", "KAFKA_PREFIX", "RUNDIR"])
def test_a_mistyped_variable_is_reported_once(name: str) -> None:
    assert problems(**{name: "1"}) == [
        f"TICKERTONE_{name}: no such setting; `tickertone check-config` lists them all"
    ]


def test_all_problems_are_listed_at_once() -> None:
    found = problems(
        KAFKA__PARTITIONS="0",
        TRITON__DEADLINE_S="soon",
        SCORE__DICTIONARIES="a.csv",
        GATEWAY="{",
        LOGJSON="1",
        AGGREGATE='{"latenes_s": 1}',
    )
    assert sorted(line.split(":")[0].removeprefix("TICKERTONE_") for line in found) == [
        "AGGREGATE__LATENES_S",
        "GATEWAY",
        "KAFKA__PARTITIONS",
        "LOGJSON",
        "SCORE__DICTIONARIES",
        "TRITON__DEADLINE_S",
    ]


def test_no_problem_repeats_a_value() -> None:
    found = problems(SCORE__IDLE_S="hunter2", KAFKA__PREFIX="hunter 2", SCORE='{"x": "hunter2"')
    assert "hunter" not in "".join(found)


def test_variables_of_the_tests_are_no_settings() -> None:
    load_settings({"TICKERTONE_FAULT": "score:outputs:1", "TICKERTONE_TEST_KAFKA": "require"})


def test_secrets_are_masked_and_everything_is_described() -> None:
    settings = load_settings({"TICKERTONE_SCORE__AUTHOR_KEY": "hunter2"})
    shown = {variable: value for variable, value, _ in describe(settings)}
    assert shown["TICKERTONE_SCORE__AUTHOR_KEY"] == "********"
    assert shown["TICKERTONE_KAFKA__PARTITIONS"] == "4"
    assert shown["TICKERTONE_KAFKA__BOOTSTRAP"] == ""
    assert all(description for _, _, description in describe(settings))
    assert "hunter2" not in repr(settings)


def test_lists_are_shown_as_they_are_set() -> None:
    shown = {name: value for name, value, _ in describe(Settings.model_construct())}
    assert shown["TICKERTONE_DELIVERY__SCHEMES"] == '["https"]'
    assert shown["TICKERTONE_DELIVERY__PORTS"] == "[443]"
    assert shown["TICKERTONE_DELIVERY__NETWORKS"] == "[]"
    lists = ("SCHEMES", "PORTS", "NETWORKS")
    given = {name: shown[name] for name in (f"TICKERTONE_DELIVERY__{each}" for each in lists)}
    assert load_settings(given) == load_settings({})
