"""Every hostile program gets its verdict, and the jail is as good as new afterwards."""

from __future__ import annotations

import pytest

from azr import values
from azr.sandbox import Request, SandboxPool
from azr.types import Outcome, Verdict

from .corpus import CASES, Case

SENTINEL = """
import math, json, collections
def f(a):
    return [a, math.sqrt(16), sorted("ba"), json.dumps([len("abc")]), isinstance(type(1), type)]
"""
EXPECTED = values.from_python([7, 4.0, ["a", "b"], "[3]", True])


def test_the_corpus_has_no_gaps() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 80


# A timeout costs a second or more: once is enough where the policy changes nothing.
EXAMINATIONS = [
    pytest.param(case, policy, id=f"{case.name.replace(' ', '_')}-{'policy' if policy else 'jail'}")
    for case in CASES
    for policy in (False, True)
    if not (policy and case.on == case.off and "timeout" in case.off)
]


@pytest.mark.parametrize(("case", "policy"), EXAMINATIONS)
async def test_verdict_and_sentinel(pool: SandboxPool, case: Case, policy: object) -> None:
    pids = pool.pids
    request = Request(program=case.program, calls=(case.call,), policy=bool(policy))
    examine = pool.examine_twice if case.validated else pool.examine
    (outcome,) = await examine(request)
    assert _fits(outcome, case.on if policy else case.off), outcome
    assert (outcome.value is not None) == (outcome.verdict is Verdict.OK)
    (sentinel,) = await pool.validate(SENTINEL, ["7"])
    assert sentinel == Outcome(Verdict.OK, EXPECTED)
    assert pool.pids == pids  # no program takes its jail down


def _fits(outcome: Outcome, accepted: str) -> bool:
    shown = (str(outcome.verdict), f"{outcome.verdict}:{outcome.detail}")
    return any(one in shown for one in accepted.split("|"))
