"""How large the learning rate still is, by how much of the run is done.

Policy gradients of small batches are mostly noise. A constant rate makes the weights
wander once the signal is used up: held-out accuracy of the tiny model rose for 60 steps
and was below the base's after 200. A rate that falls towards the end keeps what was learned.
"""

from __future__ import annotations

LOWEST_FACTOR = 0.05
"""Of the learning rate, at the very end."""


def rate_factor(done: float, anneal_share: float) -> float:
    """Factor of the learning rate for the next step: 1, then falling linearly.

    Args:
        done: share of the run that lies behind, by steps or by time; more than 1 is the end.
        anneal_share: the last share of the run over which the rate falls; 0 keeps it.
    """
    if not anneal_share:
        return 1.0
    left = max(0.0, 1.0 - done) / anneal_share
    return max(LOWEST_FACTOR, min(1.0, left))
