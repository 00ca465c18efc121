"""What a run says about itself: metrics, events, and flags on its thoughts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from azr.store.base import Base


class MetricRow(Base):
    """One number of one metric; the history of a run is plain rows."""

    __tablename__ = "metric"

    metric_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    name: Mapped[str]
    step: Mapped[int]
    value: Mapped[float | None]
    """Empty when it was not finite."""
    live: Mapped[bool]
    """False after a rollback to an earlier step."""
    created_at: Mapped[float]

    __table_args__ = (Index(None, "run_id", "name", "step"),)


class EventRow(Base):
    """Something that happened once: a recovery, a replica refused, a restart."""

    __tablename__ = "event"

    event_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    kind: Mapped[str]
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class ThoughtFlagRow(Base):
    """A pattern that was found in a rollout's thoughts or proposal, or a high score."""

    __tablename__ = "thought_flag"

    flag_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollout.rollout_id"))
    pattern: Mapped[str]
    part: Mapped[str]
    """`think` or `answer`."""
    num_matches: Mapped[int]
    excerpt: Mapped[str]
    """Around the first match."""
    score: Mapped[float | None]
    """Of a model; empty for patterns."""
    created_at: Mapped[float]

    __table_args__ = (
        UniqueConstraint("rollout_id", "pattern", "part"),
        Index(None, "run_id", "pattern"),
    )
