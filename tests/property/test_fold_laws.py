"""The fold's output depends on the log alone: not on batches, crashes, or how sources interleave.

Each log begins with six quiet days, so that baselines exist and alerts fire:

    day 0   1   2   3   4   5 | drawn steps: texts, copies, resends, markers, jumps ... | end
     +   +   +   +   +   +    |  a  b  a' -  b  M  a  M(idle)  late  M                  | M
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.fold import Fold, Rows
from streams.core.records import Kind, Origin
from streams.core.rules import Rule
from streams.core.votes import Marker, Vote

DAY_MS = 86_400_000
MINUTE_MS = 60_000
BEGIN = 19_700 * DAY_MS
LATENESS_MS = 60_000
SOURCES = ("texts.news.v1/0", "texts.social.v1/0", "texts.social.v1/1")
SUBJECTS = ("ticker:AAPL", "ticker:BA", "market", "topic:earnings")
RULE = Rule(
    id="low",
    kind="negative_surge",
    subjects=("*",),
    start_z=0.4,
    end_z=0.2,
    critical_z=2.5,
    min_stories=1,
    min_drop=0.0,
    clear_minutes=40,
)

Record = tuple[str, int, bytes]
"""kind, timestamp, value"""


def sketch(story: int) -> int:
    """Fingerprints of which two follow each other in two places only, so some stories are near."""
    return (story // 2 + 1) * 0x0101010101010101 ^ (story % 2) * 0xFF00FF0000000000


def vote(
    text: str, subject: str, at: int, source: str, offset: int, index: int, story: int, score: int
) -> Vote:
    topic, partition = source.split("/")
    return Vote(
        id=f"{text}{subject}",
        text_id=text,
        subject=subject,
        event_time=at,
        channel="cd"[score % 7 == 0],
        score=score,
        label=(score > -300_000) + (score > 300_000),
        relevance=800_000,
        confidence=900_000 - story,
        fingerprint=f"{sketch(story):016x}",
        author=("", "ann", "bob", "cem")[score // 100_000 % 4],
        origin=Origin(topic, int(partition), offset),
        index=index,
        model="m/1",
        ingested_at=at + 5,
        scored_at=at + 9,
        snippet=text,
        news=topic == "texts.news.v1" or score % 3 == 0,
        repost=story % 2 == 1,
    )


@dataclass
class Writer:
    """Writes a log as score workers would, crashes and rebalances included."""

    clock: int = BEGIN
    generation: int = 3
    log: list[Record] = field(default_factory=list)
    sent: dict[str, list[list[Vote]]] = field(default_factory=lambda: {s: [] for s in SOURCES})
    reached: dict[str, int] = field(default_factory=dict)

    def text(self, source: str, at: int, subjects: Sequence[str], story: int, score: int) -> None:
        number = len(self.sent[source])
        name = f"{SOURCES.index(source)}{number:05d}".ljust(32, "0")
        self._send(
            source,
            [vote(name, s, at, source, number, i, story, score) for i, s in enumerate(subjects)],
        )

    def post_again(self, source: str, which: int, later_ms: int) -> None:
        if self.sent[source]:
            old = self.sent[source][which % len(self.sent[source])]
            origin = old[0].origin._replace(offset=len(self.sent[source]))
            at = old[0].event_time + later_ms
            self._send(source, [replace(v, origin=origin, event_time=at) for v in old])

    def _send(self, source: str, votes: list[Vote]) -> None:
        self.sent[source].append(votes)
        self.reached[source] = max(votes[0].event_time, self.reached.get(source, 0))
        self._append(votes)

    def resend(self, source: str, last: int) -> None:
        for votes in self.sent[source][-last:]:
            self._append(votes)

    def mark(
        self,
        sources: Sequence[str] = SOURCES,
        idle: int | None = None,
        generation: int | None = None,
        listed: Sequence[str] = SOURCES,
    ) -> None:
        marks = {s: (self.reached.get(s), idle) for s in sources}
        marker = Marker(self.generation if generation is None else generation, marks, tuple(listed))
        self.log.append((Kind.MARKER, self.clock, marker.to_json()))

    def end(self) -> None:
        for source in SOURCES:
            self.reached[source] = self.clock + 2 * DAY_MS
        self.generation += 1
        self.mark()

    def _append(self, votes: list[Vote]) -> None:
        self.log += [(Kind.VOTE, self.clock, v.to_json()) for v in votes]


def quiet_days(writer: Writer) -> None:
    for number in range(18):
        at = writer.clock = BEGIN + number // 3 * DAY_MS + 12 * 60 * MINUTE_MS
        writer.text(SOURCES[number % 3], at, SUBJECTS, 1000 + number // 3, 900_000)
        writer.mark()
    writer.clock += DAY_MS


SUBSETS = st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=3, unique=True)
SOURCE = st.sampled_from(SOURCES)
TEXT = st.tuples(
    st.just("text"),
    SOURCE,
    st.sampled_from([0, 0, -1, -2]),
    SUBSETS,
    st.integers(0, 6),
    st.sampled_from([-1_000_000, -900_000, -700_000, 1_000_000]),
)
LATE = st.tuples(
    st.just("text"),
    SOURCE,
    st.sampled_from([-14, -20, -40, -700, -1439, -1441, -3000]),
    SUBSETS,
    st.integers(0, 4),
    st.sampled_from([-1_000_000, 100_000]),
)
STEPS = st.one_of(
    TEXT,
    TEXT,
    TEXT,
    LATE,
    st.tuples(st.just("again"), SOURCE, st.integers(0, 30), st.sampled_from([0, 1, 20, 90, 1500])),
    st.tuples(st.just("resend"), SOURCE, st.integers(1, 5)),
    st.tuples(st.just("jump"), st.sampled_from([1, 1, 2, 5, 16, 31, 65, 500, 1450, 4500])),
    st.tuples(st.just("mark")),
    st.tuples(st.just("mark")),
    st.tuples(st.just("idle"), st.lists(SOURCE, unique=True), st.sampled_from([30_000, 900_000])),
    st.tuples(st.just("old"), st.lists(SOURCE, unique=True)),
    st.tuples(st.just("rebalance"), st.lists(SOURCE, min_size=1, unique=True)),
)


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    writer = Writer()
    quiet_days(writer)
    for step in draw(st.lists(STEPS, min_size=8, max_size=40)):
        match step:
            case ("text", source, minutes, subjects, story, score):
                at = writer.clock + minutes * MINUTE_MS + 7 * len(writer.log)
                writer.text(source, at, subjects, story, score)
            case ("again", source, which, minutes):
                writer.post_again(source, which, minutes * MINUTE_MS)
            case ("resend", source, last):
                writer.resend(source, last)
            case ("jump", minutes):
                writer.clock += minutes * MINUTE_MS
            case ("mark",):
                writer.mark()
            case ("idle", sources, idle):
                writer.mark(sources, idle)
            case ("old", sources):
                writer.mark(sources, generation=1, listed=sources)
            case ("rebalance", sources):
                writer.generation += 1
                writer.mark(sources, listed=sources)
    writer.end()
    return writer.log


@dataclass
class Output:
    """What a fold sent, without wall-clock fields."""

    windows: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    late: list[Vote] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def fold_log(
    log: Sequence[Record], cuts: set[int], crashes: set[int], shuffle: random.Random
) -> Output:
    """Fold a log in batches that end before the cuts; at the crashes only the rows survive."""
    out = Output()
    rows: dict[str, bytes] = {}
    fold = Fold(0, 4, LATENESS_MS)
    fold.adopt([RULE])
    for offset, (kind, timestamp, value) in enumerate(log):
        if offset in cuts:
            collect(fold, out, rows)
        if offset in crashes:
            collect(fold, out, rows)
            fold.apply(offset, timestamp, kind, value, 1)  # lost: it never reached the rows
            order = list(rows)
            shuffle.shuffle(order)
            fold = Fold.restore({key: rows[key] for key in order}, 0, 4, LATENESS_MS)
            fold.adopt([RULE])
        fold.apply(offset, timestamp, kind, value, now_ms=shuffle.randrange(2**40))
    collect(fold, out, rows)
    out.counts = asdict(fold.counts)
    return out


def collect(fold: Fold, out: Output, rows: dict[str, bytes]) -> None:
    emitted, changes = fold.take()
    out.windows += [w.model_dump(exclude={"closed_at"}) for w in emitted.windows]
    out.alerts += [
        {**a.model_dump(), "stages": {k: v for k, v in a.stages.items() if k != "alerted"}}
        for a in emitted.alerts
    ]
    out.late += [replace(late, source="") for late in emitted.late]
    write(rows, changes)


def write(rows: dict[str, bytes], changes: Rows) -> None:
    assert list(changes)[-1] == "@partition"
    for key, value in changes.items():
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value


def with_ids(log: Sequence[Record], start: int) -> list[Record]:
    """The log as a score writes it that knows topic ids from some record on."""

    def named(source: str) -> str:
        topic, number = source.split("/")
        return f"{topic}@{topic[6:]:-<22}/{number}"

    changed = list(log[:start])
    for kind, timestamp, value in log[start:]:
        if kind == Kind.MARKER:
            record = Marker.from_json(value).renamed(named).to_json()
        else:
            parsed = Vote.from_json(value)
            record = replace(parsed, source=named(parsed.origin.source)).to_json()
        changed.append((kind, timestamp, record))
    return changed


SHUFFLES = st.integers(0, 999).map(random.Random)
PLACES = st.sets(st.integers(80, 180), max_size=12)
EVERYWHERE = set(range(1000))


@settings(max_examples=30, deadline=None)
@given(logs(), PLACES, SHUFFLES)
def test_batches_do_not_show_in_the_output(
    log: list[Record], cuts: set[int], shuffle: random.Random
) -> None:
    whole = fold_log(log, set(), set(), shuffle)
    assert fold_log(log, cuts, set(), shuffle) == whole
    assert fold_log(log, EVERYWHERE, set(), shuffle) == whole


@settings(max_examples=50, deadline=None)
@given(logs(), PLACES, PLACES, SHUFFLES)
def test_crashes_do_not_show_in_the_output(
    log: list[Record], cuts: set[int], crashes: set[int], shuffle: random.Random
) -> None:
    assert fold_log(log, cuts, crashes, shuffle) == fold_log(log, set(), set(), shuffle)


@settings(max_examples=15, deadline=None)
@given(logs(), SHUFFLES)
def test_a_crash_before_every_record_does_not_show(
    log: list[Record], shuffle: random.Random
) -> None:
    assert fold_log(log, set(), EVERYWHERE, shuffle) == fold_log(log, set(), set(), shuffle)


@settings(max_examples=20, deadline=None)
@given(logs(), st.integers(0, 180), PLACES, SHUFFLES)
def test_topic_ids_do_not_show_in_the_output_whenever_they_come(
    log: list[Record], start: int, crashes: set[int], shuffle: random.Random
) -> None:
    whole = fold_log(log, set(), set(), shuffle)
    assert fold_log(with_ids(log, start), set(), crashes, shuffle) == whole


@settings(max_examples=25, deadline=None)
@given(logs(), SHUFFLES)
def test_every_vote_is_accounted_for(log: list[Record], shuffle: random.Random) -> None:
    out = fold_log(log, set(), set(), shuffle)
    counts = out.counts
    assert counts["read"] == sum(kind == Kind.VOTE for kind, _, _ in log)
    assert counts["read"] == (
        counts["counted"] + counts["resent"] + counts["duplicate"] + counts["late"]
    )
    assert counts["late"] == len(out.late)


@settings(max_examples=25, deadline=None)
@given(logs(), SHUFFLES)
def test_revisions_are_sent_once_each_and_in_order(
    log: list[Record], shuffle: random.Random
) -> None:
    out = fold_log(log, set(), set(), shuffle)
    windows: dict[tuple[str, int], list[int]] = {}
    for window in out.windows:
        windows.setdefault((window["subject"], window["minute"]), []).append(window["revision"])
    for revisions in windows.values():
        assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))
        assert revisions[0] in (0, 1)
    alerts: dict[str, list[dict[str, Any]]] = {}
    for alert in out.alerts:
        alerts.setdefault(alert["id"], []).append(alert)
    for history in alerts.values():
        assert [a["revision"] for a in history] == list(range(1, len(history) + 1))
        states = [a["state"] for a in history]
        assert states in (
            ["confirmed"],
            ["confirmed", "updated"],
            ["confirmed", "resolved"],
            ["confirmed", "updated", "resolved"],
        )


@settings(max_examples=15, deadline=None)
@given(logs(), SHUFFLES)
def test_the_newest_window_of_a_subject_counts_what_lies_in_it(
    log: list[Record], shuffle: random.Random
) -> None:
    counted = countable(log)
    seen: dict[str, int] = {}
    for window in fold_log(log, set(), set(), shuffle).windows:
        subject, minute = window["subject"], window["minute"]
        if minute <= seen.get(subject, -1):
            continue  # a revision: later votes of later minutes may still come
        seen[subject] = minute
        first = minute - 4
        inside = [v for v in counted[subject] if first <= v.minute <= minute]
        assert window["windows"]["5m"]["texts"] <= len(inside)


def countable(log: Sequence[Record]) -> Mapping[str, list[Vote]]:
    votes: dict[str, list[Vote]] = {subject: [] for subject in SUBJECTS}
    for kind, _, value in log:
        if kind == Kind.VOTE:
            parsed = Vote.from_json(value)
            votes[parsed.subject].append(parsed)
    return votes


TEXTS = st.lists(
    st.tuples(
        SOURCE,
        st.sampled_from([0, 0, 1, 3, 25, 200, 1450]),
        st.integers(0, 59_000),
        SUBSETS,
        st.integers(0, 4),
        st.sampled_from([-1_000_000, -700_000, 100_000, 1_000_000]),
        st.sampled_from([None, None, None, 0, 1, 20, 40, 70]),
    ),
    max_size=30,
)


def punctual_texts(texts: Sequence[Any]) -> dict[str, list[list[Vote]]]:
    """Votes of each source in order; no text is later than the allowed lateness."""
    writer = Writer()
    quiet_days(writer)
    for source, minutes, early_ms, subjects, story, score, again in texts:
        writer.clock += minutes * MINUTE_MS
        writer.text(source, writer.clock - early_ms, subjects, story, score)
        if again is not None:
            newest = len(writer.sent[source]) - 1
            writer.post_again(source, newest, again * 30_000)
            writer.clock += again * 30_000
    return writer.sent


def interleave(sent: dict[str, list[list[Vote]]], shuffle: random.Random) -> list[Record]:
    """One possible log: each source in its order, markers of what was sent anywhere."""
    writer = Writer()
    left: dict[str, Iterator[list[Vote]]] = {s: iter(texts) for s, texts in sent.items()}
    while left:
        source = shuffle.choice(sorted(left))
        for _ in range(shuffle.choice((1, 1, 5, 40))):
            votes = next(left[source], None)
            if votes is None:
                del left[source]
                break
            writer._send(source, votes)
        if shuffle.random() < 0.5:
            known = [s for s in SOURCES if s in writer.reached]
            writer.mark(shuffle.sample(known, shuffle.randint(1, len(known))))
    writer.clock = max(writer.reached.values())
    writer.end()
    return writer.log


@settings(max_examples=40, deadline=None)
@given(TEXTS, SHUFFLES)
def test_closed_windows_and_alerts_are_equal_over_two_logs_of_the_same_texts(
    texts: list[Any], shuffle: random.Random
) -> None:
    # log 1:  a1 a2 M b1 c1 M b2 ... M(end)      log 2:  c1 b1 a1 M b2 a2 M ... M(end)
    sent = punctual_texts(texts)
    one, two = (fold_log(interleave(sent, shuffle), set(), set(), shuffle) for _ in range(2))
    assert one.counts == two.counts
    assert one.counts["late"] == 0
    for out in (one, two):
        for window in out.windows:
            del window["watermark"]  # tells how far markers had come, which differs
    assert one.windows == two.windows
    assert one.alerts == two.alerts


def test_the_drawn_logs_reach_alerts_of_every_state() -> None:
    writer = Writer()
    quiet_days(writer)
    for story in range(6):
        for subject in SUBJECTS:
            writer.text(SOURCES[0], writer.clock, [subject], story, -1_000_000)
        writer.clock += 2 * MINUTE_MS
        writer.reached = dict.fromkeys(SOURCES, writer.clock)
        writer.mark()
    writer.end()
    out = fold_log(writer.log, set(), EVERYWHERE, random.Random(1))
    assert {a["state"] for a in out.alerts} == {"confirmed", "updated", "resolved"}
    assert {a["severity"] for a in out.alerts} == {"warning", "critical"}


def test_what_is_usual_follows_late_texts_of_the_day_before() -> None:
    # quiet days | 12:00 | 0:10 | late, about another: 23:50 | 0:20    restarts between, or none
    writer = Writer()
    quiet_days(writer)
    midnight = writer.clock + DAY_MS - writer.clock % DAY_MS
    for minutes, story in ((-720, 0), (10, 2), (-10, 4), (20, 6)):
        writer.clock = max(writer.clock, midnight + minutes * MINUTE_MS)
        subjects = {-720: SUBJECTS, -10: SUBJECTS[1:2]}.get(minutes, SUBJECTS[:1])
        writer.text(SOURCES[0], midnight + minutes * MINUTE_MS, subjects, story, 100_000)
        writer.reached = dict.fromkeys(SOURCES, writer.clock + 2 * MINUTE_MS)
        writer.mark()
    writer.end()
    whole = fold_log(writer.log, set(), set(), random.Random(1))
    assert whole == fold_log(writer.log, set(), EVERYWHERE, random.Random(1))
    before, _, after = (w["windows"]["24h"] for w in whole.windows[-3:])
    assert before["expected"] is not None
    assert after["expected"] != before["expected"]
