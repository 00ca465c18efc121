"""All ways to execute a program, taking turns on one core."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field

from azr.config import SandboxSection
from azr.errors import SandboxError
from azr.sandbox.bench.programs import INPUTS_PER_JOB, BenchProgram
from azr.sandbox.bench.rivals import FRESH_PROCESS, REUSED_PROCESS, run_in_fresh_jail, started
from azr.sandbox.jail import JailStarter
from azr.sandbox.pool import SandboxPool
from azr.sandbox.protocol import Request
from azr.sandbox.rootfs import prepare_root
from azr.types import Outcome, Verdict

FLOOR = "floor: an empty job"
ONE_RUN = "warm jail, one run a job"
TEN_RUNS = "warm jail, ten inputs a job"
POOLED = "one run a job, through the pool"
VALIDATION = "full validation, through the pool"
FRESH_JAIL = "one jail per program"
UNPROTECTED = "unprotected reused process"

NAMES = (FLOOR, ONE_RUN, TEN_RUNS, UNPROTECTED, FRESH_JAIL, POOLED, VALIDATION)
RUNS_PER_VALIDATION = 3


@dataclass(frozen=True, slots=True)
class Way:
    """One way to execute programs."""

    name: str
    runs: int
    """Executions in one job."""
    execute: Callable[[BenchProgram], Awaitable[tuple[Outcome, ...]]]


@dataclass(slots=True)
class Measured:
    """What one way did, a number for each of its turns."""

    name: str
    runs: int
    executions_per_second: list[float] = field(default_factory=list)
    latencies_seconds: list[float] = field(default_factory=list)
    """Of every job of all turns, from sending it to having its outcomes."""


async def take_turns(
    ways: Sequence[Way],
    programs: Sequence[BenchProgram],
    *,
    rounds: int,
    turn_seconds: float,
    on_round: Callable[[int], None] = lambda _: None,
) -> list[Measured]:
    """Every way for `turn_seconds`, round by round, so that noise comes to all alike.

    Raises:
        SandboxError: an execution did not end as it did when the programs were chosen.
    """
    measured = [Measured(way.name, way.runs) for way in ways]
    positions = [0] * len(ways)
    for number in range(rounds):
        for index, way in enumerate(ways):
            jobs, started = 0, time.perf_counter()
            now = started
            while now - started < turn_seconds:
                program = programs[positions[index] % len(programs)]
                _require_ok(way, await way.execute(program))
                before, now = now, time.perf_counter()
                measured[index].latencies_seconds.append(now - before)
                positions[index] += 1
                jobs += 1
            measured[index].executions_per_second.append(jobs * way.runs / (now - started))
        on_round(number + 1)
    return measured


def _require_ok(way: Way, outcomes: tuple[Outcome, ...]) -> None:
    for outcome in outcomes:
        if outcome.verdict is not Verdict.OK:
            raise SandboxError(f"{way.name}: {outcome.verdict} {outcome.detail}")


@asynccontextmanager
async def all_ways(limits: SandboxSection, pool: SandboxPool) -> AsyncGenerator[list[Way]]:
    """The jail in every use of it, and its rivals, started and ready."""
    root = prepare_root()
    async with (
        started(root, limits) as warm,
        started(root, limits, main=REUSED_PROCESS) as reused,
    ):
        with closing(JailStarter(root, limits, main=FRESH_PROCESS)) as starter:
            yield [
                Way(FLOOR, 1, lambda _: warm.call(Request(calls=()))),
                Way(ONE_RUN, 1, lambda program: warm.call(_job(program))),
                Way(TEN_RUNS, INPUTS_PER_JOB, lambda p: warm.call(_job(p, INPUTS_PER_JOB))),
                Way(UNPROTECTED, 1, lambda program: reused.call(_job(program))),
                Way(FRESH_JAIL, 1, lambda p: run_in_fresh_jail(starter, _job(p))),
                Way(POOLED, 1, lambda program: pool.examine(_job(program))),
                Way(
                    VALIDATION,
                    RUNS_PER_VALIDATION,
                    lambda program: pool.validate(program.source, program.inputs[:1]),
                ),
            ]


def _job(program: BenchProgram, inputs: int = 1) -> Request:
    return Request(program=program.source, calls=program.inputs[:inputs])


@contextmanager
def pinned(core: int) -> Generator[None]:
    """Run this thread, and all processes and threads that it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
