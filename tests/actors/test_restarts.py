"""Starting again: what is tried again, how long it waits, and when it gives up."""

from __future__ import annotations

import pytest

from actors.restarts import Restarts
from azr.config import ClusterSection
from azr.errors import ConfigError, LearnerError, NodeError

SETTINGS = ClusterSection(
    restart_pause_seconds=0.001,
    longest_pause_seconds=0.004,
    restart_limit=4,
    restart_window_seconds=100,
)


class Time:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Told:
    """Remembers the pauses."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def __call__(self, what: str, cause: str, pause_seconds: float) -> None:
        assert what == "the learner"
        assert cause
        self.pauses.append(pause_seconds)


class Life:
    """Fails in order, then returns how often it was started."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.starts = 0

    async def __call__(self) -> int:
        self.starts += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.starts


def restarts(told: Told, now: Time | None = None, **changes: object) -> Restarts:
    return Restarts(what="the learner", settings=SETTINGS, told=told, now=now or Time(), **changes)  # ty: ignore[invalid-argument-type]


async def test_pauses_double_up_to_the_longest() -> None:
    told = Told()
    life = Life(*[LearnerError("died")] * 4)
    assert await restarts(told).keep(life) == 5
    assert told.pauses == [0.001, 0.002, 0.004, 0.004]


async def test_one_failure_more_than_the_limit_in_the_window_is_the_end() -> None:
    told = Told()
    with pytest.raises(NodeError, match=r"the learner failed 5 times within 100 s.*no memory") as e:
        await restarts(told).keep(Life(*[LearnerError("no memory", hint="buy some")] * 5))
    assert e.value.hint == "buy some"
    assert len(told.pauses) == 4


async def test_failures_before_the_window_are_forgiven() -> None:
    time, told = Time(), Told()
    of = restarts(told, time)

    class Slow(Life):
        async def __call__(self) -> int:
            time.seconds += 60
            return await super().__call__()

    assert await of.keep(Slow(*[LearnerError("died")] * 20)) == 21
    assert max(told.pauses) == 0.002


@pytest.mark.parametrize(
    "failure", [ConfigError("no such key"), ExceptionGroup("x", [ConfigError("no such key")])]
)
async def test_what_no_restart_mends_is_raised_at_once(failure: Exception) -> None:
    told, life = Told(), Life(failure)
    with pytest.raises(type(failure)):
        await restarts(told).keep(life)
    assert life.starts == 1


async def test_an_expected_error_in_a_group_is_tried_again_and_a_bug_is_not() -> None:
    told = Told()
    assert await restarts(told).keep(Life(ExceptionGroup("x", [LearnerError("died")]))) == 2
    with pytest.raises(ExceptionGroup):
        await restarts(told).keep(Life(ExceptionGroup("x", [KeyError("a bug")])))


async def test_a_failure_is_raised_when_nobody_wants_another_start() -> None:
    told = Told()
    with pytest.raises(LearnerError, match="died"):
        await restarts(told, is_wanted=lambda: False).keep(Life(LearnerError("died")))
    assert not told.pauses
