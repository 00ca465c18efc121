"""The port: outcomes per call, limits, batching, isolation between jobs, many callers."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from azr import values
from azr.config import SandboxSection
from azr.errors import SandboxError
from azr.ports import Sandbox
from azr.sandbox import Request, SandboxPool
from azr.sandbox.lanes import Lane, Lanes
from azr.sandbox.slots import PoolStatistics
from azr.types import Outcome, Verdict

ECHO = "def f(a):\n    return a"
RECIPROCAL = "def f(a):\n    if a == 0:\n        while True: pass\n    return 6 / a"


def verdicts(outcomes: tuple[Outcome, ...]) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes]


async def test_the_pool_is_a_sandbox(pool: SandboxPool) -> None:
    port: Sandbox = pool  # the type checker proves it
    assert (await port.run(ECHO, ["1"]))[0].verdict is Verdict.OK


async def test_each_call_has_its_outcome_in_order(pool: SandboxPool) -> None:
    found = await pool.run(ECHO, ["1", "'x'", "f", "[1, (2,)]"])
    assert found == (
        Outcome(Verdict.OK, values.from_python(1)),
        Outcome(Verdict.OK, values.from_python("x")),
        Outcome(Verdict.BAD_INPUT),
        Outcome(Verdict.OK, values.from_python([1, (2,)])),
    )


async def test_a_call_that_never_ends_does_not_take_the_others_along(pool: SandboxPool) -> None:
    found = await pool.run(RECIPROCAL, ["1", "0", "2"])
    assert verdicts(found) == [Verdict.OK, Verdict.TIMEOUT, Verdict.OK]
    assert found[2].value == values.from_python(3.0)


async def test_stopping_at_the_first_failure_runs_no_further_call(pool: SandboxPool) -> None:
    found = await pool.run(RECIPROCAL, ["1", "''", "0"], stop_at_first_failure=True)
    assert verdicts(found) == [Verdict.OK, Verdict.RUNTIME_ERROR, Verdict.NOT_RUN]


async def test_many_calls_are_split_into_jobs_and_put_together_again(pool: SandboxPool) -> None:
    found = await pool.run(ECHO, [str(n) for n in range(47)])
    assert [outcome.value for outcome in found] == [values.from_python(n) for n in range(47)]


async def test_memory_exhausted_by_one_call_is_whole_for_the_next(pool: SandboxPool) -> None:
    hoard = "def f(a):\n    return sum(len(bytearray(1 << 20)) for _ in range(9)) if a else H()\n"
    hoard += "def H():\n    x = []\n    while True: x.append(bytes(1 << 24))"
    found = await pool.run(hoard, ["0", "1"])
    assert verdicts(found) == [Verdict.OUT_OF_MEMORY, Verdict.OK]


async def test_no_calls_need_no_jail(pool: SandboxPool) -> None:
    assert await pool.run(ECHO, []) == ()
    assert await pool.validate(ECHO, []) == ()
    assert await pool.parse_literals([]) == ()


async def test_literals_are_parsed_and_expressions_refused(pool: SandboxPool) -> None:
    texts = [" {'a': [1, -2.5]} ", "set()", "1 +", "[x]", "1e999", "'\\ud800'", "9" * 5000]
    found = await pool.parse_literals([*texts, "x" * 20_000, ""])
    assert found[0].value == values.from_python({"a": [1, -2.5]})
    assert verdicts(found) == [
        *[Verdict.OK] * 2,
        *[Verdict.BAD_LITERAL] * 2,
        Verdict.OK,
        Verdict.UNSERIALISABLE,
        *[Verdict.BAD_LITERAL] * 3,
    ]


async def test_every_output_is_a_literal_that_parses_to_itself(pool: SandboxPool) -> None:
    program = "def f(a):\n    return [a, {a: {a}}, (a,), b'\\xff', -0.0, 1j, {'\\n': set()},"
    program += " frozenset({a}), {float('nan'): -1e999}]"
    (outcome,) = await pool.validate(program, ["'\"\\'é\\x00'"])
    assert outcome.value is not None
    (parsed,) = await pool.parse_literals([values.literal(outcome.value)])
    assert parsed == outcome


async def test_the_output_limit_is_exact(pool: SandboxPool) -> None:
    limit = pool.config.max_output_chars - len('""')
    found = await pool.run("def f(n):\n    return 'é' * n", [str(limit), str(limit + 1)])
    assert verdicts(found) == [Verdict.OK, Verdict.OUTPUT_TOO_LARGE]


async def test_a_program_that_is_too_long_is_not_run(pool: SandboxPool) -> None:
    program = ECHO + "\n#" + "x" * pool.config.max_program_chars
    assert verdicts(await pool.run(program, ["1", "2"])) == [Verdict.BANNED_CONSTRUCT] * 2


async def test_a_program_finds_nothing_of_the_job_before_it(pool: SandboxPool) -> None:
    """Forked processes share their parent's memory: nothing of a job may ever get there."""
    marker = "GOLD" + "7" * 30
    planted = f"SECRET = '{marker}'\ndef f(a):\n    return SECRET"
    for seed_index in (0, 1):
        request = Request(program=planted, calls=(f"'{marker}'",), policy=False)
        await pool.examine(request, seed_index=seed_index)
        scan = Request(program=SCAN, calls=("'GOLD7{30}'", "'return'"), policy=False)
        secret, control = await pool.examine(scan, seed_index=seed_index)
        assert secret.value == values.from_python(0)
        assert control.value not in (None, secret.value)  # the scan does read this memory


# Counts a pattern, which does not match its own text, in every pool of small objects and in
# the C heap of its process.
SCAN = """
import ctypes, gc, re, sys
def f(a):
    pattern = re.compile(b"[" + a[:1].encode() + b"]" + a[1:].encode())
    pages = {id(o) & ~0x3FFF for o in gc.get_objects() if sys.getsizeof(o) < 400}
    found = sum(len(pattern.findall(ctypes.string_at(page, 0x4000))) for page in pages)
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    top = libc.sbrk(0)
    heap = [id(o) for o in gc.get_objects() if top - (64 << 20) < id(o) < top]
    if heap:
        found += len(pattern.findall(ctypes.string_at(min(heap), top - min(heap))))
    return found
"""


async def test_concurrent_callers_get_their_own_answers(limits: SandboxSection) -> None:
    answers: dict[int, Outcome] = {}

    async def ask(number: int) -> None:
        (answers[number],) = await pool.validate(ECHO, [str(number)])

    two = limits.model_copy(update={"workers": 2})
    async with SandboxPool.open(two) as pool, anyio.create_task_group() as callers:
        for number in range(24):
            callers.start_soon(ask, number)
    assert answers == {n: Outcome(Verdict.OK, values.from_python(n)) for n in range(24)}


@pytest.mark.parametrize("flooded", list(Lane))
async def test_a_flood_of_one_kind_does_not_starve_the_other(
    pool: SandboxPool, flooded: Lane
) -> None:
    (other,) = set(Lane) - {flooded}
    finished: list[Lane] = []

    async def ask(lane: Lane) -> None:
        await pool.examine(Request(program=ECHO, calls=("1",)), lane=lane)
        finished.append(lane)

    async with anyio.create_task_group() as callers:
        for _ in range(40):
            callers.start_soon(ask, flooded)
        while not finished:  # now the flood has the jail, and its lane is full
            await anyio.lowlevel.checkpoint()
        del finished[:]
        callers.start_soon(ask, other)
    before_it = finished.index(other)
    assert before_it <= 3  # the one that ran, the one whose turn it was, and one that ended beside


async def test_lanes_take_turns_and_keep_their_order() -> None:
    lanes: Lanes[int] = Lanes(capacity=3)
    for number in range(3):
        await lanes.put(number, Lane.GRADING)
        await lanes.put(10 + number, Lane.VALIDATION)
    assert [await lanes.get() for _ in range(4)] == [10, 0, 11, 1]
    await lanes.put(3, Lane.GRADING)
    await lanes.put(4, Lane.GRADING)
    assert [await lanes.get() for _ in range(4)] == [12, 2, 3, 4]


async def test_a_full_lane_holds_its_own_callers_only_until_it_is_closed() -> None:
    lanes: Lanes[int] = Lanes(capacity=1)
    refused: list[int] = []

    async def put(number: int) -> None:
        try:
            await lanes.put(number, Lane.GRADING)
        except anyio.ClosedResourceError:
            refused.append(number)

    async with anyio.create_task_group() as callers:
        for number in range(4):
            callers.start_soon(put, number)
        await anyio.wait_all_tasks_blocked()
        assert lanes.waiting(Lane.GRADING) == 1
        await lanes.put(9, Lane.VALIDATION)
        assert lanes.close() == [9, 0]
    assert sorted(refused) == [1, 2, 3]


async def test_a_caller_that_gives_up_loses_no_other_item() -> None:
    lanes: Lanes[int] = Lanes(capacity=1)
    with anyio.move_on_after(0):
        await lanes.get()
    await lanes.put(1, Lane.GRADING)
    with anyio.move_on_after(0):
        await lanes.put(2, Lane.GRADING)
    assert await lanes.get() == 1
    await lanes.put(3, Lane.GRADING)
    assert await lanes.get() == 3


async def test_the_pool_counts_what_it_does(limits: SandboxSection) -> None:
    async with SandboxPool.open(limits) as pool:
        await pool.validate(ECHO, ["1"])
        assert pool.statistics == PoolStatistics(
            queued_validation=0,
            queued_grading=0,
            running=0,
            jobs=2,
            failed_jails=0,
            replaced_jails=0,
        )


async def test_a_closed_pool_says_so(limits: SandboxSection) -> None:
    async with SandboxPool.open(limits) as pool:
        assert len(pool.pids) == 2
    assert not pool.pids
    with pytest.raises(SandboxError, match="closed"):
        await pool.run(ECHO, ["1"])


async def test_the_time_of_each_call_is_its_own(pool: SandboxPool) -> None:
    spin = "def f(n):\n    x = 0\n    for i in range(n): x += i * i\n    return n"
    quick, slow, again = await pool.run(spin, ["1", "2000000", "1"])
    # Results that come together, as on a busy machine, share their time.
    assert slow.cpu_seconds >= max(quick.cpu_seconds, again.cpu_seconds)
    assert quick.cpu_seconds > 0


async def test_a_call_that_never_ends_is_told_how_long_it_took(pool: SandboxPool) -> None:
    (outcome,) = await pool.run("def f(a):\n    while True: pass", ["1"])
    assert outcome.verdict is Verdict.TIMEOUT
    # On a busy machine the wall's limit may come first.
    least = pool.config.cpu_seconds if outcome.detail == "cpu" else 0
    assert outcome.cpu_seconds > least
