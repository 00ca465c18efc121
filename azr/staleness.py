"""Version arithmetic: how much work to admit, and what is too old to train on.

Staleness of a row is the learner version when its batch is claimed minus the
version of its oldest token, queueing included. The claim enforces the bound;
admission is paced so that little reaches the claim too old.
"""

from __future__ import annotations

from azr.types import PolicyVersion


def staleness(learner_version: PolicyVersion, oldest_version: PolicyVersion) -> int:
    """Optimizer steps between sampling the oldest token and learning; 0 is on-policy."""
    return learner_version - oldest_version


def counted_version(version: PolicyVersion, forked_at: PolicyVersion | None) -> PolicyVersion:
    """What a token of `version` counts as sampled by, for its staleness.

    `forked_at` is the earliest version to which a learner went back after the token's
    lineage had begun, None if none did. A token of version forked_at + n is n optimizer
    steps away from the weights that survived, as one of version forked_at - n is.
    """
    if forked_at is None or version <= forked_at:
        return version
    return 2 * forked_at - version


def outstanding_limit(
    *,
    learner_version: PolicyVersion,
    serving_version: PolicyVersion,
    max_staleness: int,
    batch_rollouts: int,
) -> int:
    """How many rows of one cell may be outstanding when the next is admitted.

    A row admitted behind `n` others is claimed after `n // B` more steps, by the
    learner at version `learner_version + n // B`, and its oldest token is sampled
    by `serving_version` at the earliest. So `n // B <= max_staleness + serving -
    learner` keeps it fresh enough. With `max_staleness = 0` nothing is admitted
    between a step and the publication of its weights: the run is synchronous.

    Outstanding rows include those of a batch being trained on, whose step will
    raise the learner's version by one.
    """
    # A learner that went back serves, for a moment, versions that it has not made again:
    # they are as far away as older ones.
    lag = abs(learner_version - serving_version)
    return max(0, max_staleness - lag + 1) * batch_rollouts
