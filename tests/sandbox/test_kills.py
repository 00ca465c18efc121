"""Under `kill -9` of jails, zygotes and jobs at random, every call still gets its one verdict."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
from collections.abc import Iterator

import anyio
import pytest

from azr import values
from azr.config import SandboxSection
from azr.sandbox import SandboxPool
from azr.types import Outcome, Verdict

from .processes import family

KILLS = 60
PAUSE_SECONDS = 0.2
CALLERS = 8
LIMITS = SandboxSection(workers=2, wall_seconds=20, cpu_seconds=1, memory_mib=256)

DOUBLE = "def f(a):\n    for i in range(a): pass\n    return 2 * a"
# (program, its verdict): what they do is caught at very different places.
ENDINGS = [
    ("def f(a):\n    return 1 / 0", Verdict.RUNTIME_ERROR),
    ("def f(a):\n    return bytearray(1 << 40)", Verdict.OUT_OF_MEMORY),
    ("import os\ndef f(a):\n    return a", Verdict.BANNED_IMPORT),
    ("def f(a)\n    return a", Verdict.SYNTAX_ERROR),
    ("def f(a):\n    return id(a)", Verdict.BANNED_CONSTRUCT),
    ("def f(a):\n    return {'a', 'b', 'c', 'd'}.pop()", Verdict.NONDETERMINISTIC),
    ("def f(a):\n    return f", Verdict.UNSERIALISABLE),
]
ENDLESS = "def f(a):\n    while True: pass"


@pytest.mark.timeout(300)
async def test_every_call_gets_one_right_verdict_while_processes_are_killed() -> None:
    numbers = itertools.count(1)
    asked, answered = 0, 0
    killed = 0

    async def kill_some(pool: SandboxPool) -> None:
        nonlocal killed
        rng = random.Random(0)  # noqa: S311
        while killed < KILLS:
            await anyio.sleep(PAUSE_SECONDS)
            jails = sorted(pool.pids)
            targets = family(rng.choice(jails)) if jails else []
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(rng.choice(targets), signal.SIGKILL)
                killed += 1

    async def ask(pool: SandboxPool, work: Iterator[tuple[str, int, Outcome]]) -> None:
        nonlocal asked, answered
        while killed < KILLS:
            program, number, expected = next(work)
            asked += 1
            (outcome,) = await pool.validate(program, [str(number)])
            answered += 1
            assert (outcome.verdict, outcome.value) == (expected.verdict, expected.value), outcome

    async with SandboxPool.open(LIMITS) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(kill_some, pool)
        for _ in range(CALLERS):
            tasks.start_soon(ask, pool, _work(numbers))
    assert asked == answered > CALLERS


def _work(numbers: Iterator[int]) -> Iterator[tuple[str, int, Outcome]]:
    """Programs, inputs and outcomes, all different; one in sixty takes a second."""
    for number in numbers:
        if number % 60 == 0:
            yield ENDLESS, number, Outcome(Verdict.TIMEOUT)
        elif number % 3 == 0:
            program, verdict = ENDINGS[number % len(ENDINGS)]
            yield program, number, Outcome(verdict)
        else:
            count = number * (1000 if number % 5 == 0 else 1)
            yield DOUBLE, count, Outcome(Verdict.OK, values.from_python(2 * count))
