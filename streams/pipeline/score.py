"""Scoring a batch of texts: opinions, votes, dead letters, and how far each source has come."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from cachetools import LRUCache

from streams.core.deadletter import DeadLetter
from streams.core.entities import EntityIndex
from streams.core.errors import RecordError, UnscorableText
from streams.core.grave import shipped
from streams.core.ids import vote_id
from streams.core.labels import MARKET, TOPIC_SLUGS, ticker_subject, topic_subject
from streams.core.records import KIND_HEADER, MILLION, Entity, Kind, Opinion, Sentiment
from streams.core.sources import source_name
from streams.core.topics import DEAD, OPINIONS, VOTES
from streams.core.votes import Vote
from streams.pipeline.decode import AHEAD_MS, Readable, decode
from streams.ports import Classifier, Incoming, Outgoing, Prediction

SNIPPET_CHARS: Final = 200
_ROUND_UP_SHARE: Final = 4
_VOTE: Final = ((KIND_HEADER, Kind.VOTE.value.encode()),)
_DAY_MS: Final = 86_400_000


@dataclass(slots=True)
class Plan:
    """A batch before the model has seen it."""

    readable: list[Readable] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    order: list[bool] = field(default_factory=list)
    """per text of the input, in order: whether it is dead"""
    ends: dict[str, int] = field(default_factory=dict)
    """source → event time with which a replay ends it"""
    next_offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    """(topic, partition) → offset to commit when all is confirmed"""


@dataclass(slots=True)
class Result:
    """What a batch sends, and what may be said when that stands."""

    outgoing: list[Outgoing]
    event_times: dict[str, int]
    """source → largest event time, at most the ingestion time (but for ends of replays)"""
    order: list[bool]
    next_offsets: dict[tuple[str, int], int]
    scored: int = 0
    filtered: int = 0
    dead: Counter[str] = field(default_factory=Counter)
    inferences: int = 0
    cached: int = 0
    votes: int = 0
    ages_ms: list[int] = field(default_factory=list)
    """per scored text: its age since its event time when it was scored"""


class Scorer:
    """Scores batches. Several may be in work at once; their results are published in order.

    Args:
        classifier: The model.
        index: Names of companies.
        author_key: Key of the author pseudonyms.
        cache_texts: How many inputs' predictions are kept; 0 keeps none.
        lateness_ms: Allowed lateness, which an end of a replay adds.
        service: Name and version of this service, for dead letters.
        now_ms: Wall clock.
    """

    def __init__(
        self,
        classifier: Classifier,
        index: EntityIndex,
        author_key: bytes,
        *,
        cache_texts: int,
        lateness_ms: int,
        service: str,
        now_ms: Callable[[], int],
    ) -> None:
        self._classifier = classifier
        self._index = index
        self._phrases = shipped()
        self._author_key = author_key
        self._cache: LRUCache[str, Prediction] = LRUCache(max(cache_texts, 1))
        self._cached_model = ""
        self._caching = cache_texts > 0
        self._lateness_ms = lateness_ms
        self._service = service
        self._now_ms = now_ms
        self.topic_ids: Mapping[str, str] = {}
        """ids of the input topics, for the names of sources; none where the broker has none"""

    def plan(self, records: Iterable[Incoming]) -> Plan:
        """Decode a batch. Whatever is wrong with a record ends as its dead letter."""
        plan = Plan()
        for record in records:
            place = (record.topic, record.partition)
            plan.next_offsets[place] = record.offset + 1
            if record.headers.get(KIND_HEADER) == Kind.END.encode():
                self._end(plan, record)
                continue
            try:
                plan.readable.append(decode(record, self._index, self._author_key))
                plan.order.append(False)
            except RecordError as error:
                plan.dead.append(self._dead(record, error, "decode"))
                plan.order.append(True)
        return plan

    def _end(self, plan: Plan, record: Incoming) -> None:
        try:
            event_time = orjson.loads(record.value or b"")["event_time"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return  # not one of ours: it closes nothing
        if type(event_time) is not int or not 0 <= event_time <= record.timestamp_ms + AHEAD_MS:
            return  # no text can have this time: it would close minutes for ever
        source = self.source(record.topic, record.partition)
        end = event_time + _DAY_MS + self._lateness_ms
        plan.ends[source] = max(end, plan.ends.get(source, 0))

    def source(self, topic: str, partition: int) -> str:
        """Return the name of an input partition in votes and markers."""
        return source_name(topic, self.topic_ids.get(topic, ""), partition)

    async def score(self, plan: Plan, originals: Sequence[Incoming]) -> Result:
        """Ask the model about a batch and make its records.

        Args:
            plan: What `plan` returned.
            originals: The records it was made of, for dead letters.

        Raises:
            ClassifierUnavailable: hold the batch and try again.
            BadModelOutput: stop.
        """
        scorable = [r for r in plan.readable if r.language.scorable]
        wanted = dict.fromkeys(text for r in scorable for text in r.inputs)
        model = self._classifier.model
        answers: dict[str, Prediction | UnscorableText] = dict(self._known(wanted))
        cached = len(answers)
        missing = [t for t in wanted if t not in answers]
        if missing:
            answers.update(await self._ask(missing))
            if cached and model != self._classifier.model:
                # The server has changed its model: what the old one said can't stand beside it.
                stale = [t for t in wanted if t not in missing]
                answers.update(await self._ask(stale))
                missing, cached = [*missing, *stale], 0
            self._remember({t: answers[t] for t in missing})
        result = Result([], dict(plan.ends), plan.order, plan.next_offsets)
        result.inferences, result.cached = len(missing), cached
        by_origin = {(o.topic, o.partition, o.offset): o for o in originals}
        for readable in plan.readable:
            self._finish(readable, answers, by_origin, result)
        for letter in plan.dead:
            self._bury(letter, result)
        refused = iter([_refusal(r, answers) is not None for r in plan.readable])
        result.order = [dead or next(refused) for dead in plan.order]
        return result

    async def _ask(self, texts: list[str]) -> Iterable[tuple[str, Prediction | UnscorableText]]:
        return zip(texts, await self._classifier.classify(texts), strict=True)

    def _known(self, texts: Iterable[str]) -> dict[str, Prediction]:
        if not self._caching or self._cached_model != self._classifier.model:
            return {}
        return {t: self._cache[t] for t in texts if t in self._cache}

    def _remember(self, answers: Mapping[str, Prediction | UnscorableText]) -> None:
        if self._cached_model != self._classifier.model:
            self._cached_model = self._classifier.model
            self._cache.clear()
        if self._caching:
            self._cache.update({t: a for t, a in answers.items() if isinstance(a, Prediction)})

    def _finish(
        self,
        readable: Readable,
        answers: dict[str, Prediction | UnscorableText],
        by_origin: dict[tuple[str, int, int], Incoming],
        result: Result,
    ) -> None:
        now = self._now_ms()
        opinion = Opinion(
            id=readable.id,
            outcome="filtered",
            reason="language",
            origin=readable.origin,
            source=readable.source,
            channel=readable.channel,
            event_time=readable.event_time,
            lang=readable.language.code,
            text=readable.text,
            url=readable.url,
            author=readable.author,
            fingerprint=readable.fingerprint,
            ingested_at=readable.ingested_at,
            scored_at=now,
        )
        if readable.language.scorable:
            refusal = _refusal(readable, answers)
            if refusal is not None:
                self._bury(self._dead(by_origin[readable.origin], refusal, "score"), result)
                return
            found = [answers[text] for text in readable.inputs]
            predictions = [p for p in found if isinstance(p, Prediction)]
            opinion, votes = self._judge(readable, opinion, predictions)
            result.scored += 1
            result.votes += len(votes)
            result.ages_ms.append(now - readable.event_time)
            result.outgoing += [
                Outgoing(VOTES, vote.subject.encode(), vote.to_json(), _VOTE) for vote in votes
            ]
        else:
            result.filtered += 1
        result.outgoing.append(
            Outgoing(OPINIONS, opinion.id.encode(), opinion.model_dump_json().encode())
        )
        source = self.source(readable.origin.topic, readable.origin.partition)
        reached = min(readable.event_time, readable.ingested_at)
        result.event_times[source] = max(reached, result.event_times.get(source, 0))

    def _judge(
        self, readable: Readable, opinion: Opinion, predictions: list[Prediction]
    ) -> tuple[Opinion, list[Vote]]:
        source = self.source(readable.origin.topic, readable.origin.partition)
        count = max(len(readable.entities), 1)
        per_entity = predictions if len(predictions) == count else predictions * count
        relevances = [
            e.relevance // (_ROUND_UP_SHARE if readable.round_up else 1) for e in readable.entities
        ]
        overall = _mean(per_entity, relevances or [MILLION])
        topics = [sum(p.topic[i] for p in predictions) for i in range(len(TOPIC_SLUGS))]
        topic = max(range(len(topics)), key=topics.__getitem__)
        topic_probability = topics[topic] // len(predictions)
        subjects = [
            (ticker_subject(e.symbol), p.sentiment, relevance)
            for e, p, relevance in zip(readable.entities, per_entity, relevances, strict=False)
        ]
        subjects.append((MARKET, overall, MILLION))
        # All alike: the served model has no head for topics and says nothing about them.
        about = max(topics) > min(topics)
        if about:
            subjects.append((topic_subject(topic), overall, topic_probability))
        votes = [
            Vote(
                id=vote_id(readable.id, subject),
                text_id=readable.id,
                subject=subject,
                event_time=readable.event_time,
                channel=readable.channel,
                score=p[2] - p[0],
                label=p.index(max(p)),
                relevance=relevance,
                confidence=max(p),
                fingerprint=readable.fingerprint,
                author=readable.author or "",
                origin=readable.origin,
                index=index,
                model=self._classifier.model,
                ingested_at=readable.ingested_at,
                scored_at=opinion.scored_at,
                snippet=readable.text[:SNIPPET_CHARS],
                source=source,
                news=readable.source == "news",
                repost=readable.repost,
            )
            for index, (subject, p, relevance) in enumerate(subjects)
        ]
        scored = opinion.model_copy(
            update={
                "outcome": "scored",
                "reason": None,
                "sentiment": _sentiment(overall),
                "topic": TOPIC_SLUGS[topic] if about else None,
                "topic_probability": topic_probability / MILLION if about else None,
                "grave": [report.slug for report in self._phrases.find(readable.text)],
                "round_up": readable.round_up,
                "model": self._classifier.model,
                "entities": [
                    Entity(
                        subject=ticker_subject(e.symbol),
                        spans=list(e.spans),
                        relevance=relevance / MILLION,
                        sentiment=_sentiment(p.sentiment),
                    )
                    for e, p, relevance in zip(
                        readable.entities, per_entity, relevances, strict=False
                    )
                ],
            }
        )
        return scored, votes

    def _dead(self, record: Incoming, error: RecordError, stage: str) -> DeadLetter:
        return DeadLetter(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            key=record.key,
            value=record.value,
            stage=stage,
            reason=error.reason.value,
            error=f"{type(error).__name__}: {error}",
            field=error.field,
            service=self._service,
            model=self._classifier.model if stage == "score" else "",
            failed_at_ms=self._now_ms(),
        ).bounded()

    @staticmethod
    def _bury(letter: DeadLetter, result: Result) -> None:
        result.dead[letter.reason] += 1
        result.outgoing.append(Outgoing(DEAD, letter.key, letter.value, tuple(letter.to_headers())))


def _refusal(
    readable: Readable, answers: Mapping[str, Prediction | UnscorableText]
) -> UnscorableText | None:
    for text in readable.inputs:
        answer = answers.get(text)  # none where its language is filtered
        if isinstance(answer, UnscorableText):
            return answer
    return None


def _mean(predictions: list[Prediction], weights: list[int]) -> tuple[int, int, int]:
    total = sum(weights) or len(predictions)
    use = weights if sum(weights) else [1] * len(predictions)
    negative, neutral, positive = (
        sum(w * p.sentiment[i] for w, p in zip(use, predictions, strict=True)) // total
        for i in range(3)
    )
    return negative, neutral, positive


def _sentiment(p: tuple[int, int, int]) -> Sentiment:
    return Sentiment(
        negative=p[0] / MILLION,
        neutral=p[1] / MILLION,
        positive=p[2] / MILLION,
        score=(p[2] - p[0]) / MILLION,
    )
