"""Before the first step: fill the buffers from the identity triplet, once per run."""

from __future__ import annotations

from azr.config import RunConfig
from azr.judging import Fits
from azr.ports import Engine, Sandbox, Store
from azr.seeding import Seeder, SeedResult
from azr.types import (
    Admission,
    Completion,
    FormatError,
    Judgement,
    Rejection,
    TaskDraft,
    Verdict,
)


async def fill_buffers(
    store: Store, engine: Engine, sandbox: Sandbox, config: RunConfig, fits: Fits
) -> None:
    """Seed all three buffers in one transaction, unless this run has seeds already.

    A crash while seeding leaves the buffers empty, and the next start seeds anew.
    Raises ModelError if the base model cannot fill them.
    """
    if any((await store.buffer_sizes()).values()):
        return
    await store.record_event("seeding_started")

    async def record(admission: Admission, completion: Completion, result: SeedResult) -> None:
        task_type = admission.cell.task_type
        await store.put_seed_rollout(completion, task_type, *_findings(result))

    seeder = Seeder(engine=engine, sandbox=sandbox, config=config, fits=fits, on_rollout=record)
    drafts = await seeder.seed()
    added = await store.add_seed_tasks(drafts)
    await store.record_event("seeding_finished", tasks=added, rounds=seeder.rounds)


def _findings(result: SeedResult) -> tuple[Judgement, str]:
    """Judgement and verdict of a seed proposal, for the record."""
    match result:
        case TaskDraft():
            return Judgement.VALID, Verdict.OK
        case FormatError(reason):
            return Judgement.BAD_FORMAT, reason
        case Rejection(verdict):
            return Judgement.INVALID, verdict
