"""Scenarios that put watermarks under stress, for the tests (small) and the benchmark (full size).

Each runs real worker processes on a real broker and ends with the same account: votes late, closed
minutes that differ from an offline fold of votes.v1, votes kept on votes.late.v1.
"""

import asyncio
import math
import random
import time
from collections import Counter
from pathlib import Path

from streams.connectors.replay import replay
from tests.support.flow import (
    BASE,
    DAY,
    HOUR,
    LATENESS,
    MINUTE,
    NEVER_S,
    TICKER_HORIZON,
    WAIT_S,
    WIDE_HORIZON,
    Outcome,
    Place,
    Writer,
)
from tests.support.workers import until


async def fast_replay(
    place: Place,
    partitions: int,
    count: int,
    *,
    file: Path | None = None,
    idle_s: float = NEVER_S,
    scores: int = 1,
) -> Outcome:
    """Replay at maximum speed; with a short idle time, into workers whose sources are all idle."""
    idle = idle_s != NEVER_S
    name = "replay at full speed" + (", all sources idle before" if idle else "")
    if scores > 1:
        name += f", {scores} score workers"
    path = file or Writer(partitions).file(place.folder / "replay.jsonl", count, 12)
    async with place.flow(partitions, idle_s=idle_s, scores=scores) as flow:
        if idle:
            await flow.all_idle(idle_s)
        began = time.monotonic()
        report = await replay([str(path)], bootstrap=flow.bootstrap, names=flow.names, limit=count)
        assert report.last_event_time is not None
        await flow.closed(report.last_event_time, WAIT_S + count / 20)
        return await flow.outcome(name, place.broker, began)


async def backlog(place: Place, count: int) -> Outcome:
    """Score is away, idle sources behind it, while hours of texts come; then it starts again."""
    idle_s = 2.0
    writer = Writer(11)
    async with place.flow(4, idle_s=idle_s) as flow:
        began = time.monotonic()
        for source in flow.sources:
            await flow.put(source, [writer.text(BASE)])
        await flow.past(BASE - LATENESS)
        await flow.all_idle(idle_s)
        (score,) = flow.scores
        await score.stop()
        for source in flow.sources:  # one source after the other, as a log holds them
            await flow.put(source, writer.series(BASE + HOUR, BASE + 9 * HOUR, count // 8))
        score.start()
        await flow.past(flow.held, WAIT_S + count / 20)
        await flow.end()
        return await flow.outcome("score away for hours, sources idle", place.broker, began)


async def silent(place: Place, rounds: int) -> Outcome:
    """One of four sources falls silent while the others go on, and speaks again.

    They go on for so many rounds, or longer on a slow machine, until time has moved.
    """
    idle_s = 3.0
    writer = Writer(2)
    async with place.flow(2, idle_s=idle_s) as flow:
        began = time.monotonic()
        *steady, quiet = flow.sources
        for source in flow.sources:
            await flow.put(source, writer.series(BASE, BASE + HOUR, 20))
        await flow.past(flow.held)
        # Further than the clock could take a watermark whose sources are all idle.
        moved = BASE + HOUR + 10 * MINUTE
        asked = time.monotonic()
        moved_after = math.inf
        newest = BASE + HOUR
        for step in range(1, 10 * rounds):
            newest += MINUTE
            for source in steady:
                await flow.put(source, [writer.text(newest, "AAPL")])
            if moved_after == math.inf and await flow.watermark() >= moved:
                moved_after = time.monotonic() - asked
            if step >= rounds and moved_after < math.inf:
                break
            await asyncio.sleep(0.15)
        busy_s = time.monotonic() - asked
        await flow.past(newest - LATENESS)
        # Four closed minutes get one more text each, of the source that had been silent.
        again = [newest - behind * MINUTE for behind in (9, 7, 5, 3)]
        before = await flow.published()
        await flow.put(quiet, [writer.text(minute, "AAPL") for minute in again])

        async def all_read() -> bool:
            return await flow.scored() == flow.texts

        await until(all_read, WAIT_S, "the source that speaks again is read")
        await flow.end()
        outcome = await flow.outcome("a source falls silent", place.broker, began)
        after = await flow.published()
        places = [("ticker:AAPL", minute // MINUTE) for minute in again]
        outcome.notes = {
            "busy_s": round(busy_s, 1),
            "moved_after_s": round(moved_after, 1),
            "closed_before_it_spoke": sum(p in before for p in places),
            "revised_by_it": sum(
                after[p]["revision"] == before[p]["revision"] + 1 for p in places if p in before
            ),
        }
        return outcome


async def lagging(place: Place, count: int, steps: int) -> Outcome:
    """One of four sources is hours of event time behind the others."""
    hours = 6
    writer = Writer(3)
    async with place.flow(2) as flow:
        began = time.monotonic()
        *ahead, behind = flow.sources
        slow = writer.series(BASE, BASE + hours * HOUR, count // 4)
        size = max(len(slow) // steps, 1)
        await flow.put(behind, slow[:1])
        for source in ahead:
            await flow.put(source, writer.series(BASE, BASE + hours * HOUR, count // 4))
        worst = 0.0
        sent = 1
        while sent < len(slow):
            # Measured before the next texts: nothing allows more than what lies there already.
            most = flow.reached[behind] - LATENESS
            worst = max(worst, await flow.watermark() - most)
            await flow.put(behind, slow[sent : sent + size])
            sent += size
            await asyncio.sleep(0.5)
        await flow.at(flow.held)
        await flow.end()
        outcome = await flow.outcome("a source lags by six hours", place.broker, began)
        outcome.notes = {"ahead_of_it_ms": worst}
        return outcome


async def disorder(place: Place, per_band: int) -> Outcome:
    """Out-of-order texts of every degree: open, within each horizon, beyond, and on the edges."""
    writer = Writer(4)
    draw = random.Random(4)
    async with place.flow(1) as flow:
        began = time.monotonic()
        news, social = flow.sources
        newest = BASE + 5 * DAY
        closed = (newest - LATENESS) // MINUTE  # minutes below are closed
        bands = {
            "open": range(closed, newest // MINUTE),
            "wide": range(closed - WIDE_HORIZON, closed),
            "ticker": range(closed - TICKER_HORIZON, closed - WIDE_HORIZON),
            "none": range(closed - 3 * TICKER_HORIZON, closed - TICKER_HORIZON),
        }
        minutes = {
            minute
            for band in bands.values()  # their edges, and some between
            for minute in (band[0], band[-1], *draw.sample(band, min(per_band, len(band))))
        }
        first = [writer.text(minute * MINUTE, "AAPL") for minute in sorted(minutes)]
        await flow.put(news, [*first, writer.text(newest)])
        await flow.put(social, [writer.text(newest)])
        await flow.at(newest - LATENESS)
        again = [writer.text(minute * MINUTE + 30_000, "AAPL") for minute in sorted(minutes)]
        draw.shuffle(again)
        places = dict(zip(await flow.put(social, again), again, strict=True))

        async def all_read() -> bool:
            return await flow.scored() == flow.texts

        await until(all_read, WAIT_S, "all texts are scored")
        await flow.end()
        outcome = await flow.outcome("out of order by up to three days", place.broker, began)
        due = {
            (*at, index)
            for at, text in places.items()
            for index, horizon in enumerate((TICKER_HORIZON, WIDE_HORIZON, WIDE_HORIZON))
            if text["published_at"] // MINUTE < closed - horizon
        }
        late = Counter((v.origin.source, v.origin.offset, v.index) for v in await flow.late_votes())
        published = await flow.published()
        revisions = {
            minute: 2 if closed - TICKER_HORIZON <= minute < closed else 1 for minute in minutes
        }
        outcome.late_due = len(due)
        outcome.notes = {
            "late_wrongly": len(due - late.keys()) + (late - Counter(due)).total(),
            "revisions_wrong": sum(
                published["ticker:AAPL", minute]["revision"] != revision
                for minute, revision in revisions.items()
            ),
        }
        return outcome


async def killed(place: Place, count: int, *, file: Path | None = None) -> Outcome:
    """Two score workers share the sources; one is killed in the middle."""
    path = file or Writer(5).file(place.folder / "replay.jsonl", count, 12)
    async with place.flow(4, scores=2, cache=False) as flow:
        began = time.monotonic()
        report = await replay([str(path)], bootstrap=flow.bootstrap, names=flow.names, limit=count)
        assert report.last_event_time is not None
        victim, other = flow.scores

        async def both_busy() -> bool:
            asked = [w.metric("tickertone_texts_scored_total") for w in (victim, other)]
            return min(await asyncio.gather(*asked)) > 0

        await until(both_busy, WAIT_S, "both score workers are at work")
        before = await flow.scored()
        assert victim.kill()
        await flow.closed(report.last_event_time, WAIT_S + count / 10)
        outcome = await flow.outcome("two score workers, one killed", place.broker, began)
        outcome.notes = {"scored_before": before, "killed": len(victim.codes)}
        return outcome
