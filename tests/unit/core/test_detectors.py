"""Alerts start, grow and end with hysteresis.

volume z   6    3    3   1 1 ... 1    6
alert     conf  -    -   - - ... res  conf     start_z 5, end_z 2, clear after 60 minutes
"""

from streams.core.detectors import judge
from streams.core.ids import alert_id
from streams.core.records import Alert, WindowValues
from streams.core.rules import Rule
from streams.core.subject import Subject

RULE = Rule(
    id="low",
    kind="negative_surge",
    start_z=5,
    end_z=2,
    critical_z=15,
    min_stories=5,
    min_drop=0.1,
    clear_minutes=60,
)
BEGIN = 28_000_000


def numbers(z: float | None, **changes: object) -> WindowValues:
    fields: dict[str, object] = {
        "texts": 9,
        "stories": 9,
        "negative": 9,
        "neutral": 0,
        "positive": 0,
        "index": -0.5,
        "echo_index": -0.5,
        "low": -0.7,
        "high": -0.3,
        "effective": 9.0,
        "baseline": 0.2,
        "z_tone": -5.0,
        "z_volume": z,
        "evidence": [],
    }
    return WindowValues.model_validate({**fields, **changes})


class Desk:
    """One subject and its rules, looked at again and again."""

    def __init__(self, *rules: Rule, name: str = "ticker:AAPL") -> None:
        self.subject = Subject(name)
        self.rules = {rule.id: rule for rule in rules or (RULE,)}

    def look(
        self, minutes: int, z8: float | None, z24: float | None = None, **changes: object
    ) -> list[Alert]:
        values = {"8h": numbers(z8, **changes), "24h": numbers(z24, **changes)}
        return judge(self.subject, BEGIN + minutes, values, self.rules, (), "m/1", 77)

    def states(self, *looks: tuple[int, float | None]) -> list[str]:
        return ["+".join(a.state for a in self.look(at, z)) or "-" for at, z in looks]


def test_an_alert_is_confirmed_once_and_resolved_after_the_quiet_time() -> None:
    desk = Desk()
    looks = [(0, 6.0), (1, 6.0), (2, 3.0), (3, 1.9), (62, 0.0), (63, 0.0), (64, 0.0)]
    assert desk.states(*looks) == ["confirmed", "-", "-", "-", "-", "resolved", "-"]


def test_a_volume_between_the_thresholds_starts_nothing() -> None:
    assert Desk().states((0, 4.9), (1, 2.1)) == ["-", "-"]


def test_quiet_that_is_broken_begins_anew() -> None:
    looks = [(0, 6.0), (1, 1.0), (50, 2.0), (51, 1.0), (110, 1.0), (111, 1.0)]
    assert Desk().states(*looks) == ["confirmed", "-", "-", "-", "-", "resolved"]


def test_an_alert_becomes_critical_once() -> None:
    desk = Desk()
    assert desk.states((0, 6.0), (1, 15.0), (2, 20.0), (3, 6.0), (4, 20.0)) == [
        *("confirmed", "updated", "-", "-", "-")
    ]
    assert desk.subject.episodes["low"].severity == "critical"


def test_an_alert_may_be_critical_from_its_start() -> None:
    desk = Desk()
    (alert,) = desk.look(0, 15.0)
    assert (alert.state, alert.severity) == ("confirmed", "critical")
    assert desk.look(1, 16.0) == []


def test_the_id_stays_and_revisions_count() -> None:
    desk = Desk()
    looks = [(0, 6.0), (1, 16.0), (2, 0.0), (62, 0.0), (70, 6.0)]
    alerts = [alert for at, z in looks for alert in desk.look(at, z)]
    first = alert_id("low", "ticker:AAPL", BEGIN)
    assert [(a.id, a.revision) for a in alerts] == [
        *((first, 1), (first, 2), (first, 3)),
        (alert_id("low", "ticker:AAPL", BEGIN + 70), 1),
    ]


def test_an_alert_stays_with_the_window_it_started_in() -> None:
    desk = Desk()
    (started,) = desk.look(0, 6.0, 7.0)
    (updated,) = desk.look(1, 50.0, 16.0)
    assert (started.window, updated.window) == ("24h", "24h")


def test_an_alert_does_not_end_while_any_window_holds() -> None:
    desk = Desk()
    desk.look(0, 6.0)
    assert desk.look(1, 0.0, 2.0) == []
    assert desk.look(61, 0.0, 2.0) == []
    assert desk.subject.episodes["low"].quiet_since is None


def test_a_withdrawn_rule_resolves_its_alert() -> None:
    desk = Desk()
    desk.look(0, 6.0)
    desk.rules = {}
    (alert,) = desk.look(1, 6.0)
    assert (alert.state, alert.revision, alert.rule) == ("resolved", 2, "low")
    assert desk.look(2, 6.0) == []


def test_a_rule_that_no_longer_covers_the_subject_resolves_its_alert() -> None:
    desk = Desk()
    desk.look(0, 6.0)
    desk.rules = {"low": RULE.model_copy(update={"subjects": ("market",)})}
    assert [alert.state for alert in desk.look(1, 6.0)] == ["resolved"]


def test_rules_fire_independently() -> None:
    other = RULE.model_copy(update={"id": "lower", "start_z": 3.0})
    desk = Desk(RULE, other)
    assert [a.rule for a in desk.look(0, 4.0)] == ["lower"]
    assert [a.rule for a in desk.look(1, 6.0)] == ["low"]


def test_no_evidence_and_no_baseline_start_nothing() -> None:
    assert Desk().look(0, None) == []
    assert Desk().look(0, 9.0, index=None) == []
    assert Desk().look(0, 9.0, baseline=None) == []


def test_too_few_stories_or_too_wide_an_interval_start_nothing() -> None:
    assert Desk().look(0, 9.0, stories=4) == []
    assert Desk().look(0, 9.0, high=0.2) == []
    assert Desk().look(0, 9.0, index=0.11, high=0.15) == []


def test_an_alert_says_in_a_sentence_what_happened() -> None:
    (alert,) = Desk().look(0, 6.0)
    assert alert.summary == (
        "AAPL: 9 stories in 8h, where 0.0 a day are usual (volume z 6.0),"
        " tone -0.50 [-0.70, -0.30] against its usual +0.20."
    )
    assert alert.stages == {"alerted": 77}
    assert alert.event_id == f"{alert.id}.1"
