"""What the processes of a crash test do with the store, until they are killed.

Samplers lease and put, examiners lease and complete, learners claim and commit. Of
several learners, one that starts takes over from whichever was learning; that one is
fenced, and ends. Each process is a node: its next life fences the last.
The "weights" are the list of rollouts that they learned from, so that what they saw
can be compared with what the database remembers. What the store has acknowledged is
written to a journal first of all, because it must be found again.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from azr.config import RunConfig
from azr.errors import FencedError, StoreError
from azr.membership import LIVING
from azr.store.sql_store import SqlStore
from azr.task_types import MAIN_TYPES
from azr.types import (
    Completion,
    Example,
    FinishReason,
    Judgement,
    Lineage,
    PolicyVersion,
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

BATCH_ROLLOUTS = 2
OUTSTANDING_LIMIT = 8
"""Rows of a cell between admission and training."""
LEASE_SECONDS = 1.5
"""Short, so that the work of the killed returns while the test still runs."""
CHECKPOINT_EVERY = 3
IDLE_SECONDS = 0.005

CONFIG = RunConfig.model_validate(
    {
        "learner": {"batch_rollouts": BATCH_ROLLOUTS, "max_staleness": 4},
        "selfplay": {"attempts": 2, "references": 2},
        "actors": {"lease_seconds": LEASE_SECONDS},
    }
)


@dataclass(kw_only=True, eq=False)
class Player:
    """One process: a role, a store, and a journal."""

    name: str
    owner: str
    """This life of it."""
    store: SqlStore
    folder: Path
    report: int
    """A pipe: a byte for each transaction that was acknowledged."""

    def acknowledged(self, *facts: object) -> None:
        """The store has said so. A write to a file survives the death of its writer."""
        if facts:
            line = " ".join(map(str, facts)) + "\n"
            with journal(self.folder, self.name).open("a") as file:
                file.write(line)
        os.write(self.report, b".")

    async def take_over(self) -> None:
        """Fence the last life of this process, and begin the next."""
        for node in await self.store.nodes():
            if node.name == self.name and node.state in LIVING:
                await self.store.fence(node.node_id, "it was killed")
        await self.store.register_node(
            self.owner, name=self.name, machine="", address="", pid=os.getpid(), duties=()
        )

    async def sample(self) -> None:
        while True:
            version, lineage = await self.store.learner_position()
            admissions = await self.store.lease_attempts(owner=self.owner, at_most=3)
            for task_type in MAIN_TYPES:
                admissions += await self.store.admit_proposals(
                    task_type,
                    owner=self.owner,
                    at_most=2,
                    outstanding_limit=OUTSTANDING_LIMIT,
                    version=version,
                )
            for admission in admissions:
                rollout_id = await self.store.put_rollout(admission, completion(version, lineage))
                self.acknowledged("put", rollout_id, admission.admission_id)
            if not admissions:
                await anyio.sleep(IDLE_SECONDS)

    async def examine(self) -> None:
        numbers = itertools.count(random.getrandbits(60))
        while True:
            rollouts = await self.store.lease_rollouts(owner=self.owner, at_most=4)
            for rollout in rollouts:
                await self._judge(rollout, next(numbers))
                self.acknowledged()
            for found in await self.store.measured_proposals(at_most=10):
                await self.store.settle_proposal(
                    found.rollout_id, solve_rate=found.solve_rate, reward=1 - found.solve_rate
                )
                self.acknowledged()
            if not rollouts:
                await anyio.sleep(IDLE_SECONDS)

    async def _judge(self, rollout: Rollout, number: int) -> None:
        """Some of everything: failures, rejections, duplicates, tasks, attempts."""
        if rollout.rollout_id % 11 == 0:
            await self.store.fail_rollout(rollout.rollout_id)
        elif rollout.admission.cell.role is Role.SOLVE:
            solved = rollout.rollout_id % 2 == 0
            judgement = Judgement.CORRECT if solved else Judgement.WRONG
            await self.store.judge_attempt(
                rollout.rollout_id, judgement, verdict="ok", reward=float(solved), solved=solved
            )
        else:
            number = 0 if rollout.rollout_id % 7 == 0 else number
            made = draft(rollout.admission.cell.task_type, number)
            if not await self.store.accept_proposal(rollout.rollout_id, made):
                await self.store.reject_proposal(
                    rollout.rollout_id, Judgement.INVALID, Rejection(Verdict.DUPLICATE), -1.0
                )

    async def learn(self) -> None:
        """Until another learner takes over: then this one ends, to be started again."""
        with suppress(FencedError):
            await self._learn()

    async def _learn(self) -> None:
        version, weights = await self._recover()
        while True:
            batch = await self.store.claim_batch(version=version)
            if batch is None:
                await anyio.sleep(IDLE_SECONDS)
                continue
            self.acknowledged()
            weights += [row.rollout_id for row in batch.trajectories]
            result = StepResult(version=version + 1, loss=0.5, metrics={"lr": 0.1})
            await self.store.commit_step(batch, result, [0.5] * len(batch.trajectories))
            version += 1
            self.acknowledged("step", batch.batch_id, version)
            if version % CHECKPOINT_EVERY == 0:
                await self._checkpoint(version, weights)

    async def _recover(self) -> tuple[PolicyVersion, list[int]]:
        durable = await self.store.latest_durable()
        version = durable[0] if durable else 0
        await self.store.recover(version, owners_gone=())
        self.acknowledged()
        return version, read_weights(durable[1]) if durable else []

    async def _checkpoint(self, version: PolicyVersion, weights: list[int]) -> None:
        path = self.folder / f"weights-{version}-{os.getpid()}.json"
        unfinished = path.with_suffix(".tmp")
        with unfinished.open("w") as file:
            json.dump(weights, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        await self.store.mark_durable(version, str(path))
        self.acknowledged("durable", version, path)


ROLES: dict[str, Callable[[Player], Awaitable[None]]] = {
    "sampler": Player.sample,
    "examiner": Player.examine,
    "learner": Player.learn,
}
SEEDS_EACH = 3


async def play(url: str, folder: Path, name: str, report: int) -> None:
    """Open the store and do what the name's first word says, for ever."""
    async with _opened(url) as store:
        owner = f"{name}-{os.getpid()}-{random.getrandbits(32):x}"
        player = Player(name=name, owner=owner, store=store, folder=folder, report=report)
        await player.take_over()
        await ROLES[name.split("-")[0]](player)


@asynccontextmanager
async def _opened(url: str) -> AsyncGenerator[SqlStore]:
    """A store refuses at once a server that it never reached, so whoever starts while
    one is down tries again; the world notices if that never ends."""
    async with AsyncExitStack() as stack:
        while True:
            try:
                store = await stack.enter_async_context(SqlStore.open(url, run=CONFIG))
                break
            except StoreError as error:
                if "cannot be reached" not in str(error):
                    raise
                await anyio.sleep(IDLE_SECONDS)
        yield store


async def seed(url: str) -> None:
    """Make the database, its run, and its first tasks."""
    async with SqlStore.open(url, run=CONFIG) as store:
        await store.add_seed_tasks(
            [draft(task_type, number) for task_type in MAIN_TYPES for number in range(SEEDS_EACH)]
        )


def journal(folder: Path, name: str) -> Path:
    """Where a process writes what was acknowledged."""
    return folder / f"{name}.journal"


def read_weights(path: str) -> list[int]:
    return json.loads(Path(path).read_text())


def completion(version: PolicyVersion, lineage: Lineage) -> Completion:
    tokens = tuple(range(8))
    return Completion(
        prompt_token_ids=(7, 8, 9),
        token_ids=tokens,
        behaviour_logprobs=(-0.25,) * len(tokens),
        version_spans=(VersionSpan(version, 0, len(tokens), lineage),),
        text="hm",
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
