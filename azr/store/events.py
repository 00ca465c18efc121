"""What happened once: events, and what replicas proved."""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa

from azr.membership import ReplicaProof
from azr.store.codec import finite
from azr.store.context import RunContext
from azr.store.models import EventRow, ReplicaProofRow


def record(
    connection: sa.Connection, run: RunContext, kind: str, facts: Mapping[str, object]
) -> None:
    """Append an event; facts that JSON cannot hold are kept as text."""
    plain = json.loads(json.dumps(dict(facts), default=str), parse_constant=str)
    connection.execute(
        sa.insert(EventRow).values(run_id=run.run_id, kind=kind, facts=plain, created_at=run.now())
    )


def record_proof(connection: sa.Connection, run: RunContext, proof: ReplicaProof) -> None:
    """Append what a replica showed after an update."""
    connection.execute(
        sa.insert(ReplicaProofRow).values(
            run_id=run.run_id,
            replica=proof.replica,
            version=proof.version,
            fingerprint=proof.fingerprint,
            canary_nats=finite({"canary": proof.canary_nats})["canary"],
            accepted=proof.accepted,
            node_id=proof.node_id,
            lineage=proof.lineage,
            created_at=run.now(),
        )
    )
