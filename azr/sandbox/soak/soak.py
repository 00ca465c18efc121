"""Random programs and canaries through one pool; jails and guests killed meanwhile, if asked."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import anyio

from azr import values
from azr.config import SandboxSection
from azr.errors import SandboxError
from azr.sandbox.in_order import in_order
from azr.sandbox.pool import SandboxPool
from azr.sandbox.protocol import Request
from azr.sandbox.rows import SeedRow
from azr.sandbox.soak.growth import Holdings, descendants, holdings, typical
from azr.sandbox.soak.programs import DEFAULT_ROWS, random_program
from azr.seeds import derive_seed
from azr.types import Outcome, Verdict

CANARY = """
import math
from collections import Counter
def f(n):
    words = [str(i * n % 97) for i in range(20)]
    counts = sorted(Counter(words).items())[:3]
    return [n, math.isqrt(n), counts, {"n": (n, -n)}, isinstance(n, int)]
"""
CANARY_EVERY = 10
"""Every so many programs, one whose answer is known."""
MOMENTS = 200
"""How often growth is looked at over the run; a tenth of them is compared."""
IN_FLIGHT_PER_WORKER = 32
"""Enough that one that takes its full second does not leave the other jails idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakPlan:
    """What to run. The programs depend on the seed alone, not on timing."""

    programs: int = 100_000
    seed: int = 0
    kills_per_second: float = 0.0
    """SIGKILLs a second to random jails, zygotes and jobs of this pool."""
    rows: Sequence[SeedRow] = DEFAULT_ROWS
    """Programs to mutate."""


@dataclass(kw_only=True)
class SoakReport:
    """What came of it."""

    programs: int
    seed: int
    canaries: int = 0
    seconds: float = 0.0
    verdicts: Counter[str] = field(default_factory=Counter)
    """Of the random programs."""
    wrong_canaries: int = 0
    failed: int = 0
    """Executions that ended in an infrastructure error instead of a verdict."""
    lost: int = 0
    """Executions without an end."""
    doubled: int = 0
    """Executions with more than one."""
    kills: int = 0
    first_tenth: Holdings | None = None
    last_tenth: Holdings | None = None

    @property
    def sound(self) -> bool:
        """Whether every execution had its one verdict and every canary its right answer."""
        return not (self.wrong_canaries or self.failed or self.lost or self.doubled)

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "verdicts": dict(self.verdicts.most_common()), "sound": self.sound}


@dataclass(frozen=True, slots=True)
class _Ending:
    number: int
    canary: bool
    right: bool
    verdict: Verdict | None
    """None: an infrastructure error."""


async def soak(
    limits: SandboxSection, plan: SoakPlan, progress: Callable[[int], None]
) -> SoakReport:
    """Run a plan; `progress` is told how many programs are done, in order.

    Raises:
        SandboxUnavailableError: no jail can start on this machine.
    """
    report = SoakReport(programs=plan.programs, seed=plan.seed)
    ended = bytearray(plan.programs)  # how often; small, or it would show as growth
    moments: list[Holdings] = []
    every = max(1, plan.programs // MOMENTS)

    def tell(ending: _Ending) -> None:
        ended[ending.number] = min(2, ended[ending.number] + 1)
        report.canaries += ending.canary
        report.wrong_canaries += ending.canary and not ending.right
        report.failed += ending.verdict is None
        if not ending.canary and ending.verdict is not None:
            report.verdicts[str(ending.verdict)] += 1
        if ending.number % every == 0:
            moments.append(holdings())
        progress(ending.number + 1)

    start = time.monotonic()
    async with SandboxPool.open(limits) as pool, anyio.create_task_group() as killing:
        if plan.kills_per_second > 0:
            killing.start_soon(_kill, pool, plan, report)
        at_once = IN_FLIGHT_PER_WORKER * limits.workers
        await in_order(range(plan.programs), _Asker(pool, plan), tell, at_once=at_once)
        killing.cancel_scope.cancel()
    report.seconds = time.monotonic() - start
    report.lost, report.doubled = ended.count(0), ended.count(2)
    tenth = max(1, len(moments) // 10)
    report.first_tenth, report.last_tenth = typical(moments[:tenth]), typical(moments[-tenth:])
    return report


@dataclass(frozen=True)
class _Asker:
    pool: SandboxPool
    plan: SoakPlan

    async def __call__(self, number: int) -> _Ending:
        """Run the program of this number once; canaries sometimes under the determinism check."""
        canary = number % CANARY_EVERY == 0
        try:
            outcome = await (self._canary(number) if canary else self._random(number))
        except SandboxError:
            return _Ending(number, canary, right=False, verdict=None)
        return _Ending(number, canary, outcome == _answer(number), outcome.verdict)

    async def _canary(self, number: int) -> Outcome:
        request = Request(program=CANARY, calls=(str(number),))
        twice = number % (5 * CANARY_EVERY) == 0
        found = await (self.pool.examine_twice if twice else self.pool.examine)(request)
        return found[0]

    async def _random(self, number: int) -> Outcome:
        made = random_program(self.plan.seed, number, self.plan.rows)
        policy = number % 2 == 0
        request = Request(program=made.program, calls=(made.call,), policy=policy)
        found = await self.pool.examine(request, seed_index=number // 2 % 2)
        return found[0]


def _answer(n: int) -> Outcome:
    """What the canary returns, computed here."""
    counts = sorted(Counter(str(i * n % 97) for i in range(20)).items())[:3]
    root = int(n**0.5)
    return Outcome(Verdict.OK, values.from_python([n, root, counts, {"n": (n, -n)}, True]))


async def _kill(pool: SandboxPool, plan: SoakPlan, report: SoakReport) -> None:
    """Kill a random process of the pool now and then: a jail, a zygote or a job."""
    rng = random.Random(derive_seed(plan.seed, "kills"))  # noqa: S311
    while True:
        await anyio.sleep(rng.expovariate(plan.kills_per_second))
        jails = sorted(pool.pids)
        if not jails:
            continue
        jail = rng.choice(jails)
        with suppress(ProcessLookupError):
            os.kill(rng.choice([jail, *descendants(jail)]), signal.SIGKILL)
            report.kills += 1
