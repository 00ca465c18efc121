"""The store the actors are handed: `azr.ports.Store` over an SQLite or PostgreSQL database.

Every method is one transaction on the writer thread or one read on a reader, both
shielded: a cancelled caller finds its transaction done, never half done and never
holding a connection. It works in any thread's event loop.

Each method says how it writes (`azr.store.engine.Needs`): *in order* if it counts
rows and acts on the count, *freely* if it touches only rows that are its caller's
own, and what it is news of to actors that wait in other processes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import anyio
from anyio.to_thread import run_sync

from azr.config import RunConfig
from azr.membership import ReplicaProof
from azr.monitor import ThoughtFlag
from azr.store import (
    admissions,
    batches,
    events,
    forks,
    judgements,
    leases,
    orders,
    recovery,
    rollouts,
    tasks,
    thoughts,
)
from azr.store.answers import shielded
from azr.store.engine import Durability, Needs, open_database
from azr.store.membership_store import MembershipStore
from azr.store.migrate import upgrade
from azr.store.news import News
from azr.store.reader import Reader
from azr.store.writer import Writer
from azr.types import (
    Admission,
    Batch,
    Cell,
    Completion,
    Judgement,
    Lineage,
    Measurement,
    PolicyVersion,
    Rejection,
    Rollout,
    StepResult,
    TaskDraft,
    TaskType,
)

_PLAIN = Needs()
_RELAXED = Needs(durability=Durability.RELAXED)
_DURABLE = Needs(durability=Durability.DURABLE)
_SEEDED = Needs(news=frozenset({News.CAPACITY}))
_SAMPLED = Needs(news=frozenset({News.GENERATED}))
_ACCEPTED = Needs(news=frozenset({News.ATTEMPTS}))
_JUDGED = Needs(news=frozenset({News.ATTEMPTS, News.READY}))
_FINAL = Needs(news=frozenset({News.READY}))
_STEPPED = Needs(durability=Durability.DURABLE, news=frozenset({News.CAPACITY}))
_RETURNED = Needs(news=frozenset(News))
_RECOVERED = Needs(durability=Durability.DURABLE, alone=True, news=frozenset(News))


class SqlStore(MembershipStore):
    """Queues, buffers and history of one run. Open it with `SqlStore.open`."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        run: RunConfig,
        clock: Callable[[], float] | None = None,
    ) -> AsyncGenerator[SqlStore]:
        """Open `sqlite:///PATH` or `postgresql://...`: migrate it, then continue a run.

        The run is the one named `store.run_name`, begun if there is none; without a
        name it is the latest. Leases are measured with `clock`, by default the database's.
        Raises StoreError or RunDirectoryError for what cannot be a store.
        """
        outage_seconds = run.store.outage_seconds
        database = open_database(url, outage_seconds=outage_seconds)
        writer = Writer(database)
        try:
            plain = Needs(durability=Durability.DURABLE, traceable=False)
            await shielded(writer.submit(upgrade, plain))
            context = await shielded(
                writer.submit(
                    lambda connection: recovery.open_run(connection, run, clock or writer.now),
                    Needs(durability=Durability.DURABLE),
                )
            )
            reader = Reader(database, outage_seconds=outage_seconds)
            try:
                yield cls(database, writer, reader, context)
            finally:
                await _close(reader.close)
        finally:
            await _close(writer.close)

    async def news(self) -> AsyncGenerator[frozenset[News]]:
        """What other processes of this run commit, for as long as it is iterated.

        A hint to look again: one may be lost, and none comes on SQLite, where this
        ends at once.
        """
        heard = self._database.listen(self.run_id, ignoring=self._writer.writer_id)
        async with aclosing(heard):
            async for news in heard:
                yield news

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
        return await self._in_order(
            _PLAIN,
            admissions.admit_proposals,
            task_type,
            owner=owner,
            at_most=at_most,
            outstanding_limit=outstanding_limit,
            version=version,
        )

    async def order_replays(
        self, task_type: TaskType, *, outstanding_limit: int, version: PolicyVersion
    ) -> int:
        return await self._in_order(
            _ACCEPTED,
            orders.order_replays,
            task_type,
            outstanding_limit=outstanding_limit,
            version=version,
        )

    async def lease_attempts(self, *, owner: str, at_most: int) -> list[Admission]:
        return await self._freely(_RELAXED, admissions.lease_attempts, owner=owner, at_most=at_most)

    async def put_rollout(self, admission: Admission, completion: Completion) -> int:
        return await self._freely(_SAMPLED, rollouts.put, admission, completion)

    async def put_seed_rollout(
        self,
        completion: Completion,
        task_type: TaskType,
        judgement: Judgement,
        verdict: str = "",
    ) -> int:
        """Record a seeding proposal as DROPPED (seeding). It has no admission."""
        return await self._freely(
            _PLAIN, rollouts.put_seed, completion, task_type, judgement, verdict
        )

    # Work for the examiners

    async def lease_rollouts(self, *, owner: str, at_most: int) -> list[Rollout]:
        return await self._freely(_RELAXED, rollouts.lease, owner=owner, at_most=at_most)

    async def reject_proposal(
        self, rollout_id: int, judgement: Judgement, rejection: Rejection | None, reward: float
    ) -> None:
        await self._in_order(
            _JUDGED, judgements.reject_proposal, rollout_id, judgement, rejection, reward
        )

    async def accept_proposal(self, rollout_id: int, draft: TaskDraft) -> bool:
        return await self._in_order(_ACCEPTED, judgements.accept_proposal, rollout_id, draft)

    async def judge_attempt(
        self, rollout_id: int, judgement: Judgement, *, verdict: str, reward: float, solved: bool
    ) -> None:
        await self._in_order(
            _FINAL,
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
        await self._in_order(
            _FINAL, judgements.settle_proposal, rollout_id, solve_rate=solve_rate, reward=reward
        )

    async def fail_rollout(self, rollout_id: int) -> None:
        await self._in_order(_RETURNED, judgements.fail_rollout, rollout_id)

    # Work for the learner

    async def claim_batch(self, *, version: PolicyVersion) -> Batch | None:
        return await self._in_order(_PLAIN, batches.claim, version=version)

    async def commit_step(
        self, batch: Batch, result: StepResult, advantages: Sequence[float]
    ) -> None:
        await self._in_order(_STEPPED, batches.commit, batch, result, advantages)

    async def mark_durable(self, version: PolicyVersion, path: str) -> None:
        await self._in_order(_DURABLE, recovery.mark_durable, version, path)

    async def latest_durable(self) -> tuple[PolicyVersion, str] | None:
        """The newest surviving checkpoint: (version, path), or None before the first."""
        return await self._read(recovery.latest_durable)

    async def learner_version(self) -> PolicyVersion:
        """The version the run is at."""
        return await self._read(admissions.learner_version)

    async def learner_position(self) -> tuple[PolicyVersion, Lineage]:
        """The version the run is at, and the lineage which that is of."""
        return await self._read(forks.position)

    async def recover(
        self, durable_version: PolicyVersion, owners_gone: Collection[str] | None = None
    ) -> Lineage:
        """Go back to a checkpoint: undo the steps after it, and begin a lineage.

        From now on this store is the learner's: others that claim, commit or mark get a
        FencedError. Returns the leases of `owners_gone`. None means that nobody of the
        run is alive: all leases return, and what is put here is of this lineage at least.
        Raises StoreError for a version that is not in the surviving lineage.
        """
        lineage = await self._in_order(_RECOVERED, recovery.recover, durable_version, owners_gone)
        oldest = lineage if owners_gone is None else self._run.oldest_lineage
        self._run = replace(self._run, lineage=lineage, oldest_lineage=oldest)
        return lineage

    # Records

    async def record_proof(self, proof: ReplicaProof) -> None:
        await self._freely(_PLAIN, events.record_proof, proof)

    async def record_event(self, kind: str, **facts: object) -> None:
        await self._freely(_PLAIN, events.record, kind, facts)

    async def flag_thoughts(self, rollout_id: int, flags: Sequence[ThoughtFlag]) -> None:
        await self._freely(_PLAIN, thoughts.flag, rollout_id, flags)

    async def record_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        await self._freely(_RELAXED, batches.record_metrics, step, metrics)

    async def largest_metric(self, name: str) -> float | None:
        """The largest value that a metric ever had, undone steps included."""
        return await self._read(batches.largest_metric, name)

    # Leases and counts

    async def release(self, owner: str) -> None:
        await self._freely(_RETURNED, leases.release, owner)

    async def renew(self, owner: str) -> None:
        await self._freely(_RELAXED, leases.renew, owner)

    async def outstanding(self) -> Mapping[Cell, int]:
        return await self._read(admissions.outstanding)

    async def buffer_sizes(self) -> Mapping[TaskType, int]:
        return await self._read(tasks.buffer_sizes)

    async def add_seed_tasks(self, drafts: Sequence[TaskDraft]) -> int:
        return await self._in_order(_SEEDED, tasks.add_seeds, drafts)


async def _close(close: Callable[[], None]) -> None:
    with anyio.CancelScope(shield=True):
        await run_sync(close)
