"""When input that waits is a stall, and when it is not."""

from aiokafka.structs import TopicPartition as TP

from streams.adapters.faust_app import Waiting
from streams.adapters.watchdog import StallClock

A, B = TP("texts.news.v1", 0), TP("texts.news.v1", 1)
BACKLOG = Waiting(5, 9)


def seconds(clock: StallClock, now: float, waiting: dict[TP, Waiting], moved_at: float = 0) -> int:
    stall = clock.look(now, moved_at, 1, waiting)
    return round(stall.seconds) if stall else -1


def test_time_runs_while_input_waits() -> None:
    clock = StallClock()
    assert [seconds(clock, now, {A: BACKLOG}) for now in (100, 105, 160)] == [0, 5, 60]


def test_nothing_that_waits_is_no_stall_however_long() -> None:
    clock = StallClock()
    assert [seconds(clock, now, {}) for now in (0, 1000)] == [-1, -1]
    assert seconds(clock, 2000, {A: BACKLOG}) == 0


def test_a_commit_of_any_partition_begins_the_time_anew() -> None:
    clock = StallClock()
    seconds(clock, 100, {A: BACKLOG, B: BACKLOG})
    assert seconds(clock, 160, {A: BACKLOG}, moved_at=150) == 10


def test_the_partition_that_waits_longest_is_named() -> None:
    clock = StallClock()
    clock.look(100, 0, 1, {A: BACKLOG})
    stall = clock.look(130, 0, 1, {A: BACKLOG, B: Waiting(0, 1)})
    assert stall is not None
    assert str(stall) == (
        "texts.news.v1/0: commits stand at offset 5 though the input has come to 9; "
        "none has moved for 30 s"
    )


def test_a_new_generation_and_a_time_without_news_begin_anew() -> None:
    clock = StallClock()
    clock.look(100, 0, 1, {A: BACKLOG})
    taken_over = clock.look(200, 0, 2, {A: BACKLOG})
    assert taken_over is not None
    assert taken_over.seconds == 0
    clock.forget()
    assert seconds(clock, 300, {A: BACKLOG}) == 0
