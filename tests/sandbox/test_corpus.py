"""Every hostile program gets its verdict, and the jail is as good as new afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import anyio
import pytest

from azr import values
from azr.config import SandboxSection
from azr.sandbox import Request, SandboxPool
from azr.types import Outcome, Verdict

from .corpus import CASES, HOSTILE, Case
from .ordinary_user import failures

LANES = 4
"""Pools of one worker each: what follows a program there runs in the same jail."""
LIMITS = SandboxSection(workers=1, wall_seconds=2.0, cpu_seconds=1, memory_mib=256)
PROCESS = LIMITS.model_copy(update={"isolation": "process"})
CANARY = """
import math, json, collections, copy
def f(a):
    return [a, math.sqrt(16), sorted("ba"), json.dumps([len("abc")]), isinstance(type(1), type),
            collections.Counter("aab")["a"], copy.deepcopy([a]), hasattr(math, "n")]
"""
EXPECTED = Outcome(Verdict.OK, values.from_python([7, 4.0, ["a", "b"], "[3]", True, 2, [7], False]))


@dataclass(frozen=True, slots=True)
class Examination:
    case: Case
    policy: bool

    @property
    def accepted(self) -> str:
        return self.case.on if self.policy else self.case.off

    def __str__(self) -> str:
        return f"{self.case.name.replace(' ', '_')}-{'policy' if self.policy else 'jail'}"


@dataclass(frozen=True, slots=True)
class Observation:
    outcome: Outcome
    canary: Outcome
    """Of the honest program that the same jails ran next."""
    same_jails: bool


# A timeout costs a second or more: once is enough where the policy changes nothing.
EXAMINATIONS = [
    Examination(case, policy)
    for case in CASES
    for policy in (False, True)
    if not (policy and case.on == case.off and "timeout" in case.off)
]


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len(HOSTILE) >= 150


@pytest.fixture(scope="module")
def observed(request: pytest.FixtureRequest) -> Mapping[str, Observation]:
    """What became of every selected program; lanes work side by side, each in order."""
    selected = [
        item.callspec.params["examination"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "observed" in item.fixturenames
    ]
    return anyio.run(_observe_all, selected, LIMITS)


@pytest.mark.timeout(300)  # the first one waits for all
@pytest.mark.parametrize("examination", EXAMINATIONS, ids=str)
def test_a_verdict_and_a_canary(
    observed: Mapping[str, Observation], examination: Examination
) -> None:
    seen = observed[str(examination)]
    assert _fits(seen.outcome, examination.accepted), seen.outcome
    assert (seen.outcome.value is not None) == (seen.outcome.verdict is Verdict.OK)
    assert seen.canary == EXPECTED
    assert seen.same_jails  # no program takes its jail down


@pytest.mark.timeout(300)
def test_without_namespaces_filters_and_limits_hold_the_same_programs() -> None:
    # Those that only take time are left out: they meet the same clock.
    cases = [case for case in CASES if "timeout" not in case.process]
    selected = [Examination(case, policy=False) for case in cases]
    observed = anyio.run(_observe_all, selected, PROCESS)
    found = {case.name: observed[str(one)] for case, one in zip(cases, selected, strict=True)}
    wrong = {
        case.name: seen
        for case in cases
        if (seen := found[case.name]).canary != EXPECTED
        or not (_fits(seen.outcome, case.process) and seen.same_jails)
    }
    assert wrong == {}
    assert len(cases) >= 500


@pytest.mark.timeout(600)
def test_the_corpus_passes_as_an_ordinary_user() -> None:
    assert failures("tests/sandbox/test_corpus.py", "-k", "not namespaces") == {}


async def _observe_all(
    selected: Sequence[Examination], limits: SandboxSection
) -> Mapping[str, Observation]:
    found: dict[str, Observation] = {}
    waiting = deque(selected)

    async def work() -> None:
        async with SandboxPool.open(limits) as pool:
            while waiting:
                examination = waiting.popleft()
                found[str(examination)] = await _observe(pool, examination)

    async with anyio.create_task_group() as lanes:
        for _ in range(LANES):
            lanes.start_soon(work)
    return found


async def _observe(pool: SandboxPool, examination: Examination) -> Observation:
    case, jails = examination.case, pool.pids
    request = Request(program=case.program, calls=(case.call,), policy=examination.policy)
    examine = pool.examine_twice if case.validated else pool.examine
    (outcome,) = await examine(request)
    (canary,) = await pool.examine_twice(
        replace(request, program=CANARY, calls=("7",), policy=False)
    )
    return Observation(outcome, canary, pool.pids == jails)


def _fits(outcome: Outcome, accepted: str) -> bool:
    shown = (str(outcome.verdict), f"{outcome.verdict}:{outcome.detail}")
    return any(one in shown for one in accepted.split("|"))
