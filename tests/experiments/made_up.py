"""Results as a trial would leave them, with answers that a test chooses."""

from __future__ import annotations

import random

from azr.evals.problems import held_out_suite
from azr.experiments.measured import suite_name
from azr.experiments.results import CurvePoint, Machine, Outcomes, TrialResult

PER_TYPE = 10
NUM_PROBLEMS = len(held_out_suite().select(per_type=PER_TYPE))
CURVE_PER_TYPE = 5
NUM_CURVE_PROBLEMS = len(held_out_suite().select(per_type=CURVE_PER_TYPE))
BASE_SHARE = 0.3


def marks(share: float, count: int, seed: int) -> str:
    """Answers of which about `share` are right; a higher share only adds right ones."""
    rng = random.Random(1)  # noqa: S311 -- how hard a problem is, the same for all
    luck = random.Random(seed)  # noqa: S311
    return "".join(
        str(int(rng.random() + 0.1 * luck.random() < share + 0.05)) for _ in range(count)
    )


def outcomes(share: float, seed: int = 0, *, per_type: int = PER_TYPE) -> Outcomes:
    greedy = marks(share, len(held_out_suite().select(per_type=per_type)), seed)
    solved = "".join("3" if mark == "1" else "1" for mark in greedy)
    return Outcomes(per_type=per_type, greedy=greedy, samples=4, solved=solved)


def result(
    arm: str, seed: int = 0, *, share: float = BASE_SHARE, minutes: float = 10.0
) -> TrialResult:
    """A trial that went from the base's share to this one in eight points."""
    is_base = arm == "base"
    curve = tuple(
        CurvePoint(
            step=10 * index,
            tokens=100_000 * index,
            played_seconds=75.0 * index,
            outcomes=Outcomes(
                per_type=CURVE_PER_TYPE,
                greedy=marks(
                    BASE_SHARE + (share - BASE_SHARE) * index / 8, NUM_CURVE_PROBLEMS, seed
                ),
            ),
        )
        for index in range(1 if is_base else 9)
    )
    bound = int(arm.rpartition("-")[2]) if arm.startswith("staleness") else 4
    steps = [float(step) for step in range(1, 81)]
    return TrialResult(
        arm=arm,
        seed=seed,
        minutes=0.0 if is_base else minutes,
        preset="tiny-cpu",
        settings=(),
        config={"run": {"model": "tiny"}, "learner": {"max_staleness": bound}},
        suite=suite_name(),
        steps=curve[-1].step,
        played_seconds=curve[-1].played_seconds,
        cpu_seconds=None if is_base else 1100,
        tokens=curve[-1].tokens,
        curve=curve,
        final=outcomes(share, seed),
        trace={}
        if is_base
        else {
            "step": tuple(steps),
            "entropy": tuple(1 / step for step in steps),
            "solve/deduction/reward": (None, *(step / 80 for step in steps[1:])),
        },
        findings=("collapse since step 7",) if arm == "solver-only" else (),
        machine=Machine(cpu="a processor", cores=2, versions={"torch": "2"}),
        finished_at="2026-01-01T00:00:00Z",
    )
