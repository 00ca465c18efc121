"""The store the actors are handed: `azr.ports.Store` over one SQLite file.

Every method is one transaction on the writer thread or one read on a reader, both
shielded: a cancelled caller finds its transaction done, never half done and never
holding a connection. It works in any thread's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Concatenate

import anyio
import sqlalchemy as sa
from anyio.lowlevel import checkpoint_if_cancelled
from anyio.to_thread import run_sync

from azr.config import RunConfig
from azr.store import admissions, batches, events, judgements, leases, recovery, rollouts, tasks
from azr.store.context import RunContext
from azr.store.engine import database_path
from azr.store.migrate import upgrade
from azr.store.reader import Reader
from azr.store.writer import Job, Writer
from azr.types import (
    Admission,
    Batch,
    Cell,
    Completion,
    Judgement,
    Measurement,
    PolicyVersion,
    Rejection,
    ReplicaProof,
    Rollout,
    StepResult,
    TaskDraft,
    TaskType,
)

type RunJob[**P, T] = Callable[Concatenate[sa.Connection, RunContext, P], T]
"""A function of the store's modules: a connection, the run, and its own arguments."""


class SqlStore:
    """Queues, buffers and history of one run. Open it with `SqlStore.open`."""

    def __init__(self, writer: Writer, reader: Reader, run: RunContext) -> None:
        self._writer = writer
        self._reader = reader
        self._run = run

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, run: RunConfig, clock: Callable[[], float] = time.time
    ) -> AsyncGenerator[SqlStore]:
        """Open `sqlite:///PATH`: migrate it, then continue its run or begin one.

        Raises StoreError or RunDirectoryError for what cannot be a store.
        """
        path = database_path(url)
        writer = Writer(path)
        try:
            await _shielded(writer.submit(upgrade, durable=True))
            context = await _shielded(
                writer.submit(lambda connection: recovery.open_run(connection, run, clock))
            )
            reader = Reader(path)
            try:
                yield cls(writer, reader, context)
            finally:
                await _close(reader.close)
        finally:
            await _close(writer.close)

    # Work for the engine

    async def admit_proposals(
        self,
        task_type: TaskType,
        *,
        owner: str,
        at_most: int,
        outstanding_limit: int,
        version: PolicyVersion,
    ) -> list[Admission]:
        return await self._write(
            admissions.admit_proposals,
            task_type,
            owner=owner,
            at_most=at_most,
            outstanding_limit=outstanding_limit,
            version=version,
        )

    async def lease_attempts(self, *, owner: str, at_most: int) -> list[Admission]:
        return await self._write(admissions.lease_attempts, owner=owner, at_most=at_most)

    async def put_rollout(self, admission: Admission, completion: Completion) -> int:
        return await self._write(rollouts.put, admission, completion)

    async def put_seed_rollout(
        self,
        completion: Completion,
        task_type: TaskType,
        judgement: Judgement,
        verdict: str = "",
    ) -> int:
        """Record a seeding proposal as DROPPED (seeding). It has no admission."""
        return await self._write(rollouts.put_seed, completion, task_type, judgement, verdict)

    # Work for the examiners

    async def lease_rollouts(self, *, owner: str, at_most: int) -> list[Rollout]:
        return await self._write(rollouts.lease, owner=owner, at_most=at_most)

    async def reject_proposal(
        self, rollout_id: int, judgement: Judgement, rejection: Rejection | None, reward: float
    ) -> None:
        await self._write(judgements.reject_proposal, rollout_id, judgement, rejection, reward)

    async def accept_proposal(self, rollout_id: int, draft: TaskDraft) -> bool:
        return await self._write(judgements.accept_proposal, rollout_id, draft)

    async def judge_attempt(
        self, rollout_id: int, judgement: Judgement, *, verdict: str, reward: float, solved: bool
    ) -> None:
        await self._write(
            judgements.judge_attempt,
            rollout_id,
            judgement,
            verdict=verdict,
            reward=reward,
            solved=solved,
        )

    async def measured_proposals(self, *, at_most: int) -> list[Measurement]:
        return await self._read(judgements.measured_proposals, at_most=at_most)

    async def settle_proposal(self, rollout_id: int, *, solve_rate: float, reward: float) -> None:
        await self._write(
            judgements.settle_proposal, rollout_id, solve_rate=solve_rate, reward=reward
        )

    async def fail_rollout(self, rollout_id: int) -> None:
        await self._write(judgements.fail_rollout, rollout_id)

    # Work for the learner

    async def claim_batch(self, *, version: PolicyVersion) -> Batch | None:
        return await self._write(batches.claim, version=version)

    async def commit_step(
        self, batch: Batch, result: StepResult, advantages: Sequence[float]
    ) -> None:
        await self._write_durably(batches.commit, batch, result, advantages)

    async def mark_durable(self, version: PolicyVersion, path: str) -> None:
        await self._write_durably(recovery.mark_durable, version, path)

    async def latest_durable(self) -> tuple[PolicyVersion, str] | None:
        """The newest surviving checkpoint: (version, path), or None before the first."""
        return await self._read(recovery.latest_durable)

    async def learner_version(self) -> PolicyVersion:
        """The version the run is at."""
        return await self._read(admissions.learner_version)

    async def recover(self, durable_version: PolicyVersion) -> None:
        """Go back to a checkpoint: undo the steps after it and return all leases.

        Only for a run none of whose actors are alive. Raises StoreError for a
        version that is not in the surviving lineage.
        """
        await self._write_durably(recovery.recover, durable_version)

    # Records

    async def record_proof(self, proof: ReplicaProof) -> None:
        await self._write(events.record_proof, proof)

    async def record_event(self, kind: str, **facts: object) -> None:
        await self._write(events.record, kind, facts)

    async def record_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        await self._write(batches.record_metrics, step, metrics)

    # Leases and counts

    async def release(self, owner: str) -> None:
        await self._write(leases.release, owner)

    async def renew(self, owner: str) -> None:
        await self._write(leases.renew, owner)

    async def outstanding(self) -> Mapping[Cell, int]:
        return await self._read(admissions.outstanding)

    async def buffer_sizes(self) -> Mapping[TaskType, int]:
        return await self._read(tasks.buffer_sizes)

    async def add_seed_tasks(self, drafts: Sequence[TaskDraft]) -> int:
        return await self._write(tasks.add_seeds, drafts)

    async def _write[**P, T](self, job: RunJob[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._commit(self._bound(job, *args, **kwargs))

    async def _write_durably[**P, T](
        self, job: RunJob[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._commit(self._bound(job, *args, **kwargs), durable=True)

    async def _read[**P, T](self, job: RunJob[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._reader.run(self._bound(job, *args, **kwargs))

    def _bound[**P, T](self, job: RunJob[P, T], *args: P.args, **kwargs: P.kwargs) -> Job[T]:
        run = self._run
        return lambda connection: job(connection, run, *args, **kwargs)

    async def _commit[T](self, job: Job[T], *, durable: bool = False) -> T:
        await checkpoint_if_cancelled()  # a cancelled actor does not start writing
        return await _shielded(self._writer.submit(job, durable=durable))


async def _shielded[T](future: Future[T]) -> T:
    """The result of a job, waited for even by a cancelled caller."""
    result = asyncio.wrap_future(future)
    with anyio.CancelScope(shield=True):
        await asyncio.wait([result])
    return result.result()


async def _close(close: Callable[[], None]) -> None:
    with anyio.CancelScope(shield=True):
        await run_sync(close)
