"""Rewards, one function per equation of the Absolute Zero paper.

    r_propose = 0 if the mean solve rate is 0 or 1, else 1 - rate        (Eq. 4)
    r_solve   = 1 if the answer is right, else 0                         (Eq. 5)
    R         = r_role, or -0.5 if well formatted but wrong, or -1 if
                the format (for a proposer: also the task) is bad        (Eq. 6)

The official code gives a proposer -0.5 where Eq. 4 gives 0; `boundary_reward`
is that fork.
"""

from __future__ import annotations

from azr.types import Judgement

WRONG_REWARD = -0.5
BAD_FORMAT_REWARD = -1.0


def learnability_reward(solve_rate: float, *, boundary_reward: float = 0.0) -> float:
    """Reward a proposer for tasks that the solver sometimes, not always, solves (Eq. 4)."""
    if solve_rate in (0.0, 1.0):
        return boundary_reward
    return 1.0 - solve_rate


def rejected_reward() -> float:
    """A proposal that does not parse or does not validate (Eq. 6)."""
    return BAD_FORMAT_REWARD


def solver_reward(judgement: Judgement) -> float:
    """Accuracy reward with the format penalties of Eq. 6."""
    return {
        Judgement.CORRECT: 1.0,
        Judgement.WRONG: WRONG_REWARD,
        Judgement.BAD_FORMAT: BAD_FORMAT_REWARD,
    }[judgement]
