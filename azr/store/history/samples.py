"""What a policy wrote as it learned: lengths of all its rollouts, and samples to read.

Policy versions are put together to intervals of equal width, so that the answers have one
size whatever the length of the run. Lengths are sums that the database makes. What has to be
read and parsed is sampled: so many rollouts of each cell and interval, by a hash of the
rollout's id, so that the same seed gives the same rollouts, from either database, and goes
on giving them in intervals that are over. Seeding rollouts do not count.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

import sqlalchemy as sa

from azr.store.history import History
from azr.store.history.trained import shown_tasks
from azr.store.models import RolloutPayloadRow, RolloutRow, RunRow, TaskRow
from azr.store.tasks import load
from azr.types import Cell, FinishReason, Judgement, PolicyVersion, Purpose, Role, Task

ROLLOUTS_PER_QUERY = 200
PRIME = 2**31 - 1
"""Of the hash (a * id + b) mod PRIME (Carter and Wegman 1979); its products fit 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthPoint:
    """Response lengths of one cell over an interval of policy versions, in tokens."""

    first_version: PolicyVersion
    cell: Cell
    num_rollouts: int
    mean_tokens: float
    max_tokens: int
    truncated_share: float
    """Cut off at the length limit."""
    mean_tokens_solved: float | None
    """Solve: of attempts that solved their task; None if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A rollout of a sample."""

    rollout_id: int
    admission_id: int
    cell: Cell
    first_version: PolicyVersion
    """Of its interval."""
    out_of: int
    """Rollouts of its cell and interval that it was drawn from."""


@dataclass(frozen=True, slots=True)
class SampledProposal:
    """A valid proposal, with what its proposer was shown."""

    rollout: Sampled
    task: Task
    references: tuple[Task, ...]


def versions_per_point(history: History, *, at_most: int) -> int:
    """The width that divides the run so far into at most so many intervals."""
    newest = sa.select(RunRow.learner_version).where(RunRow.run_id == history.run_id)
    num_versions = (history.connection.execute(newest).scalar() or 0) + 1
    return -(-num_versions // at_most)


def lengths(history: History, *, width: int) -> list[LengthPoint]:
    """Of every rollout, by the version that finished it; `width` versions to a point."""
    interval = _interval(width)
    cut = sa.case((RolloutRow.finish_reason == FinishReason.LENGTH, 1.0), else_=0.0)
    of_solved = sa.case((RolloutRow.solved.is_(True), RolloutRow.num_tokens))
    query = (
        sa.select(
            interval,
            RolloutRow.role,
            RolloutRow.task_type,
            sa.func.count(),
            sa.func.avg(RolloutRow.num_tokens),
            sa.func.max(RolloutRow.num_tokens),
            sa.func.avg(cut),
            sa.func.avg(of_solved),
        )
        .where(RolloutRow.run_id == history.run_id, RolloutRow.purpose != Purpose.SEED)
        .group_by(interval, RolloutRow.role, RolloutRow.task_type)
        .order_by(interval, RolloutRow.role, RolloutRow.task_type)
    )
    return [
        LengthPoint(
            first_version=index * width,
            cell=Cell(role, task_type),
            num_rollouts=count,
            mean_tokens=float(tokens),
            max_tokens=longest,
            truncated_share=float(truncated),
            mean_tokens_solved=None if solved is None else float(solved),
        )
        for index, role, task_type, count, tokens, longest, truncated, solved
        in history.connection.execute(query)
    ]  # fmt: skip


def sample_responses(history: History, *, width: int, per_cell: int, seed: int) -> list[Sampled]:
    """Judged rollouts: `per_cell` of each cell and interval, or as many as there are."""
    return _sample(history, [RolloutRow.judgement.is_not(None)], width, per_cell, seed)


def sample_proposals(history: History, *, width: int, per_cell: int, seed: int) -> list[Sampled]:
    """Valid proposals, in the same way."""
    valid = [RolloutRow.role == Role.PROPOSE, RolloutRow.judgement == Judgement.VALID]
    return _sample(history, valid, width, per_cell, seed)


def responses(history: History, sample: Iterable[Sampled]) -> Iterator[tuple[Sampled, str]]:
    """The rollouts with their texts, a few at a time."""
    for some in batched(sample, ROLLOUTS_PER_QUERY):
        query = sa.select(RolloutPayloadRow.rollout_id, RolloutPayloadRow.text).where(
            RolloutPayloadRow.rollout_id.in_([each.rollout_id for each in some])
        )
        texts = {row.rollout_id: row.text for row in history.connection.execute(query)}
        yield from ((each, texts[each.rollout_id]) for each in some if each.rollout_id in texts)


def proposals(history: History, sample: Iterable[Sampled]) -> Iterator[SampledProposal]:
    """The proposals with their tasks and references, a few at a time."""
    for some in batched(sample, ROLLOUTS_PER_QUERY):
        query = sa.select(TaskRow.proposal_id, TaskRow.task_id).where(
            TaskRow.proposal_id.in_([each.rollout_id for each in some])
        )
        made = {row.proposal_id: row.task_id for row in history.connection.execute(query)}
        shown = shown_tasks(history, [each.admission_id for each in some])
        tasks = load(history.connection, _all_ids(made, shown))
        for each in some:
            if each.rollout_id in made:
                references = tuple(tasks[task_id] for task_id in shown.get(each.admission_id, ()))
                yield SampledProposal(each, tasks[made[each.rollout_id]], references)


def _all_ids(made: Mapping[int, int], shown: Mapping[int, Sequence[int]]) -> set[int]:
    return {*made.values(), *(task_id for ids in shown.values() for task_id in ids)}


def _sample(
    history: History,
    conditions: Sequence[sa.ColumnElement[bool]],
    width: int,
    per_cell: int,
    seed: int,
) -> list[Sampled]:
    interval = _interval(width).label("interval")
    group = [interval, RolloutRow.role, RolloutRow.task_type]
    order = [_hash(seed), RolloutRow.rollout_id]
    drawn = (
        sa.select(
            RolloutRow.rollout_id,
            RolloutRow.admission_id,
            *group,
            sa.func.row_number().over(partition_by=group, order_by=order).label("place"),
            sa.func.count().over(partition_by=group).label("out_of"),
        )
        .where(
            RolloutRow.run_id == history.run_id,
            RolloutRow.purpose != Purpose.SEED,
            RolloutRow.admission_id.is_not(None),
            *conditions,
        )
        .subquery()
    )
    columns = drawn.c
    query = (
        sa.select(drawn)
        .where(columns.place <= per_cell)
        .order_by(columns.interval, columns.role, columns.task_type, columns.place)
    )
    return [
        Sampled(
            rollout_id=row.rollout_id,
            admission_id=row.admission_id,
            cell=Cell(row.role, row.task_type),
            first_version=row.interval * width,
            out_of=row.out_of,
        )
        for row in history.connection.execute(query)
    ]


def _interval(width: int) -> sa.ColumnElement[Any]:
    """Number of the interval in which a rollout was finished, from 0."""
    return RolloutRow.newest_version // sa.literal_column(str(width), sa.Integer)


def _hash(seed: int) -> sa.ColumnElement[Any]:
    """A number of each rollout that looks random, the same in every database."""
    rng = random.Random(seed)  # noqa: S311 -- a sample, no secret
    factor, offset = rng.randrange(1, PRIME), rng.randrange(PRIME)
    return (RolloutRow.rollout_id % PRIME * factor + offset) % PRIME
