"""Held-out accuracy of the weights in service, before self-play begins and after it ends."""

from __future__ import annotations

from dataclasses import dataclass

from azr.config import RunConfig
from azr.evals.held_out import evaluate
from azr.evals.metrics import to_metrics
from azr.evals.problems import held_out_suite
from azr.ports import Engine, Sandbox, Store
from azr.types import PolicyVersion


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluator:
    """Measures while nothing else samples, so that one version answers everything."""

    store: Store
    engine: Engine
    sandbox: Sandbox
    config: RunConfig

    async def measure(self, version: PolicyVersion) -> None:
        """Record the accuracy of `version`, which is in service, as metrics of its step."""
        per_type = self.config.evaluation.problems_per_type
        if per_type == 0:
            return
        problems = held_out_suite().select(per_type=per_type)
        await self.store.record_event("evaluating", version=version, problems=len(problems))
        report = await evaluate(self.engine, self.sandbox, self.config, problems=problems)
        await self.store.record_metrics(version, to_metrics(report))
