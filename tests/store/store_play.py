"""A run in miniature: scripted completions and judgements against a real store."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from azr.config import RunConfig
from azr.store import SqlStore
from azr.store.engine import database_path
from azr.store.sqlite import DRIVER
from azr.task_types import MAIN_TYPES
from azr.types import (
    Admission,
    Batch,
    Completion,
    Example,
    FinishReason,
    Judgement,
    Lineage,
    PolicyVersion,
    Purpose,
    Rejection,
    Role,
    Rollout,
    StepResult,
    TaskDraft,
    TaskType,
    Value,
    Verdict,
    VersionSpan,
)

OWNER = "worker"


def config(**sections: dict[str, object]) -> RunConfig:
    """Batches of two, two attempts a task, two references."""
    small: dict[str, dict[str, object]] = {
        "learner": {"batch_rollouts": 2},
        "selfplay": {"attempts": 2, "references": 2},
    }
    for name, values in sections.items():
        small[name] = small.get(name, {}) | values
    return RunConfig.model_validate(small)


def completion(
    *versions: PolicyVersion, num_tokens: int = 4, text: str = "hm", lineage: Lineage = 0
) -> Completion:
    """Tokens in one span per version, the last one longest."""
    versions = versions or (0,)
    starts = [min(index, num_tokens - 1) for index in range(len(versions))]
    ends = [*starts[1:], num_tokens]
    return Completion(
        prompt_token_ids=(7, 8, 9),
        token_ids=tuple(range(num_tokens)),
        behaviour_logprobs=tuple(-0.25 * index for index in range(num_tokens)),
        version_spans=tuple(
            VersionSpan(version, start, end, lineage)
            for version, start, end in zip(versions, starts, ends, strict=True)
        ),
        text=text,
        finish_reason=FinishReason.STOP,
    )


def draft(task_type: TaskType, number: int) -> TaskDraft:
    """Different numbers are different programs."""
    return TaskDraft(
        task_type=task_type,
        program=f"def f(x):\n    return x + {number}",
        examples=(Example("1", Value(f'["int","{number + 1}"]')),),
        message="add" if task_type is TaskType.INDUCTION else "",
    )


@dataclass
class Clock:
    """Time that moves when told to."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Player:
    """Moves rollouts through a store. Programs are numbered, so all are new."""

    store: SqlStore
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1000))

    async def seed(self, each: int = 3) -> None:
        await self.store.add_seed_tasks(
            [draft(task_type, number) for task_type in MAIN_TYPES for number in range(each)]
        )

    async def admit(
        self,
        task_type: TaskType = TaskType.DEDUCTION,
        count: int = 1,
        *,
        version: PolicyVersion = 0,
        limit: int = 1000,
        owner: str = OWNER,
    ) -> list[Admission]:
        return await self.store.admit_proposals(
            task_type, owner=owner, at_most=count, outstanding_limit=limit, version=version
        )

    async def propose(
        self,
        task_type: TaskType = TaskType.DEDUCTION,
        *,
        version: PolicyVersion = 0,
        sampled_by: Sequence[PolicyVersion] = (),
    ) -> int:
        """A GENERATED proposal."""
        [admission] = await self.admit(task_type, version=version)
        return await self.store.put_rollout(admission, completion(*(sampled_by or (version,))))

    async def accept(self, rollout_id: int, task_type: TaskType = TaskType.DEDUCTION) -> TaskDraft:
        made = draft(task_type, next(self.numbers))
        assert await self.store.accept_proposal(rollout_id, made)
        return made

    async def reject(self, rollout_id: int) -> None:
        rejection = Rejection(Verdict.TIMEOUT, "slow")
        await self.store.reject_proposal(rollout_id, Judgement.INVALID, rejection, -1.0)

    async def attempts(self, *versions: PolicyVersion, at_most: int = 100) -> list[int]:
        """Sample every open attempt."""
        leased = await self.store.lease_attempts(owner=OWNER, at_most=at_most)
        return [await self.store.put_rollout(each, completion(*versions)) for each in leased]

    async def judge(self, rollout_id: int, *, solved: bool = True) -> None:
        await self.store.judge_attempt(
            rollout_id,
            Judgement.CORRECT if solved else Judgement.WRONG,
            verdict="ok",
            reward=1.0 if solved else -0.5,
            solved=solved,
        )

    async def settle(self) -> None:
        for found in await self.store.measured_proposals(at_most=1000):
            await self.store.settle_proposal(
                found.rollout_id, solve_rate=found.solve_rate, reward=1 - found.solve_rate
            )

    async def fill(self, size: int, *, version: PolicyVersion = 0) -> None:
        """Enough READY rows of every cell for one batch of `size`."""
        for task_type in MAIN_TYPES:
            for _ in range(size):
                await self.accept(await self.propose(task_type, version=version), task_type)
        for index, rollout_id in enumerate(await self.attempts(version)):
            await self.judge(rollout_id, solved=index % 2 == 0)
        await self.settle()

    async def step(self, *, version: PolicyVersion, size: int = 2) -> Batch:
        """Fill, claim and commit one batch."""
        await self.fill(size, version=version)
        batch = await self.store.claim_batch(version=version)
        assert batch is not None
        await self.commit(batch)
        return batch

    async def commit(self, batch: Batch) -> None:
        result = StepResult(
            version=batch.version + 1, loss=0.5, metrics={"loss/kl": 0.1, "bad": float("nan")}
        )
        await self.store.commit_step(batch, result, [0.5] * len(batch.trajectories))

    async def examine(self, rollout: Rollout) -> None:
        """Judge anything: proposals are valid, attempts correct."""
        if rollout.admission.cell.role is Role.PROPOSE:
            await self.accept(rollout.rollout_id, rollout.admission.cell.task_type)
        else:
            await self.judge(rollout.rollout_id)


def select(url: str, query: str, *arguments: object) -> list[tuple[Any, ...]]:
    """What plain SQL sees; `?` stands for an argument.

    SQLite with the store's own library: two libraries in one process do not see each
    other's locks, and a reader that closes would take the writer's log with it.
    """
    if url.startswith("postgresql"):
        with psycopg.connect(url) as connection:
            return connection.execute(query.replace("?", "%s").encode(), arguments).fetchall()
    connection = DRIVER.connect(database_path(url))
    try:
        return connection.execute(query, arguments).fetchall()
    finally:
        connection.close()


def one(url: str, query: str, *arguments: object) -> Any:  # noqa: ANN401 -- SQL's type
    [[value]] = select(url, query, *arguments)
    return value


def assert_accounted(url: str) -> None:
    """generated = trained + ready + claimed + dropped + in validation, each with its facts."""
    known = "('trained', 'ready', 'claimed', 'dropped', 'generated', 'judged')"
    assert not select(url, f"select * from rollout where state not in {known}")  # noqa: S608
    assert not select(
        url, "select * from rollout where (state = 'dropped') <> (drop_reason is not null)"
    )
    assert not select(
        url,
        "select * from rollout where state in ('ready', 'claimed', 'trained') and reward is null",
    )
    live = "select rollout_id from batch_row where live"
    trained = "select rollout_id from rollout where state = 'trained'"
    assert sorted(select(url, live)) == sorted(select(url, trained))
    assert not select(
        url,
        "select * from rollout join admission using (admission_id) where admission.state <> 'done'",
    )


TRAIN, MEASURE = Purpose.TRAIN, Purpose.MEASURE
