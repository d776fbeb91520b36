import asyncio

from streams.adapters.breaker import Breaker, State, Throttle


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_few_failures_decide_nothing() -> None:
    breaker = Breaker(Clock(), least=5)
    for _ in range(4):
        breaker.failed()
    assert breaker.state is State.CLOSED


def test_opens_when_half_of_the_recent_calls_failed() -> None:
    breaker = Breaker(Clock(), least=5, window=20)
    for _ in range(5):
        breaker.succeeded()
    for _ in range(4):
        breaker.failed()
    assert breaker.state is State.CLOSED
    breaker.failed()
    assert breaker.state is State.OPEN


def test_old_calls_are_forgotten() -> None:
    breaker = Breaker(Clock(), least=5, window=10)
    for _ in range(1000):
        breaker.succeeded()
    for _ in range(5):
        breaker.failed()
    assert breaker.state is State.OPEN


def test_waits_for_a_probe_after_the_pause_and_reopens_when_it_fails() -> None:
    clock = Clock()
    breaker = Breaker(clock, open_s=2)
    breaker.open()
    assert breaker.state is State.OPEN
    clock.now += 2
    assert breaker.state is State.HALF_OPEN
    breaker.open()
    assert breaker.state is State.OPEN
    clock.now += 2
    breaker.close()
    assert breaker.state is State.CLOSED


def test_late_failures_do_not_prolong_the_pause() -> None:
    clock = Clock()
    breaker = Breaker(clock, open_s=2)
    breaker.open()
    clock.now += 1.5
    for _ in range(20):
        breaker.failed()
    clock.now += 0.5
    assert breaker.state is State.HALF_OPEN
    breaker.close()
    assert breaker.state is State.CLOSED


async def test_throttle_bounds_calls_and_loses_no_place_when_a_waiter_gives_up() -> None:
    throttle = Throttle(2)
    busy = most = done = 0

    async def call() -> None:
        nonlocal busy, most, done
        async with throttle.slot():
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0)
            busy -= 1
            done += 1

    tasks = [asyncio.create_task(call()) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[5:10]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (most, done) == (2, 15)


async def test_throttle_halves_on_overload_and_recovers_slowly() -> None:
    throttle = Throttle(8)
    throttle.slower()
    throttle.slower()
    assert throttle.limit == 2
    throttle.faster()
    assert throttle.limit == 2
    for _ in range(100):
        throttle.faster()
    assert throttle.limit == 8
    for _ in range(10):
        throttle.slower()
    assert throttle.limit == 1
