import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr.advantages import normalise, reward_metrics
from azr.types import CELLS, Batch, Cell, Role, TaskType, Trajectory

SOLVE = Cell(Role.SOLVE, TaskType.DEDUCTION)
PROPOSE = Cell(Role.PROPOSE, TaskType.INDUCTION)


def row(cell: Cell, reward: float, tokens: int = 3, *, task: int = 0) -> Trajectory:
    return Trajectory(
        rollout_id=0,
        cell=cell,
        prompt_token_ids=(1,),
        token_ids=(2,) * tokens,
        behaviour_logprobs=(-1.0,) * tokens,
        reward=reward,
        staleness=0,
        group=task,
    )


def batch(*rows: Trajectory) -> Batch:
    return Batch(batch_id=1, version=0, trajectories=rows)


def test_sequence_whitening_is_the_papers_formula() -> None:
    rewards = [1.0, -0.5, -1.0, 1.0]
    found = normalise(batch(*(row(SOLVE, r) for r in rewards)), whitening="sequence")
    mean, std = statistics.fmean(rewards), statistics.pstdev(rewards)
    assert found == pytest.approx([(r - mean) / std for r in rewards])


def test_token_whitening_equals_whitening_every_token() -> None:
    rewards, lengths = [1.0, -0.5, 0.25], [7, 1, 4]
    rows = [row(SOLVE, r, n) for r, n in zip(rewards, lengths, strict=True)]
    per_token = [r for r, n in zip(rewards, lengths, strict=True) for _ in range(n)]
    mean, variance = statistics.fmean(per_token), statistics.variance(per_token)
    expected = [(r - mean) / math.sqrt(variance + 1e-8) for r in rewards]
    assert normalise(batch(*rows), whitening="token") == pytest.approx(expected)


@pytest.mark.parametrize("whitening", ["sequence", "token"])
def test_a_cell_of_equal_rewards_has_zero_advantages(whitening) -> None:
    rows = [row(SOLVE, 0.1, n) for n in (1, 2, 3)]
    assert normalise(batch(*rows), whitening=whitening) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("whitening", ["sequence", "token"])
def test_cells_do_not_influence_each_other(whitening) -> None:
    solve = [row(SOLVE, 1.0), row(SOLVE, 0.0, 5)]
    alone = normalise(batch(*solve), whitening=whitening)
    mixed = normalise(batch(row(PROPOSE, 9.0), *solve, row(PROPOSE, -5.0)), whitening=whitening)
    assert mixed[1:3] == alone


def test_every_cell_is_normalised() -> None:
    rows = [row(cell, r + i) for i, cell in enumerate(CELLS) for r in (0.0, 1.0)]
    assert normalise(batch(*rows), whitening="sequence") == pytest.approx([-1.0, 1.0] * len(CELLS))


def test_a_row_without_tokens_has_no_say_in_token_whitening() -> None:
    rows = [row(SOLVE, 1.0, 2), row(SOLVE, 0.0, 2), row(SOLVE, 50.0, 0)]
    found = normalise(batch(*rows), whitening="token")
    assert found[:2] == pytest.approx(normalise(batch(*rows[:2]), whitening="token"))


def test_a_task_baseline_compares_attempts_at_the_same_task() -> None:
    rewards = {1: [1.0, -0.5, -1.0], 2: [1.0, 1.0], 3: [-0.5]}
    rows = [row(SOLVE, r, task=task) for task, some in rewards.items() for r in some]
    everything = [r for some in rewards.values() for r in some]
    mean, std = statistics.fmean(everything), statistics.pstdev(everything)
    expected = [1.0 + 0.75, -0.5 - 0.0, -1.0 - 0.25, 0.0, 0.0, -0.5 - mean]
    found = normalise(batch(*rows), whitening="sequence", baseline="task")
    assert found == pytest.approx([margin / std for margin in expected])


@given(
    reward=st.floats(-1, 1, allow_nan=False),
    attempts=st.integers(2, 16),
    whitening=st.sampled_from(["sequence", "token"]),
)
def test_equal_rewards_of_a_task_have_advantages_of_exactly_zero(reward, attempts, whitening):
    rows = [row(SOLVE, reward, task=1)] * attempts + [row(SOLVE, 1.0, task=2)]
    found = normalise(batch(*rows), whitening=whitening, baseline="task")
    assert found[:attempts] == [0.0] * attempts


def test_proposals_and_other_types_keep_the_baseline_of_their_cell() -> None:
    other = Cell(Role.SOLVE, TaskType.ABDUCTION)  # task ids of two types never meet
    rows = [row(PROPOSE, 1.0), row(PROPOSE, 0.0), row(SOLVE, 1.0), row(other, 0.0)]
    found = [normalise(batch(*rows), whitening="sequence", baseline=b) for b in ("cell", "task")]
    assert found[0] == found[1]


def test_both_means_are_reported() -> None:
    rows = [row(SOLVE, 1.0, 3), row(SOLVE, 0.0, 1)]
    metrics = reward_metrics(batch(*rows), normalise(batch(*rows), whitening="sequence"))
    assert metrics["reward/solve/deduction"] == 0.5
    assert metrics["reward_tokens/solve/deduction"] == 0.75
    assert metrics["advantage_mean/solve/deduction"] == 0.0
    assert metrics["advantage_mean_tokens/solve/deduction"] == 0.5
    assert metrics["response_tokens/solve/deduction"] == 2.0
