"""How much of a policy gradient is signal, before anything is trained.

The same policy attempts many tasks once; the attempts are cut into batches, and each
batch gives a gradient. Two gradients share the signal and nothing else, so the mean cosine
over pairs is the signal's share of a gradient's squared length, c, and n (1 - c) / c rows,
where n is a batch, are the noise scale (arXiv 1812.06162): fewer rows are mostly noise.

It is asked for each baseline, and for the gradient as it is (SGD follows it) and with each
coordinate divided by its root mean square over the batches (AdamW follows that).
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from azr import packing
from azr.advantages import Baseline, normalise
from azr.config import RunConfig
from azr.engine.concurrently import concurrently
from azr.engine.replica import VllmReplica
from azr.judging import Grade, judge_attempt
from azr.learner import model as policies
from azr.learner.step import Trainer
from azr.ports import Sandbox
from azr.prompts import family_of
from azr.rewards import solver_reward
from azr.sandbox import SandboxPool
from azr.task_types import MAIN_TYPES
from azr.tiny.seed_tasks import draw_seed_tasks
from azr.types import (
    Batch,
    Cell,
    Completion,
    Role,
    SamplingRequest,
    Task,
    TaskDraft,
    Trajectory,
)
from azr.validation import task_from

SMALLEST_RMS = 1e-9
"""Coordinates that no gradient touches are divided by this, and stay 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Mean cosine over pairs of gradients."""

    baseline: Baseline
    raw: float
    rescaled: float
    """Each coordinate divided by its root mean square, as AdamW does in the long run."""
    batch_rows: int

    def noise_scale_rows(self, cosine: float) -> float:
        """Rows whose gradient would be half signal; infinite without any."""
        return self.batch_rows * (1 - cosine) / cosine if cosine > 0 else float("inf")


async def sample_rows(
    model: Path, config: RunConfig, *, tasks_per_type: int, seed: int
) -> list[Trajectory]:
    """`selfplay.attempts` graded attempts at each of the generator's tasks, in random order.

    Raises what engine and jail raise.
    """
    async with (
        SandboxPool.open(config.sandbox) as sandbox,
        VllmReplica.open(str(model), config, name="gradients", version=0) as replica,
    ):
        tasks = await _tasks(sandbox, config, count=tasks_per_type, seed=seed)

        async def attempts(task: Task) -> list[Trajectory]:
            request = SamplingRequest(
                prompt=family_of(config.prompts).solve(task),
                max_tokens=config.prompts.max_response_tokens,
                stop=config.prompts.stop,
                seed=None,
            )
            completions = await replica.sample([request] * config.selfplay.attempts)
            grades = [
                await judge_attempt(task, completion, sandbox=sandbox, config=config)
                for completion in completions
            ]
            return list(map(_row, itertools.repeat(task), completions, grades))

        return list(itertools.chain.from_iterable(await concurrently(attempts, tasks)))


async def _tasks(sandbox: Sandbox, config: RunConfig, *, count: int, seed: int) -> list[Task]:
    tasks: list[Task] = []
    for task_type in MAIN_TYPES:
        for proposal, _ in draw_seed_tasks(
            task_type, count=count, seed=seed, num_pairs=config.selfplay.induction_pairs
        ):
            outcomes = await sandbox.run(proposal.program, proposal.arguments)
            draft = task_from(task_type, proposal, outcomes)
            if isinstance(draft, TaskDraft):
                tasks.append(draft.with_id(len(tasks) + 1))
    random.Random(seed).shuffle(tasks)  # noqa: S311
    return tasks


def _row(task: Task, completion: Completion, grade: Grade) -> Trajectory:
    return Trajectory(
        rollout_id=0,
        cell=Cell(Role.SOLVE, task.task_type),
        prompt_token_ids=completion.prompt_token_ids,
        token_ids=completion.token_ids,
        behaviour_logprobs=completion.behaviour_logprobs,
        reward=solver_reward(grade.judgement),
        staleness=0,
        group=task.task_id,
    )


def agreements(
    model: Path, config: RunConfig, rows: Sequence[Trajectory], *, batches: int
) -> list[Agreement]:
    """How well the gradients of `batches` equal parts of the rows agree, for each baseline."""
    config = config.model_copy(
        update={"learner": config.learner.model_copy(update={"loss": "cispo"})}
    )  # on-policy every objective has this gradient; dppo_tv adds a pull
    trainer = Trainer(policy=policies.load(model, config.learner), config=config)
    size = len(rows) // batches
    whole = Batch(batch_id=1, version=0, trajectories=tuple(rows))
    found = []
    for baseline in get_args(Baseline.__value__):
        advantages = normalise(whole, whitening=config.learner.whitening, baseline=baseline)
        parts = [slice(start * size, (start + 1) * size) for start in range(batches)]
        gradients = [_gradient(trainer, rows[part], advantages[part]) for part in parts]
        scale = torch.stack(gradients).square().mean(0).sqrt().clamp(min=SMALLEST_RMS)
        found.append(
            Agreement(
                baseline=baseline,
                raw=mean_cosine(gradients),
                rescaled=mean_cosine([gradient / scale for gradient in gradients]),
                batch_rows=size,
            )
        )
    return found


def mean_cosine(vectors: Sequence[Tensor]) -> float:
    """Over all pairs."""
    # In float32 the sum over millions of coordinates is off in the fourth digit.
    units = [vector.double() / vector.double().norm() for vector in vectors]
    return statistics.fmean(float(a @ b) for a, b in itertools.combinations(units, 2))


def _gradient(trainer: Trainer, rows: Sequence[Trajectory], advantages: Sequence[float]) -> Tensor:
    """All parameters' gradient, flat."""
    learner = trainer.config.learner
    batch = Batch(batch_id=1, version=0, trajectories=tuple(rows))
    weights = packing.row_weights(
        batch, mean=learner.loss_mean, mean_rows=learner.mean_rows, propose_weight=1.0
    )
    trainer.optimizer.zero_grad(set_to_none=False)
    for micro_batch in packing.micro_batches(
        batch, advantages, weights, budget_tokens=learner.micro_batch_tokens
    ):
        trainer.backward(micro_batch.to(trainer.policy.device))
    return torch.cat(list(_flat(trainer)))


def _flat(trainer: Trainer) -> Iterator[Tensor]:
    for parameter in trainer.policy.model.parameters():
        if parameter.grad is not None:
            yield parameter.grad.detach().flatten().clone()
