"""One sitting of `azr eval`: open engine and jail once, measure policy after policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from azr.config import RunConfig
from azr.engine.replica import VllmReplica
from azr.errors import InputError, RunDirectoryError
from azr.evals.held_out import Attempt, Report, evaluate
from azr.evals.problems import Problem
from azr.evals.subjects import Policy
from azr.evals.tables import attempt_row
from azr.sandbox import SandboxPool
from azr.types import PolicyVersion

ATTEMPTS_FILE, SCORES_FILE = "attempts.jsonl", "scores.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, and how."""

    config: RunConfig
    policies: Sequence[Policy]
    problems: Sequence[Problem]
    samples: int
    seed: int

    @property
    def num_attempts(self) -> int:
        """Of all policies; one of each problem is greedy."""
        return len(self.policies) * len(self.problems) * (1 + self.samples)


async def measure(
    plan: Plan, out: Path, *, on_attempt: Callable[[], None] = lambda: None
) -> dict[PolicyVersion, Report]:
    """Evaluate each policy on one engine, whose weights are swapped in place.

    Responses and verdicts go to `out / attempts.jsonl` as they come. Raises what engine
    and jail raise.
    """
    first = plan.policies[0]
    reports: dict[PolicyVersion, Report] = {}
    with (out / ATTEMPTS_FILE).open("w", encoding="utf-8") as file:
        async with (
            SandboxPool.open(plan.config.sandbox) as sandbox,
            VllmReplica.open(
                str(first.folder), plan.config, name="eval", version=first.version
            ) as replica,
        ):
            for policy in plan.policies:
                if policy is not first:
                    await replica.load(policy.folder, policy.version)

                def keep(attempt: Attempt, version: PolicyVersion = policy.version) -> None:
                    file.write(json.dumps(attempt_row(attempt, version)) + "\n")
                    on_attempt()

                reports[policy.version] = await evaluate(
                    replica,
                    sandbox,
                    plan.config,
                    problems=plan.problems,
                    samples=plan.samples,
                    seed=plan.seed,
                    on_attempt=keep,
                )
    return reports


def new_results(out: Path) -> Path:
    """Create a results folder; refuse one that holds an evaluation already.

    Raises InputError or RunDirectoryError.
    """
    if (out / ATTEMPTS_FILE).exists():
        raise InputError(f"{out} holds an evaluation already", hint="Choose another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(
            f"{out} cannot be written: {error.strerror}", hint="Choose another --out."
        ) from error
    return out
