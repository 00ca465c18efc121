"""Validated tasks, and what makes their buffers quick to draw from and to count."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from azr.store.base import Base
from azr.store.states import Origin
from azr.types import TaskType


class TaskRow(Base):
    """A validated task: work for solvers, and a reference for proposers."""

    __tablename__ = "task"

    task_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    task_type: Mapped[TaskType]
    ordinal: Mapped[int]
    """Position in its buffer, dense from 0: what uniform draws index."""
    origin: Mapped[Origin]
    proposal_id: Mapped[int | None] = mapped_column(
        ForeignKey("rollout.rollout_id", use_alter=True), unique=True
    )
    """The rollout that proposed it; empty for seeds."""
    program: Mapped[str]
    examples: Mapped[list[Any]]
    """[[arguments, canonical output], ...]."""
    message: Mapped[str]
    content_hash: Mapped[str] = mapped_column(String(32))
    """Of program and inputs: what makes a proposal a duplicate."""
    visible_from: Mapped[int]
    """First policy version that may see it as a reference."""
    num_attempts: Mapped[int]
    num_solved: Mapped[int]
    created_at: Mapped[float]

    __table_args__ = (
        UniqueConstraint("run_id", "task_type", "ordinal"),
        Index(None, "run_id", "task_type", "visible_from", "ordinal"),
        Index(None, "run_id", "task_type", "content_hash"),
    )


class TaskBlockRow(Base):
    """The tasks of a buffer that become visible together: what makes draws fast."""

    __tablename__ = "task_block"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"), primary_key=True)
    task_type: Mapped[TaskType] = mapped_column(primary_key=True)
    visible_from: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    num_before: Mapped[int]
    """Tasks of the buffer that are visible earlier."""
    num_tasks: Mapped[int]
    first_ordinal: Mapped[int]
    last_ordinal: Mapped[int]

    __table_args__ = (Index(None, "run_id", "task_type", "num_before"),)


class TaskTextRow(Base):
    """An input or output of a task, by its hash: how often texts occur in a buffer."""

    __tablename__ = "task_text"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"), primary_key=True)
    task_type: Mapped[TaskType] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    """`input` or `output`."""
    digest: Mapped[str] = mapped_column(String(32), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Of the task in its buffer."""
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Of the example in the task."""


class ReservoirSlotRow(Base):
    """Which task took over which slot of a reservoir buffer, since which version."""

    __tablename__ = "reservoir_slot"

    task_id: Mapped[int] = mapped_column(ForeignKey("task.task_id"), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    task_type: Mapped[TaskType]
    slot: Mapped[int]
    visible_from: Mapped[int]

    __table_args__ = (Index(None, "run_id", "task_type", "slot", "visible_from", "task_id"),)
