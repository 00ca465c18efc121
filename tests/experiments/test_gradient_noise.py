"""How agreement of gradients is measured."""

import math
from pathlib import Path

import pytest
import torch

from azr.config_files import load
from azr.experiments.gradient_noise import Agreement, agreements, mean_cosine
from azr.model_path import resolve_model
from azr.types import Cell, Role, TaskType, Trajectory


def test_the_cosine_is_a_mean_over_pairs():
    right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])
    assert mean_cosine([right, right]) == pytest.approx(1)
    assert mean_cosine([right, right, up]) == pytest.approx(1 / 3)


def test_at_the_noise_scale_signal_and_noise_are_equal():
    agreement = Agreement(baseline="task", raw=0.2, rescaled=0.1, batch_rows=100)
    assert agreement.noise_scale_rows(0.5) == 100
    assert agreement.noise_scale_rows(0.2) == pytest.approx(400)
    assert math.isinf(agreement.noise_scale_rows(-0.01))


def row(group: int, reward: float, tokens: tuple[int, ...]) -> Trajectory:
    return Trajectory(
        rollout_id=0,
        cell=Cell(Role.SOLVE, TaskType.DEDUCTION),
        prompt_token_ids=(10, 11, 12),
        token_ids=tokens,
        behaviour_logprobs=(-1.0,) * len(tokens),
        reward=reward,
        staleness=0,
        group=group,
    )


def test_batches_that_teach_the_same_agree_and_contrary_ones_disagree():
    model, config = Path(resolve_model("tiny")), load("tiny-cpu")
    right, wrong = (20, 21, 1), (30, 31, 1)

    def batch(group: int, *, contrary: bool) -> list[Trajectory]:
        good, bad = (wrong, right) if contrary else (right, wrong)
        return [row(group, 1.0, good), row(group, -0.5, bad)]

    same = agreements(
        model, config, [*batch(1, contrary=False), *batch(2, contrary=False)], batches=2
    )
    assert [each.baseline for each in same] == ["cell", "task"]
    assert all(each.raw == pytest.approx(1, abs=1e-4) for each in same)
    opposed = agreements(
        model, config, [*batch(1, contrary=False), *batch(2, contrary=True)], batches=2
    )
    assert all(each.raw < 0 for each in opposed)
