"""What `topics apply` makes, changes, notes and refuses, case by case."""

from dataclasses import replace
from typing import Any

import pytest

from streams.core.topicplan import Found, Plan, Setting, Written, plan_topics, wanted_config
from streams.core.topics import SPECS, Names, TopicSpec

NAMES = Names("p.")
BY_NAME = {spec.name: spec for spec in SPECS}
V = ("votes.v1", "state.v1", "windows.v1", "votes.late.v1")


def there(spec: TopicSpec, partitions: int = 4, replication: int = 1) -> Found:
    """The topic as it is made."""
    config = wanted_config(spec, replication)
    return Found(
        spec.partitions or partitions,
        replication,
        f"id-of-{spec.name}",
        {name: Setting(value, on_purpose=True) for name, value in config.items()},
    )


def complete(**changes: Any) -> dict[str, Found]:
    """All topics as they are made; `changes` names fields of topics, None for a missing one."""
    found = {spec.name: there(spec) for spec in SPECS}
    for name, fields in changes.items():
        topic = name.replace("_", ".")
        if fields is None:
            del found[topic]
        else:
            found[topic] = replace(found[topic], **fields)
    return found


def planned(found: dict[str, Found], *written: Written, **settings: int) -> Plan:
    given = {"partitions": 4, "replication": 1, "brokers": 1, **settings}
    return plan_topics(SPECS, found, written, names=NAMES, **given)


def text(plan: Plan) -> str:
    return "\n".join(" ".join(line) for line in plan.lines())


def written(count: int = 4, **ids: str) -> Written:
    return Written(0, count, {name.replace("_", "."): id_ for name, id_ in ids.items()})


def test_on_an_empty_broker_all_topics_are_made_with_all_their_settings() -> None:
    plan = planned({})
    assert [t.name for t in plan.topics if t.missing] == [f"p.{spec.name}" for spec in SPECS]
    assert plan.to_do == len(SPECS)
    assert not plan.refused
    by_name = {topic.name: topic for topic in plan.topics}
    assert by_name["p.votes.v1"].partitions == 4
    assert by_name["p.alerts.v1"].partitions == by_name["p.actions.v1"].partitions == 1
    assert by_name["p.actions.v1"].config == {"cleanup.policy": "compact"}
    assert by_name["p.texts.dead.v1"].config["max.message.bytes"] == "2097152"
    state = by_name["p.state.v1"].config
    assert state == {
        "cleanup.policy": "compact",
        "segment.bytes": "67108864",
        "min.compaction.lag.ms": "3600000",
    }
    assert "make p.state.v1 4 partitions, 1 replica, cleanup.policy=compact" in text(plan)


def test_topics_as_they_are_made_are_left_alone() -> None:
    plan = planned(complete())
    assert plan.to_do == 0
    assert {kind for kind, _, _ in plan.lines()} == {"as it should be"}


def test_three_replicas_need_two_in_sync_and_one_does_not() -> None:
    assert planned({}, replication=3, brokers=3).topics[0].config["min.insync.replicas"] == "2"
    assert "min.insync.replicas" not in planned({}, replication=2, brokers=3).topics[0].config


def test_two_in_sync_are_never_asked_of_a_topic_with_one_replica() -> None:
    plan = planned(complete(), replication=3, brokers=3)
    assert plan.to_do == 0
    assert "1 replica, TICKERTONE_KAFKA__REPLICATION is 3" in text(plan)


def test_a_setting_that_differs_is_shown_with_its_origin_and_changed() -> None:
    config = dict(there(BY_NAME["votes.v1"]).config or {})
    config["retention.ms"] = Setting("1000", on_purpose=True)
    config["cleanup.policy"] = Setting("compact", on_purpose=False)
    plan = planned(complete(votes_v1={"config": config}))
    lines = [line for line in plan.lines() if line[1] == "p.votes.v1"]
    assert lines == [
        ("change", "p.votes.v1", "cleanup.policy: compact (the broker's default) → delete"),
        ("change", "p.votes.v1", "retention.ms: 1000 (set for this topic) → 604800000"),
    ]
    assert plan.to_do == 1


def test_a_setting_that_the_broker_does_not_tell_is_set() -> None:
    plan = planned(complete(actions_v1={"config": {}}))
    assert "change p.actions.v1 cleanup.policy: not set → compact" in text(plan)


def test_other_settings_of_a_topic_are_nobodys_business() -> None:
    config = {
        **(there(BY_NAME["votes.v1"]).config or {}),
        "compression.type": Setting("zstd", on_purpose=True),
    }
    assert planned(complete(votes_v1={"config": config})).to_do == 0


@pytest.mark.parametrize(
    ("found", "rows", "settings", "said"),
    [
        pytest.param(
            complete(windows_v1={"partitions": 2}),
            (),
            {},
            ("p.votes.v1 has 4 partitions", "p.windows.v1 has 2 partitions", "must be equal"),
            id="co-partitioned topics differ",
        ),
        pytest.param(
            complete(votes_late_v1={"partitions": 8}),
            (),
            {},
            ("p.votes.late.v1 has 8 partitions", "must be equal"),
            id="late votes too",
        ),
        pytest.param(
            complete(alerts_v1={"partitions": 3}),
            (),
            {},
            ("p.alerts.v1 has 3 partitions, it must have 1",),
            id="alerts with several partitions",
        ),
        pytest.param(
            complete(actions_v1={"partitions": 2}),
            (),
            {},
            ("p.actions.v1 has 2 partitions, it must have 1",),
            id="actions with several partitions",
        ),
        pytest.param(
            complete(),
            (written(2),),
            {},
            ("p.votes.v1 has 4 partitions, but the state was written with 2;",),
            id="state of another count",
        ),
        pytest.param(
            complete(),
            (written(texts_news_v1="old-id"),),
            {},
            ("p.texts.news.v1 was made anew", "id-of-texts.news.v1", "old-id"),
            id="an input made anew",
        ),
        pytest.param(
            complete(),
            (written(), replace(written(votes_v1="old-id"), partition=3)),
            {},
            ("p.votes.v1 was made anew",),
            id="one row of several remembers another votes topic",
        ),
        pytest.param(
            complete(texts_news_v1=None),
            (written(texts_news_v1=""),),
            {},
            ("p.texts.news.v1 is gone, but p.state.v1 holds state",),
            id="an input that would be made anew",
        ),
    ],
)
def test_what_can_not_be_mended_is_refused_with_the_way_out(
    found: dict[str, Found],
    rows: tuple[Written, ...],
    settings: dict[str, int],
    said: tuple[str, ...],
) -> None:
    refused = "\n".join(planned(found, *rows, **settings).refused)
    assert all(words in refused for words in said), refused
    assert "use a new TICKERTONE_KAFKA__PREFIX and replay the texts" in refused
    assert "refused" in {kind for kind, _, _ in planned(found, *rows, **settings).lines()}


@pytest.mark.parametrize(
    ("found", "rows"),
    [
        pytest.param(complete(), (written(votes_v1="id-of-votes.v1"),), id="the same ids"),
        pytest.param(complete(), (written(votes_v1=""),), id="state of schema 1 knows no ids"),
        pytest.param(
            complete(votes_v1={"id": ""}), (written(votes_v1="x"),), id="a broker without ids"
        ),
        pytest.param(
            complete(texts_social_v1={"partitions": 9}), (written(),), id="inputs of unequal counts"
        ),
    ],
)
def test_what_can_go_on_is_not_refused(found: dict[str, Found], rows: tuple[Written, ...]) -> None:
    assert not planned(found, *rows).refused


def test_inputs_of_unequal_counts_are_both_named() -> None:
    said = text(planned(complete(texts_social_v1={"partitions": 9})))
    assert "p.texts.news.v1 has 4 partitions and p.texts.social.v1 has 9 partitions" in said


def test_a_smaller_count_than_in_the_settings_is_a_note() -> None:
    plan = planned(complete(), partitions=8)
    assert not plan.refused
    assert plan.to_do == 0
    assert "note p.votes.v1 4 partitions, TICKERTONE_KAFKA__PARTITIONS is 8" in text(plan)


@pytest.mark.parametrize("name", V)
def test_a_missing_topic_is_made_with_the_count_of_those_beside_it(name: str) -> None:
    found = complete()
    del found[name]
    plan = planned(found, partitions=8)
    made = next(topic for topic in plan.topics if topic.missing)
    assert (made.name, made.partitions) == (f"p.{name}", 4)
    assert not plan.refused


def test_more_replicas_than_brokers_are_refused_where_something_is_made() -> None:
    refused = planned({}, replication=3, brokers=2).refused
    assert len(refused) == 1
    assert "TICKERTONE_KAFKA__REPLICATION is 3, but the broker knows of 2 brokers" in refused[0]
    assert not planned(complete(), replication=3, brokers=2).refused
