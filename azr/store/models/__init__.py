"""The tables: what a run leaves behind, as typed columns.

Read top to bottom in the order in which a rollout meets them. What is filtered or
counted is a column; JSON holds open-ended facts only; token blobs live in a table
of their own, so that scans over the history stay small. Times are seconds since
the epoch. `azr.store.views` has the views meant for people.
"""

from azr.store.base import Base
from azr.store.models.records import (
    EventRow,
    MetricRow,
    ThoughtFlagRow,
)
from azr.store.models.rollouts import (
    AdmissionRow,
    BatchMemberRow,
    BatchRow,
    LearnerStepRow,
    ProposalReferenceRow,
    RolloutPayloadRow,
    RolloutRow,
)
from azr.store.models.runs import (
    LineageRow,
    NodeRow,
    PolicyVersionRow,
    ReplicaProofRow,
    ReplicaRow,
    RunRow,
    WriterRow,
)
from azr.store.models.tasks import (
    ReservoirSlotRow,
    TaskBlockRow,
    TaskRow,
    TaskTextRow,
)

__all__ = [
    "AdmissionRow",
    "Base",
    "BatchMemberRow",
    "BatchRow",
    "EventRow",
    "LearnerStepRow",
    "LineageRow",
    "MetricRow",
    "NodeRow",
    "PolicyVersionRow",
    "ProposalReferenceRow",
    "ReplicaProofRow",
    "ReplicaRow",
    "ReservoirSlotRow",
    "RolloutPayloadRow",
    "RolloutRow",
    "RunRow",
    "TaskBlockRow",
    "TaskRow",
    "TaskTextRow",
    "ThoughtFlagRow",
    "WriterRow",
]
