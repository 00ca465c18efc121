"""The states that rows go through."""

from __future__ import annotations

from enum import StrEnum


class Origin(StrEnum):
    """Where a task came from."""

    SEED = "seed"
    PROPOSED = "proposed"


class AdmissionState(StrEnum):
    OPEN = "open"
    """Waiting for a worker."""
    LEASED = "leased"
    """A worker samples it until `lease_until`."""
    DONE = "done"
    """Its rollout is stored."""


class RolloutState(StrEnum):
    """GENERATED -> JUDGED -> READY -> CLAIMED -> TRAINED, or DROPPED from anywhere."""

    GENERATED = "generated"
    JUDGED = "judged"
    READY = "ready"
    CLAIMED = "claimed"
    TRAINED = "trained"
    DROPPED = "dropped"


class BatchState(StrEnum):
    CLAIMED = "claimed"
    TRAINED = "trained"
    ROLLED_BACK = "rolled_back"


class LineageState(StrEnum):
    """Whether a step or a policy version led to the weights that survive."""

    LIVE = "live"
    ROLLED_BACK = "rolled_back"
