"""When a rule starts, updates and ends an alert: a state machine with hysteresis."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from streams.core.ids import alert_id
from streams.core.records import Alert, Evidence, Move, Verdict, WindowValues
from streams.core.rules import Rule
from streams.core.subject import Episode, Subject

_EVIDENCE: Final = 5
_MOVERS: Final = 20

State = Literal["confirmed", "updated", "resolved"]


def judge(
    subject: Subject,
    minute: int,
    values: Mapping[str, WindowValues],
    rules: Mapping[str, Rule],
    up_days: tuple[int, ...],
    model: str,
    now_ms: int,
) -> list[Alert]:
    """Return the alerts that start, change or end at a closed minute; moves their episodes.

    An alert starts in the window that is furthest past the threshold and stays with it. It ends
    when no window of its rule has held for `clear_minutes`. Its id is made of rule, subject and
    first minute, so every run gives the same.
    """
    alerts: list[Alert] = []

    def emit(episode: Episode, rule: str, state: State, numbers: WindowValues) -> None:
        alerts.append(
            _alert(subject, minute, episode, rule, state, numbers, up_days, model, now_ms)
        )

    in_force = {name for name, rule in rules.items() if rule.covers(subject.name)}
    for name in sorted(subject.episodes.keys() - in_force):
        episode = subject.episodes.pop(name)
        episode.revision += 1
        emit(episode, name, "resolved", values[episode.window])
    for name in sorted(in_force):
        rule = rules[name]
        open_episode = subject.episodes.get(name)
        if open_episode is None:
            past = [w for w in rule.windows if rule.starts(values[w])]
            if past:
                window = max(past, key=lambda w: values[w].z_volume or 0.0)
                severity = _severity(rule, values[window])
                first = alert_id(name, subject.name, minute)
                started = Episode(first, minute, window, 1, severity)
                subject.episodes[name] = started
                emit(started, name, "confirmed", values[window])
            continue
        numbers = values[open_episode.window]
        if any(rule.holds(values[w]) for w in rule.windows):
            open_episode.quiet_since = None
            worse = rule.starts(numbers) and _severity(rule, numbers) == "critical"
            if worse and open_episode.severity == "warning":
                open_episode.severity = "critical"
                open_episode.revision += 1
                emit(open_episode, name, "updated", numbers)
        elif open_episode.quiet_since is None:
            open_episode.quiet_since = minute
        elif minute - open_episode.quiet_since >= rule.clear_minutes:
            open_episode.revision += 1
            del subject.episodes[name]
            emit(open_episode, name, "resolved", numbers)
    return alerts


def _severity(rule: Rule, values: WindowValues) -> Literal["warning", "critical"]:
    return "critical" if (values.z_volume or 0.0) >= rule.critical_z else "warning"


def _alert(
    subject: Subject,
    minute: int,
    episode: Episode,
    rule: str,
    state: State,
    numbers: WindowValues,
    up_days: tuple[int, ...],
    model: str,
    now_ms: int,
) -> Alert:
    baseline = numbers.baseline or 0.0
    move, movers = subject.moved_by(episode.window, minute, numbers.baseline, _MOVERS)
    return Alert(
        id=episode.alert_id,
        revision=episode.revision,
        state=state,
        severity="critical" if episode.severity == "critical" else "warning",
        rule=rule,
        subject=subject.name,
        window=episode.window,
        first_minute=episode.first_minute,
        minute=minute,
        summary=_sentence(subject, state, episode.window, numbers, up_days),
        verdict=_verdict(move, movers),
        numbers=numbers,
        move=move,
        movers=movers,
        evidence=subject.against(episode.window, minute, baseline, _EVIDENCE),
        model=model,
        stages={**subject.stages(episode.window, minute), "alerted": now_ms},
    )


def _verdict(move: Move | None, movers: Sequence[Evidence]) -> Verdict:
    """Return the verdict behind at least half of what the movers move, either way."""
    moved: Counter[Verdict] = Counter()
    for each, part in zip(movers, move.contributions if move else (), strict=True):
        moved[each.verdict] += abs(part)
    for verdict in ("coordinated", "organic"):
        if 2 * moved[verdict] >= moved.total() > 0:
            return verdict
    return "unconfirmed"


def _sentence(
    subject: Subject, state: State, window: str, numbers: WindowValues, up_days: tuple[int, ...]
) -> str:
    name = subject.name.removeprefix("ticker:")
    usual = subject.days.usual(up_days)
    if state == "resolved":
        return f"{name}: the negative surge is over; {numbers.stories} stories in {window}."
    tone = ""
    if numbers.index is not None and numbers.low is not None and numbers.high is not None:
        tone = (
            f", tone {numbers.index:+.2f} [{numbers.low:+.2f}, {numbers.high:+.2f}]"
            f" against its usual {numbers.baseline or 0.0:+.2f}"
        )
    return (
        f"{name}: {numbers.stories} stories in {window}, where {usual:.1f} a day are usual"
        f" (volume z {numbers.z_volume or 0.0:.1f}){tone}."
    )
