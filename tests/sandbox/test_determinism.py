"""State between the calls of one job: found out, because the second jail runs them backwards."""

from __future__ import annotations

from azr.sandbox import Request, SandboxPool
from azr.types import Verdict

COUNTS_INPUTS = """
import math
def f(a):
    seen = getattr(math, 'seen', None)
    if seen is None:
        seen = math.seen = []
    if a not in seen:
        seen.append(a)
    return seen.index(a)
"""


async def test_a_result_that_depends_on_the_calls_before_is_nondeterministic(
    pool: SandboxPool,
) -> None:
    request = Request(program=COUNTS_INPUTS, calls=("7", "8"), policy=False)
    found = await pool.examine_twice(request)
    assert {outcome.verdict for outcome in found} == {Verdict.NONDETERMINISTIC}


async def test_the_policy_refuses_such_a_program_at_once(pool: SandboxPool) -> None:
    found = await pool.validate(COUNTS_INPUTS, ["7", "8"])
    assert {outcome.verdict for outcome in found} == {Verdict.BANNED_CONSTRUCT}


async def test_calls_in_both_orders_keep_their_places(pool: SandboxPool) -> None:
    found = await pool.validate("def f(a):\n    return 6 / a", ["1", "0", "2", "x", "3"])
    assert [
        outcome.detail if outcome.value is None else outcome.value.canonical for outcome in found
    ] == [
        "6.0",
        "ZeroDivisionError",
        "3.0",
        "",
        "2.0",
    ]
