"""The replica's small parts: gate, lifeline, activity, canary, environment, backends."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import anyio
import pytest

from azr.config import RunConfig
from azr.engine.activity import Activity
from azr.engine.canary import mean_difference
from azr.engine.concurrently import concurrently
from azr.engine.environment import engine_environment
from azr.engine.gate import Eligibility, Gate
from azr.engine.lifeline import Lifeline
from azr.engine.weight_backend import weight_backend
from azr.errors import ConfigError, EngineError


def engine(**settings: object) -> RunConfig:
    return RunConfig.model_validate({"engine": settings})


def test_busy_time_counts_overlapping_requests_once() -> None:
    now = 0.0
    activity = Activity(clock=lambda: now)
    with activity.request():
        now = 2.0
        with activity.request():
            now = 5.0
            assert (activity.in_flight, activity.busy_seconds) == (2, 5.0)
        now = 6.0
    now = 10.0
    with activity.request():
        now = 11.0
    assert (activity.busy_seconds, activity.total_seconds) == (7.0, 11.0)


async def test_results_wait_while_weights_are_proved_and_requests_do_not() -> None:
    gate = Gate()
    gate.move(Eligibility.PROVING)
    released = anyio.Event()

    async def release() -> None:
        await gate.settled()
        released.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(release)
        await gate.admitted()
        await anyio.wait_all_tasks_blocked()
        assert not released.is_set()
        gate.move(Eligibility.OPEN)
        await released.wait()


async def test_a_closed_gate_admits_nobody_until_it_opens() -> None:
    gate = Gate()
    gate.move(Eligibility.CLOSED)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gate.admitted)
        await anyio.wait_all_tasks_blocked()
        assert tasks.cancel_scope.cancel_called is False
        gate.move(Eligibility.OPEN)


async def test_a_cut_line_fails_every_wait_present_and_future() -> None:
    line, late, cause = Lifeline(), EngineError("late"), EngineError("dead")
    errors: list[EngineError] = []

    async def wait_forever() -> None:
        try:
            with line.bounded(60, late):
                await anyio.sleep_forever()
        except EngineError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_forever)
        tasks.start_soon(wait_forever)
        await anyio.wait_all_tasks_blocked()
        line.cut(cause)
    await wait_forever()
    assert errors == [cause] * 3


async def test_an_interrupted_line_still_serves_the_future() -> None:
    line, late, cause = Lifeline(), EngineError("late"), EngineError("closed")
    async with anyio.create_task_group() as tasks:

        async def interrupted() -> None:
            with pytest.raises(EngineError, match="closed"), line.bounded(60, late):
                await anyio.sleep_forever()

        tasks.start_soon(interrupted)
        await anyio.wait_all_tasks_blocked()
        line.interrupt(cause)
    with line.bounded(60, late):
        await anyio.lowlevel.checkpoint()


async def test_a_line_enforces_its_deadline() -> None:
    with pytest.raises(EngineError, match="late"), Lifeline().bounded(0, EngineError("late")):
        await anyio.sleep_forever()


async def test_one_failure_cancels_the_rest_and_stays_plain() -> None:
    async def work(item: int) -> int:
        if item == 2:
            raise EngineError("two")
        await anyio.sleep_forever()
        return item

    with pytest.raises(EngineError, match="two"):
        await concurrently(work, [1, 2, 3])


async def test_results_keep_the_order_of_their_items() -> None:
    async def work(item: int) -> int:
        for _ in range(5 - item):
            await anyio.lowlevel.checkpoint()
        return item * item

    assert await concurrently(work, range(5)) == [0, 1, 4, 9, 16]


def test_a_value_that_is_not_finite_is_infinitely_far_away() -> None:
    assert mean_difference([[-1.0, -2.0]], [[-1.5, -2.5]]) == 0.5
    assert mean_difference([[-1.0]], [[math.nan]]) == math.inf


@pytest.mark.parametrize(
    ("chosen", "devices", "expected"),
    [
        ("auto", {"cuda": False, "shared_device": False}, "gloo"),
        ("auto", {"cuda": True, "shared_device": False}, "nccl"),
        ("auto", {"cuda": True, "shared_device": True}, "ipc"),
        ("nccl", {"cuda": True, "shared_device": False}, "nccl"),
        ("ipc", {"cuda": True, "shared_device": True}, "ipc"),
    ],
)
def test_the_backend_fits_the_devices(chosen: str, devices: dict[str, bool], expected: str) -> None:
    assert weight_backend(engine(weight_backend=chosen), **devices) == expected


@pytest.mark.parametrize(
    ("chosen", "devices"),
    [
        ("nccl", {"cuda": False, "shared_device": False}),
        ("gloo", {"cuda": True, "shared_device": False}),
        ("nccl", {"cuda": True, "shared_device": True}),
    ],
)
def test_a_backend_that_cannot_work_is_a_config_error(
    chosen: str, devices: dict[str, bool]
) -> None:
    with pytest.raises(ConfigError, match=chosen):
        weight_backend(engine(weight_backend=chosen), **devices)


def test_a_variable_that_comes_too_late_is_an_error_that_names_it() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys;"
        "from azr.config import RunConfig;"
        "from azr.engine.environment import require_environment;"
        "require_environment(RunConfig.model_validate({'engine': {'device': 'cpu'}}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "EngineError: OMP_NUM_THREADS must be '1' before torch is imported" in run.stderr


def test_gpu_replicas_keep_their_threads_and_their_compiler() -> None:
    assert "OMP_NUM_THREADS" not in engine_environment(engine(device="cuda"))
    assert engine_environment(engine(device="cpu"))["OMP_NUM_THREADS"] == "1"
