"""The fold of one votes partition: votes and markers in, windows and alerts and rows out.

Everything is evaluated when a marker is applied, so the output does not depend on how the log
was cut into batches. The same code runs in the service and offline.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import orjson

from streams.core.baseline import HOURS_PER_DAY, MINUTES_PER_DAY, Days
from streams.core.detectors import judge
from streams.core.errors import StateMismatch
from streams.core.feed import Feed, feed_at
from streams.core.records import Alert, Kind, Window
from streams.core.rules import Rule
from streams.core.schemas import migrated
from streams.core.sources import WAY_OUT, KnownTopics
from streams.core.subject import Subject
from streams.core.votes import Marker, Vote
from streams.core.watermark import Watermark
from streams.core.windows import Bucket

SCHEMA: Final = 4
"""Version of the state rows."""

PARTITION_ROW: Final = "@partition"
DAYS_ROW: Final = "@days"
"""The partition's own days: apart, since `@partition` is written with every batch."""
PAST_ROW: Final = "@past"
"""Those before its two newest days."""
PAST: Final = "past"
"""Behind a subject's name: the days before its two newest."""
CONTROL_ROW: Final = "@control|"

_VOTES_IN_ROW: Final = 400
"""of an open minute; more, as when a hole is filled, stand in rows of their own"""

_OPEN_STEP: Final = 30
"""Minutes after which a subject with an open alert is looked at, though it is silent."""

Rows = dict[str, bytes | None]


@dataclass(slots=True)
class Counts:
    """What became of the votes read: read = counted + resent + duplicate + late."""

    read: int = 0
    counted: int = 0
    resent: int = 0
    """score wrote it again after a crash"""
    duplicate: int = 0
    """another text with the same id was counted already"""
    late: int = 0
    """older than the revision horizon; kept on votes.late.v1"""


@dataclass(slots=True)
class Emitted:
    """What a batch sends besides its rows."""

    windows: list[Window] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    late: list[Vote] = field(default_factory=list)


class Fold:
    """State of one votes partition. Not thread-safe; apply records in the order of offsets.

    Args:
        partition: Number of the votes partition.
        partitions: How many there are (V).
        lateness_ms: Allowed lateness of texts.
    """

    def __init__(self, partition: int, partitions: int, lateness_ms: int) -> None:
        self.partition = partition
        self.partitions = partitions
        self.applied = -1
        """offset of the newest applied record"""
        self.counts = Counts()
        self.watermark = Watermark(lateness_ms)
        self.rules: dict[str, Rule] = {}
        self._lateness_ms = lateness_ms
        self._topics = KnownTopics()
        self._highest: dict[str, tuple[int, int]] = {}
        self._subjects: dict[str, Subject] = {}
        self._days = Days()
        self._days_moved = False
        self._pending: list[tuple[int, str]] = []
        self._queued: set[tuple[int, str]] = set()
        self._feed: Feed | None = None
        self._feed_hour = -1
        self._versions: dict[str, int] = {}
        self._model = ""
        self._changes: Rows = {}
        self._touched: set[tuple[str, int]] = set()
        self._moved: set[str] = set()
        self.emitted = Emitted()

    # -- applying records -------------------------------------------------------------------

    def apply(self, offset: int, timestamp_ms: int, kind: str, value: bytes, now_ms: int) -> None:
        """Apply one record of votes.v1.

        Args:
            offset: Its offset.
            timestamp_ms: Its Kafka timestamp.
            kind: Its header `kind`.
            value: Its value.
            now_ms: Wall clock; stands in what is published and decides nothing.

        Raises:
            StateMismatch: it comes from an input topic that was made anew.
        """
        if kind == Kind.VOTE:
            self._vote(Vote.from_json(value))
        elif kind == Kind.MARKER:
            marker = Marker.from_json(value).renamed(self._topics.plain)
            self.watermark.apply(marker, timestamp_ms)
            self._close_minutes(now_ms)
        self.applied = offset

    @property
    def topics(self) -> Mapping[str, str]:
        """Ids of the topics that the state was made of."""
        return self._topics.ids

    def meet(self, topics: Mapping[str, str]) -> None:
        """Compare topic ids with those the state was made of, and remember new ones.

        Raises:
            StateMismatch: a topic was made anew.
        """
        self._topics.meet(topics)

    @property
    def closed_before(self) -> int:
        """Minutes below this one are closed."""
        return 0 if self.watermark.value is None else max(self.watermark.value // 60_000, 0)

    def _vote(self, vote: Vote) -> None:
        source = self._topics.plain(vote.source or vote.origin.source)
        self.counts.read += 1
        place = (vote.origin.offset, vote.index)
        if place <= self._highest.get(source, (-1, -1)):
            self.counts.resent += 1
            return
        self._highest[source] = place
        subject = self._subjects.get(vote.subject)
        if subject is None:
            subject = self._subjects[vote.subject] = Subject(vote.subject)
        if subject.knows(vote):
            self.counts.duplicate += 1
            return
        if vote.minute < self.closed_before - subject.horizon:
            self.counts.late += 1
            self.emitted.late.append(vote)
            return
        self.counts.counted += 1
        self._model = vote.model
        subject.receive(vote)
        self._touched.add((vote.subject, vote.minute))
        self._schedule(vote.minute, vote.subject)

    def _schedule(self, minute: int, subject: str) -> None:
        if (minute, subject) not in self._queued:
            self._queued.add((minute, subject))
            heapq.heappush(self._pending, (minute, subject))

    # -- closing minutes --------------------------------------------------------------------

    def _close_minutes(self, now_ms: int) -> None:
        limit = self.closed_before
        while self._pending and self._pending[0][0] < limit:
            minute, name = heapq.heappop(self._pending)
            self._queued.discard((minute, name))
            self._close(self._subjects[name], minute, now_ms)

    def _close(self, subject: Subject, minute: int, now_ms: int) -> None:
        pending = subject.open.get(minute)
        if pending is None and not self._due(subject, minute):
            return
        for key in pending.rows if pending else ():
            self._changes[key] = None
        added, echoes = subject.close(minute)
        self._touched.discard((subject.name, minute))
        revision = 0
        if pending:
            bucket = subject.buckets[minute]
            revision = bucket.revision
            for part, row in enumerate(bucket.to_rows()):
                self._changes[_key(subject.name, minute, part=part)] = orjson.dumps(row)
            self._days.add(minute, added)
            self._days_moved = True
            self._forget_feed(minute)
        feed = self._feed_at(minute)
        values = subject.values(minute, feed)
        s, s_score, s_delta = subject.scores(minute, feed)
        if subject.closed is None or minute > subject.closed:
            subject.days.expire(minute // MINUTES_PER_DAY)
            past, gone = subject.advance(minute)
            for old, bucket in past:
                self._drop_rows(subject.name, old, bucket, first=1)
            for old, bucket in gone:
                self._drop_rows(subject.name, old, bucket, first=0)
            alerts = judge(subject, minute, values, self.rules, feed.up_days, self._model, now_ms)
            self.emitted.alerts += alerts
            if subject.episodes:
                self._schedule(minute + _OPEN_STEP, subject.name)
        self.emitted.windows.append(
            Window(
                subject=subject.name,
                minute=minute,
                revision=revision,
                windows=values,
                s=s,
                s_score=s_score,
                s_delta=s_delta,
                echoes=echoes,
                watermark=self.watermark.value or 0,
                model=self._model,
                closed_at=now_ms,
            )
        )
        self._moved.add(subject.name)

    @staticmethod
    def _due(subject: Subject, minute: int) -> bool:
        # A silent subject is looked at only for an open alert, and not before its time.
        closed = subject.closed
        return bool(subject.episodes) and closed is not None and minute >= closed + _OPEN_STEP

    def _drop_rows(self, name: str, minute: int, bucket: Bucket, first: int) -> None:
        for part in range(first, bucket.rows):
            self._changes[_key(name, minute, part=part)] = None
        bucket.rows = first

    def _feed_at(self, minute: int) -> Feed:
        hour = minute // 60
        if self._feed is None or hour != self._feed_hour:
            day = minute // MINUTES_PER_DAY
            same_day = day == self._feed_hour // HOURS_PER_DAY
            if not same_day:
                self._days.expire(day)
            self._feed = feed_at(self._days, minute, self._feed if same_day else None)
            self._feed_hour = hour
        return self._feed

    def _forget_feed(self, minute: int) -> None:
        """Look anew when the past that the feed is judged by has changed."""
        if minute // 60 < self._feed_hour:
            self._feed = None

    # -- rules ------------------------------------------------------------------------------

    def adopt(self, rules: Iterable[Rule]) -> None:
        """Put these rules in force, as rows of the next batch; a rule that changed gets the
        next version. Open alerts of rules that are gone are resolved at their next look.
        """
        wanted = {rule.id: rule for rule in rules}
        for gone in self.rules.keys() - wanted.keys():
            self._changes[CONTROL_ROW + gone] = None
        for name, rule in wanted.items():
            if self.rules.get(name) != rule:
                version = self._versions[name] = self._versions.get(name, 0) + 1
                row = {"version": version, "rule": rule.model_dump(mode="json")}
                self._changes[CONTROL_ROW + name] = orjson.dumps(row)
        self.rules = wanted

    # -- rows -------------------------------------------------------------------------------

    def take(self) -> tuple[Emitted, Rows]:
        """Return what was emitted and which rows changed since the last call.

        The row `@partition` comes last. A value of None deletes a row. If they can't be
        written, the fold must be thrown away and restored from the rows that stand.
        """
        for name, minute in sorted(self._touched):
            pending = self._subjects[name].open[minute]
            unsaved = range(pending.saved, len(pending.votes), _VOTES_IN_ROW)
            for part, start in enumerate(unsaved):
                key = _key(name, minute, self.applied, part=part)
                votes = pending.votes[start : start + _VOTES_IN_ROW]
                self._changes[key] = orjson.dumps([vote.to_list() for vote in votes])
                pending.rows.append(key)
            pending.saved = len(pending.votes)
        self._touched.clear()
        for name in sorted(self._moved):
            subject = self._subjects[name]
            self._changes[name] = orjson.dumps(subject.to_row())
            if subject.days.past_moved:
                self._changes[f"{name}|{PAST}"] = orjson.dumps(subject.days.past_row())
        self._moved.clear()
        if self._days_moved:
            self._changes[DAYS_ROW] = orjson.dumps(self._days.to_row())
            self._days_moved = False
        if self._days.past_moved:
            self._changes[PAST_ROW] = orjson.dumps(self._days.past_row())
        self._changes[PARTITION_ROW] = orjson.dumps(self._partition_row())
        emitted, changes = self.emitted, self._changes
        self.emitted, self._changes = Emitted(), {}
        return emitted, changes

    def _partition_row(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "partitions": self.partitions,
            "applied": self.applied,
            "topics": self._topics.ids,
            "highest": self._highest,
            "watermark": self.watermark.to_row(),
            "counts": asdict(self.counts),
            "model": self._model,
        }

    @classmethod
    def restore(
        cls,
        rows: Mapping[str, bytes],
        partition: int,
        partitions: int,
        lateness_ms: int,
        topics: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the fold that wrote these rows.

        Args:
            rows: The rows that stand.
            partition: Number of the votes partition.
            partitions: How many there are (V).
            lateness_ms: Allowed lateness of texts.
            topics: Ids of topics as the broker has them now.

        Raises:
            StateMismatch: they were written for another partition count, of a topic that was made
                anew since, or by a newer version.
        """
        fold = cls(partition, partitions, lateness_ms)
        if PARTITION_ROW in rows:
            fold._restore_partition(orjson.loads(rows[PARTITION_ROW]))
        for key in (DAYS_ROW, PAST_ROW):
            if key in rows:
                fold._days.restore(orjson.loads(rows[key]))
        fold._days_moved = fold._days.past_moved  # rows of an older schema: write them anew
        open_rows: list[tuple[tuple[int, int], str, str]] = []
        closed_rows: dict[tuple[str, int], list[tuple[int, str]]] = defaultdict(list)
        own_rows: list[str] = []
        for key, value in rows.items():
            if key.startswith(CONTROL_ROW):
                row = orjson.loads(value)
                rule = Rule.model_validate(row["rule"])
                fold.rules[rule.id] = rule
                fold._versions[rule.id] = row["version"]
            elif not key.startswith("@"):
                name, *rest = key.split("|")
                subject = fold._subjects.get(name)
                if subject is None:
                    subject = fold._subjects[name] = Subject(name)
                if not rest:
                    own_rows.append(name)
                elif rest == [PAST]:
                    subject.days.restore(orjson.loads(value))
                elif len(rest) == 1:
                    minute, part = _numbers(rest[0])
                    closed_rows[name, minute].append((part, key))
                else:
                    open_rows.append((_numbers(rest[1]), name, key))
        for (name, minute), parts in closed_rows.items():
            whole = [orjson.loads(rows[key]) for _, key in sorted(parts)]
            fold._subjects[name].restore(minute, Bucket.from_rows(minute, whole))
        for name in own_rows:
            subject = fold._subjects[name]
            subject.restore_row(orjson.loads(rows[name]))
            if subject.episodes and subject.closed is not None:
                fold._schedule(subject.closed + _OPEN_STEP, name)
        for _, name, key in sorted(open_rows):
            subject = fold._subjects[name]
            for values in orjson.loads(rows[key]):
                vote = Vote.from_list(values)
                subject.receive(vote)
                pending = subject.open[vote.minute]
                pending.saved = len(pending.votes)
                fold._schedule(vote.minute, name)
            pending.rows.append(key)
        fold.meet(topics or {})
        return fold

    def _restore_partition(self, row: dict[str, Any]) -> None:
        if row["schema"] > SCHEMA:
            raise StateMismatch(
                f"state rows have schema {row['schema']}, this version reads up to {SCHEMA}: "
                "run the version that wrote them, or a newer one"
            )
        row = migrated(row)
        if row["partitions"] != self.partitions:
            raise StateMismatch(
                f"state was written with {row['partitions']} votes partitions, there are now "
                f"{self.partitions}: {WAY_OUT}"
            )
        self.applied = row["applied"]
        self._topics.meet(row["topics"])
        self._highest = {source: (at[0], at[1]) for source, at in row["highest"].items()}
        self.watermark = Watermark.from_row(row["watermark"], self._lateness_ms)
        self.counts = Counts(**row["counts"])
        if "days" in row:  # schema 1; from now on a row of its own
            self._days, self._days_moved = Days.from_row(row["days"]), True
        self._model = row["model"]


def _key(*place: str | int, part: int) -> str:
    key = "|".join(map(str, place))
    return f"{key}+{part}" if part else key


def _numbers(text: str) -> tuple[int, int]:
    number, _, part = text.partition("+")
    return int(number), int(part or 0)
