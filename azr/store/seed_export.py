"""A run's tasks in the form of a seed file (`azr.seed_files`)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import sqlalchemy as sa

from azr.raised import shown_output
from azr.seed_files import file_row
from azr.store.history import History
from azr.store.models import TaskRow
from azr.store.states import Origin
from azr.types import Proposal, TaskType, Value

ROWS_PER_FETCH = 500


def export_rows(history: History, task_type: TaskType, *, seeds_only: bool) -> Iterator[str]:
    """A run's tasks of one type as lines of a seed file, in buffer order."""
    query = (
        sa.select(TaskRow.program, TaskRow.examples, TaskRow.message)
        .where(TaskRow.run_id == history.run_id, TaskRow.task_type == task_type)
        .order_by(TaskRow.ordinal)
        .execution_options(yield_per=ROWS_PER_FETCH)
    )
    if seeds_only:
        query = query.where(TaskRow.origin == Origin.SEED)
    for program, examples, message in history.connection.execute(query):
        arguments = tuple(arguments for arguments, _ in examples)
        task = Proposal(program=program, arguments=arguments, message=message)
        outputs = [_shown(task_type, canonical) for _, canonical in examples]
        yield json.dumps(file_row(task, outputs, task_type), ensure_ascii=False)


def _shown(task_type: TaskType, canonical: str) -> str:
    """A stored output as text; its canonical text where it has no literal."""
    try:
        return shown_output(task_type, Value(canonical))
    except ValueError:
        return canonical
