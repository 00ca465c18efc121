"""The task types by what they have in common, and those of the paper."""

from __future__ import annotations

from collections.abc import Collection

from azr.types import CELLS, Cell, TaskType

PAIR_TYPES = (TaskType.DEDUCTION, TaskType.ABDUCTION)
"""A program with one input, and what it returns."""
MAIN_TYPES = (*PAIR_TYPES, TaskType.INDUCTION)
"""What the paper trains on, and what a run plays unless it is told otherwise."""
MAIN_CELLS: tuple[Cell, ...] = tuple(cell for cell in CELLS if cell.task_type in MAIN_TYPES)
"""The paper's six."""


def types_shown(found: Collection[TaskType]) -> tuple[TaskType, ...]:
    """What a list by type shows: the main types, and others that there is something of."""
    return tuple(kind for kind in TaskType if kind in MAIN_TYPES or kind in found)
