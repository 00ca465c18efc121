"""Before the first step: fill the buffers, once per run.

From the identity triplet by the model itself or, with `selfplay.seed_file`, from a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from azr.config import RunConfig
from azr.error_seeds import error_seeds
from azr.errors import ConfigError
from azr.judging import Fits
from azr.monitor import monitor_of
from azr.ports import Engine, Sandbox, Store
from azr.prompts import family_of
from azr.quota import played_types
from azr.seed_files import Refusal, SeedRow, Validated, read_seeds, validate
from azr.seeding import Seeder, SeedResult, tasks_per_buffer
from azr.task_types import MAIN_TYPES, PAIR_TYPES
from azr.types import (
    Admission,
    Completion,
    FormatError,
    Judgement,
    Rejection,
    TaskDraft,
    TaskType,
    Verdict,
)

ROWS_AT_ONCE = 250
"""Rows of a seed file that wait for a jail together; then progress is recorded."""


async def fill_buffers(
    store: Store, engine: Engine, sandbox: Sandbox, config: RunConfig, fits: Fits
) -> None:
    """Seed the played buffers in one transaction, unless this run has seeds already.

    A crash while seeding leaves the buffers empty, and the next start seeds anew.
    Raises ModelError if the base model cannot fill them, ConfigError if the file cannot.
    """
    sizes = await store.buffer_sizes()
    if any(sizes.values()):
        _require_errors(config, sizes)
        return
    if config.selfplay.seed_file:
        await _fill_from_file(store, sandbox, config, fits)
        return
    await store.record_event("seeding_started")

    async def record(admission: Admission, completion: Completion, result: SeedResult) -> None:
        task_type = admission.cell.task_type
        rollout_id = await store.put_seed_rollout(completion, task_type, *_findings(result))
        flags = monitor_of(config.monitor).flags(completion.text, admission.cell.role)
        if flags:
            await store.flag_thoughts(rollout_id, flags)

    seeder = Seeder(engine=engine, sandbox=sandbox, config=config, fits=fits, on_rollout=record)
    drafts = await seeder.seed()
    added = await store.add_seed_tasks(drafts)
    await store.record_event("seeding_finished", tasks=added, rounds=seeder.rounds)


async def _fill_from_file(store: Store, sandbox: Sandbox, config: RunConfig, fits: Fits) -> None:
    path = Path(config.selfplay.seed_file)
    rows = await run_sync(read_seeds, path, played_types(config))
    await store.record_event("seed_file_opened", file=str(path), rows=len(rows))
    drafts: list[TaskDraft] = []
    refusals: list[Refusal] = []
    played = played_types(config)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        for result in await _validated(part, sandbox, config, fits):
            if isinstance(result, Validated):
                drafts += result.drafts
            else:
                refusals.append(result)
        await store.record_event("seed_file_progress", validated=start + len(part), rows=len(rows))
    if TaskType.ERROR in played and all(each.task_type in MAIN_TYPES for each in drafts):
        drafts += await _errors_of(drafts, sandbox, config, fits)
    drafts = [draft for draft in drafts if draft.task_type in played]
    _require_every_type(path, config, drafts, refusals)
    added = await store.add_seed_tasks(drafts)
    await store.record_event("seed_file_finished", tasks=added, refused=len(refusals))


async def _validated(
    rows: Sequence[SeedRow], sandbox: Sandbox, config: RunConfig, fits: Fits
) -> list[Validated | Refusal]:
    """All rows at once: the jails take them as they are free. In row order."""
    found: dict[int, Validated | Refusal] = {}
    types = played_types(config)
    if TaskType.ERROR in types and not set(types) & set(PAIR_TYPES):
        types += (TaskType.DEDUCTION,)  # error tasks are made of them
    examine = partial(
        validate,
        task_types=types,
        sandbox=sandbox,
        fits=fits,
        family=family_of(config.prompts),
        compare=False,
    )

    async def one(row: SeedRow) -> None:
        found[row.line] = await examine(row)

    async with anyio.create_task_group() as jobs:
        for row in rows:
            jobs.start_soon(one, row)
    return [found[row.line] for row in rows]


async def _errors_of(
    drafts: Sequence[TaskDraft], sandbox: Sandbox, config: RunConfig, fits: Fits
) -> list[TaskDraft]:
    """Error tasks of the programs of a file that has none itself."""
    one_each = {(draft.program, draft.examples): draft
                for draft in drafts if draft.task_type in PAIR_TYPES}  # fmt: skip
    return await error_seeds(
        list(one_each.values()),
        count=tasks_per_buffer(config),
        sandbox=sandbox,
        family=family_of(config.prompts),
        fits=fits,
        play=config.selfplay,
    )


def _require_errors(config: RunConfig, sizes: Mapping[TaskType, int]) -> None:
    """Raise ConfigError for a run that began without error tasks: solvers would have none."""
    if TaskType.ERROR in played_types(config) and not sizes.get(TaskType.ERROR):
        raise ConfigError(
            "selfplay.task_types has `error`, but this run began without error tasks",
            hint="Begin a new run, or bring some: `azr tasks import FILE` takes rows with `error`.",
        )


def _require_every_type(
    path: Path, config: RunConfig, drafts: Sequence[TaskDraft], refusals: Sequence[Refusal]
) -> None:
    """Raise ConfigError if a played type got no task: its solvers would wait for ever."""
    for task_type in played_types(config):
        if not any(draft.task_type is task_type for draft in drafts):
            first = f"; line {refusals[0].line}: {refusals[0].reason}" if refusals else ""
            raise ConfigError(
                f"no row of {path} became a valid {task_type} task{first}",
                hint="`azr tasks import` names what is wrong with each row.",
            )


def _findings(result: SeedResult) -> tuple[Judgement, str]:
    """Judgement and verdict of a seed proposal, for the record."""
    match result:
        case TaskDraft():
            return Judgement.VALID, Verdict.OK
        case FormatError(reason):
            return Judgement.BAD_FORMAT, reason
        case Rejection(verdict):
            return Judgement.INVALID, verdict
