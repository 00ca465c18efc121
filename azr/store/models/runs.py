"""Runs, the lives of their nodes and replicas, and the policy versions that existed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from azr.membership import NodeState, ReplicaState, RunPhase
from azr.store.base import Base
from azr.store.states import LineageState


class RunRow(Base):
    """One training run. A database may hold several; every row says whose it is."""

    __tablename__ = "runs"

    run_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(server_default="")
    """What tells the runs of one database apart; empty for the only one of a file."""
    config: Mapped[dict[str, Any]]
    """The resolved `RunConfig`, as last opened."""
    learner_version: Mapped[int]
    """The learner's current policy version."""
    lineage: Mapped[int] = mapped_column(server_default="0")
    """How often a learner went back to a checkpoint; what the present one continues."""
    phase: Mapped[RunPhase] = mapped_column(server_default=RunPhase.SEEDING.value)
    created_at: Mapped[float]

    __table_args__ = (Index("uq_runs_name", "name", unique=True),)


class LineageRow(Base):
    """A return to a checkpoint: from here on, versions above it are other weights."""

    __tablename__ = "lineage"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"), primary_key=True)
    lineage: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 1; lineage 0 begins with the run."""
    forked_at: Mapped[int]
    """The version gone back to, which both lineages have in common."""
    created_at: Mapped[float]


class NodeRow(Base):
    """One life of a node: an incarnation, which owns what it leases."""

    __tablename__ = "node"

    node_id: Mapped[str] = mapped_column(primary_key=True)
    """The owner of its leases."""
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"), index=True)
    name: Mapped[str]
    machine: Mapped[str]
    address: Mapped[str]
    pid: Mapped[int]
    duties: Mapped[list[Any]]
    state: Mapped[NodeState]
    version: Mapped[int | None]
    """The policy version that it last said it serves."""
    lineage: Mapped[int]
    started_at: Mapped[float]
    seen_at: Mapped[float]
    """Its last heartbeat."""
    ended_at: Mapped[float | None]
    reason: Mapped[str | None]
    """Why it ended or was fenced."""


class ReplicaRow(Base):
    """How a replica of a node is: the last word about it."""

    __tablename__ = "replica"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[ReplicaState]
    version: Mapped[int | None]
    """The newest that it proved."""
    lineage: Mapped[int]
    fingerprint: Mapped[str | None]
    canary_nats: Mapped[float | None]
    lag: Mapped[int | None]
    """Versions that it was behind the learner."""
    cause: Mapped[str]
    updated_at: Mapped[float]


class WriterRow(Base):
    """A process that writes, on PostgreSQL: what tells a lost commit from a lost answer."""

    __tablename__ = "writer"

    writer_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    last_transaction: Mapped[int]
    """The number of its latest committed transaction; each counts its own."""
    seen_at: Mapped[float]


class PolicyVersionRow(Base):
    """Weights that existed. Version 0 is the base model."""

    __tablename__ = "policy_version"

    policy_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    version: Mapped[int]
    state: Mapped[LineageState]
    durable: Mapped[bool]
    """A checkpoint of it is on disk, at `path`."""
    path: Mapped[str | None]
    created_at: Mapped[float]
    durable_at: Mapped[float | None]

    __table_args__ = (
        Index(
            "uq_policy_version_live",
            "run_id",
            "version",
            unique=True,
            sqlite_where=text("state = 'live'"),
            postgresql_where=text("state = 'live'"),
        ),
    )


class ReplicaProofRow(Base):
    """What a replica showed after it applied a version (fingerprint, lag-0 canary)."""

    __tablename__ = "replica_proof"

    proof_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.run_id"))
    replica: Mapped[str]
    version: Mapped[int]
    fingerprint: Mapped[str]
    canary_nats: Mapped[float | None]
    accepted: Mapped[bool]
    node_id: Mapped[str] = mapped_column(server_default="")
    lineage: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[float]
