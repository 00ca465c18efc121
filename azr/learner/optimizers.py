"""The optimizers by name, and which tensors of theirs a checkpoint keeps.

Policy gradients are mostly noise. AdamW divides every coordinate by its own scale and so
turns the noise of coordinates without a signal into steps as large as the others'; plain
SGD leaves it as small as it is. `azr bench gradients` measures both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import torch
from torch import Tensor
from torch.nn import Parameter

from azr.config_learner import LearnerSection, OptimizerName

MOMENTS: dict[OptimizerName, tuple[str, ...]] = {
    "adamw": ("step", "exp_avg", "exp_avg_sq"),
    "sgd": ("momentum_buffer",),
}
"""Per-parameter state of each, by torch's names."""
MATRIX_DIMENSIONS = 2


def build(
    parameters: Iterable[Parameter], learner: LearnerSection, *, sharded: bool = False
) -> torch.optim.Optimizer:
    """The optimizer of these settings over these parameters, with no state yet."""
    groups = _groups(parameters, learner)
    match learner.optimizer:
        case "adamw":
            return torch.optim.AdamW(
                groups,
                lr=learner.learning_rate,
                betas=learner.adam_betas,
                weight_decay=learner.weight_decay,
                fused=True,
            )
        case "sgd":
            return torch.optim.SGD(
                groups,
                lr=learner.learning_rate,
                momentum=learner.momentum,
                weight_decay=learner.weight_decay,
                fused=not sharded,  # torch has no fused SGD for DTensors
            )
        case _:
            assert_never(learner.optimizer)


def _groups(parameters: Iterable[Parameter], learner: LearnerSection) -> list[dict[str, Any]]:
    """Matrices at the learning rate; biases and norms, the vectors, at its multiple."""
    by_kind: dict[bool, list[Parameter]] = {False: [], True: []}
    for parameter in parameters:
        by_kind[parameter.ndim < MATRIX_DIMENSIONS].append(parameter)
    rates = {False: 1.0, True: learner.vector_rate_factor}
    return [
        {"params": some, "lr": learner.learning_rate * rates[are_vectors]}
        for are_vectors, some in by_kind.items()
        if some
    ]


def scale_rate(optimizer: torch.optim.Optimizer, learner: LearnerSection, factor: float) -> None:
    """Set every group's rate to this factor of its own, for the next step."""
    for group in optimizer.param_groups:
        are_vectors = group["params"][0].ndim < MATRIX_DIMENSIONS
        multiple = learner.vector_rate_factor if are_vectors else 1.0
        group["lr"] = learner.learning_rate * multiple * factor


def state_of(optimizer: torch.optim.Optimizer, parameter: Parameter) -> dict[str, Tensor]:
    """What the optimizer remembers of a parameter; nothing before its first step."""
    state = optimizer.state.get(parameter, {})
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
