"""What every table has in common: column types and the names of constraints."""

from __future__ import annotations

import enum
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Enum, Float, Integer, LargeBinary, MetaData
from sqlalchemy.orm import DeclarativeBase

from azr.membership import NodeState, ReplicaState, RunPhase
from azr.store.plain_text import PlainText
from azr.store.states import AdmissionState, BatchState, LineageState, Origin, RolloutState
from azr.types import DropReason, FinishReason, Judgement, Purpose, Role, TaskType

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name, so that a migration can drop what another created."""


def _words(kind: type[enum.Enum], *, checked: bool = True) -> Enum:
    """An enumeration stored as its words, readable in plain SQL."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=checked,
        length=16,
        name=kind.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = (
        {
            int: BigInteger().with_variant(Integer, "sqlite"),
            float: Float(53),
            str: PlainText(),
            bytes: LargeBinary(),
            dict[str, Any]: JSON(none_as_null=True),
            list[Any]: JSON(none_as_null=True),
        }
        | {
            kind: _words(kind)
            for kind in (
                Role,
                TaskType,
                Purpose,
                Judgement,
                DropReason,
                FinishReason,
                Origin,
                AdmissionState,
                RolloutState,
                BatchState,
                LineageState,
                NodeState,
                ReplicaState,
            )
        }
        | {
            # SQLite adds no constraint to a table that is there already.
            RunPhase: _words(RunPhase, checked=False)
        }
    )
