"""Quiet hours agree with the clock on the wall, and a cap is never passed and loses nothing."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from streams.delivery.quiet import QuietHours
from streams.delivery.subscriptions import (
    HOUR_MS,
    Every,
    SseTarget,
    Subscription,
    Tally,
    admitted,
    due_at,
    said,
)

MINUTE_MS = 60_000
DAY_MS = 86_400_000
# Zones that turn the clock at midnight, at one, two and three, by half an hour, and never.
ZONES = st.sampled_from(
    ["UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo",
     "America/Santiago", "Asia/Kolkata", "Pacific/Apia"]
)  # fmt: skip
TIMES = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
# Days on which some of them do.
DAYS = st.sampled_from(
    ["2026-03-08", "2026-03-29", "2026-04-05", "2026-04-24", "2026-06-15", "2026-09-06",
     "2026-10-04", "2026-10-25", "2026-10-30", "2026-11-01"]
)  # fmt: skip


@st.composite
def quiet_hours(draw: st.DrawFn) -> QuietHours:
    begin = draw(TIMES)
    end = draw(TIMES.filter(lambda other: other != begin))
    return QuietHours(begin=begin, end=end, zone=draw(ZONES))


@st.composite
def moments(draw: st.DrawFn) -> int:
    day = datetime.fromisoformat(draw(DAYS)).replace(tzinfo=UTC)
    return round(day.timestamp() * 1000) + draw(st.integers(-DAY_MS, 2 * DAY_MS))


def is_quiet(hours: QuietHours, now: int) -> bool:
    """By the definition: each local minute of the stretch, counted up from its begin."""
    local = datetime.fromtimestamp(now / 1000, ZoneInfo(hours.zone))
    begin, end = (each.hour * 60 + each.minute for each in (hours.begin, hours.end))
    return (local.hour * 60 + local.minute - begin) % 1440 < (end - begin) % 1440


@given(quiet_hours(), moments())
def test_a_moment_is_quiet_as_the_clock_on_the_wall_says(hours: QuietHours, now: int) -> None:
    assert hours.covers(now) == is_quiet(hours, now)


@given(quiet_hours(), moments())
@example(
    # New York jumps from 2:00 to 3:00 over the end of the stretch.
    QuietHours(begin=time(22), end=time(2, 30), zone="America/New_York"),
    round(datetime(2026, 3, 8, 6, 0, tzinfo=UTC).timestamp() * 1000),
)
@example(
    # London has 1:00 to 2:00 twice.
    QuietHours(begin=time(22), end=time(1, 30), zone="Europe/London"),
    round(datetime(2026, 10, 25, 0, 10, tzinfo=UTC).timestamp() * 1000),
)
@example(
    QuietHours(begin=time(22), end=time(1, 30), zone="Europe/London"),
    round(datetime(2026, 10, 25, 1, 10, tzinfo=UTC).timestamp() * 1000),
)
def test_quiet_hours_are_over_at_the_first_minute_that_is_not_quiet(
    hours: QuietHours, now: int
) -> None:
    over = hours.over_at(now)
    step = now
    while is_quiet(hours, step):
        step = (step // MINUTE_MS + 1) * MINUTE_MS
    assert over == step


def test_quiet_hours_over_midnight_end_in_the_morning() -> None:
    hours = QuietHours(begin=time(22), end=time(7), zone="Europe/London")

    def at(*when: int) -> int:
        return round(datetime(*when, tzinfo=ZoneInfo("Europe/London")).timestamp() * 1000)  # type: ignore[misc, arg-type]

    assert hours.over_at(at(2026, 1, 5, 23, 0)) == at(2026, 1, 6, 7, 0)
    assert hours.over_at(at(2026, 1, 6, 6, 59)) == at(2026, 1, 6, 7, 0)
    assert hours.over_at(at(2026, 1, 6, 7, 0)) == at(2026, 1, 6, 7, 0)
    # The night is an hour shorter, and in autumn an hour longer.
    assert at(2026, 3, 29, 7, 0) - at(2026, 3, 28, 22, 0) == 8 * HOUR_MS
    assert hours.over_at(at(2026, 3, 28, 22, 0)) == at(2026, 3, 29, 7, 0)
    assert hours.over_at(at(2026, 10, 24, 22, 0)) == at(2026, 10, 25, 7, 0)


def subscription(
    minutes: int | None, quiet: QuietHours | None, cap: int | None = None
) -> Subscription:
    fields = {"schedule": Every(minutes=minutes)} if minutes else {}
    return Subscription(
        id="s",
        owner="ann",
        name="desk",
        quiet=quiet,
        hourly_cap=cap,
        target=SseTarget(),
        created_at=0,
        updated_at=0,
        **fields,
    )


def never(exchange: str, now: int) -> int:
    raise AssertionError(exchange)


@given(st.none() | st.integers(1, 1440), st.none() | quiet_hours(), moments())
def test_what_is_due_is_not_in_the_past_nor_in_quiet_hours(
    minutes: int | None, quiet: QuietHours | None, now: int
) -> None:
    due = due_at(subscription(minutes, quiet), now, never)
    assert now <= due <= now + timedelta(days=2, hours=3) // timedelta(milliseconds=1)
    assert quiet is None or not is_quiet(quiet, due)
    if minutes and quiet is None:
        assert now < due <= now + minutes * MINUTE_MS


@given(
    st.none() | st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, HOUR_MS), st.booleans()), max_size=60),
)
def test_a_cap_holds_in_each_hour_and_what_it_held_back_is_said(
    cap: int | None, steps: list[tuple[int, bool]]
) -> None:
    asked, tally, now = subscription(None, None, cap), Tally(), 0
    sent: dict[int, int] = {}
    told = held = 0
    for number, (step, say) in enumerate(steps):
        now += step
        tally, goes = admitted(tally, asked, f"a.{number}", now)
        if goes:
            sent[now // HOUR_MS] = sent.get(now // HOUR_MS, 0) + 1
        else:
            held += 1
        if say:
            told += tally.held
            tally = said(tally)
    assert all(cap is None or count <= cap for count in sent.values())
    assert sum(sent.values()) + held == len(steps)
    assert told + tally.held == held
    assert (tally.say_at is None) == (tally.held == 0)


@given(st.integers(1, 5), st.lists(st.integers(0, 3 * HOUR_MS), min_size=1, max_size=40))
def test_a_clock_that_goes_back_opens_no_hour_again(cap: int, times: list[int]) -> None:
    asked, tally = subscription(None, None, cap), Tally()
    passed = 0
    for number, now in enumerate(times):
        tally, goes = admitted(tally, asked, f"a.{number}", now)
        passed += goes
    assert passed <= cap * (max(times) // HOUR_MS + 1)
