import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from azr import packing
from azr.advantages import normalise
from azr.config import RunConfig
from azr.errors import LearnerError
from azr.learner import model
from azr.learner.metrics import METRICS
from azr.learner.step import Refusal, Trainer
from azr.losses import OBJECTIVES
from azr.types import Batch, StepResult

type BatchAt = Callable[[int], Batch]


def with_learner(config: RunConfig, **changes: object) -> RunConfig:
    return config.model_copy(update={"learner": config.learner.model_copy(update=changes)})


def trainer(model_path: Path, config: RunConfig) -> Trainer:
    return Trainer(policy=model.load(model_path, config.learner), config=config)


def weights(of: Trainer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in of.policy.model.named_parameters()}


def advantages(batch: Batch) -> list[float]:
    return normalise(batch, whitening="sequence")


def trained(of: Trainer, batch: Batch) -> StepResult:
    result = of.train(batch, advantages(batch))
    assert isinstance(result, StepResult)
    return result


@pytest.mark.parametrize("mean", ["token", "sequence"])
@pytest.mark.parametrize("loss", OBJECTIVES)
def test_micro_batching_never_changes_the_gradient(
    model_path: Path, config: RunConfig, batch_at: BatchAt, loss, mean
) -> None:
    gradients = []
    for budget in (1, 40, 10_000):
        changed = with_learner(
            config, micro_batch_tokens=budget, loss=loss, loss_mean=mean, entropy_coefficient=0.01
        )
        of = trainer(model_path, changed)
        batch = batch_at(0)
        row_weights = packing.row_weights(batch, mean=mean, propose_weight=0.5)
        for micro in packing.micro_batches(
            batch, advantages(batch), row_weights, budget_tokens=budget
        ):
            of.backward(micro)
        gradients.append([p.grad for p in of.policy.model.parameters()])
    for other in gradients[1:]:
        for one, many in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(one, many, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("loss", sorted(set(OBJECTIVES) - {"dppo_tv"}))
def test_sparing_rows_without_advantage_never_changes_the_gradient(
    model_path: Path, config: RunConfig, batch_at: BatchAt, loss
) -> None:
    batch, found, num_rows = batch_at(0), [], []
    given = [a if i % 3 else 0.0 for i, a in enumerate(advantages(batch))]
    assert given.count(0.0) < len(given)
    for skip in (False, True):
        changed = with_learner(config, loss=loss, skip_zero_advantage=skip)
        of = trainer(model_path, changed)
        result = of.train(batch, given)
        assert isinstance(result, StepResult)
        num_rows.append(result.metrics["rows"])
        found.append((result.metrics["loss"], result.metrics["gradient_norm"]))
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-6)
    assert num_rows == [len(given), len(given) - given.count(0.0)]


def test_a_batch_without_any_advantage_is_a_step_all_the_same(
    model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    of = trainer(model_path, with_learner(config, skip_zero_advantage=True))
    result = of.train(batch_at(0), [0.0] * len(batch_at(0).trajectories))
    assert isinstance(result, StepResult)
    assert result.metrics["rows"] == len(batch_at(0).trajectories)


def test_a_step_makes_rewarded_tokens_likelier_and_punished_ones_less_likely(
    model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    of = trainer(model_path, with_learner(config, loss="cispo", learning_rate=1e-4))
    batch = batch_at(0)

    def gain() -> float:
        rows = [[*r.prompt_token_ids, *r.token_ids] for r in batch.trajectories]
        found = of.policy.sequence_logprobs(rows, budget_tokens=1000)
        return sum(
            a * sum(logprobs[-len(row.token_ids) :])
            for a, logprobs, row in zip(advantages(batch), found, batch.trajectories, strict=True)
        )

    before = gain()
    trained(of, batch)
    assert gain() > before


def test_a_step_moves_the_version_and_reports_only_registered_metrics(
    model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    of = trainer(model_path, config)
    result = trained(of, batch_at(0))
    assert result.version == of.version == 1
    assert {name.partition("/")[0] for name in result.metrics} == set(METRICS)
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert {"masked_share/staleness_0", "ess/staleness_1", "reward/solve/deduction"} <= set(
        result.metrics
    )
    assert "ess/staleness_2" not in result.metrics
    tokens = sum(len(row.token_ids) for row in batch_at(0).trajectories)
    assert result.metrics["tokens"] == tokens
    by_bucket = [result.metrics[f"tokens/staleness_{k}"] for k in (0, 1)]
    assert sum(by_bucket) == tokens


def test_on_policy_data_reads_as_such(
    model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    of = trainer(model_path, config)
    batch = batch_at(0)
    rows = []
    for row in batch.trajectories:
        (scores,) = of.policy.sequence_logprobs(
            [[*row.prompt_token_ids, *row.token_ids]], budget_tokens=99
        )
        own = tuple(scores[len(row.prompt_token_ids) - 1 :])
        rows.append(replace(row, behaviour_logprobs=own))
    metrics = trained(of, replace(batch, trajectories=tuple(rows))).metrics
    assert metrics["kl_k3"] == pytest.approx(0, abs=1e-6)
    assert metrics["ess"] == pytest.approx(1, abs=1e-5)
    assert metrics["max_ratio"] == pytest.approx(1, abs=1e-4)
    assert metrics["masked_share"] == 0


def test_the_optimizer_sees_a_gradient_clipped_to_its_norm(
    model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    of = trainer(model_path, with_learner(config, gradient_clip=0.01))
    seen: list[float] = []

    def measure(*_: object) -> None:
        gradients = [p.grad.flatten() for p in of.policy.model.parameters() if p.grad is not None]
        seen.append(torch.cat(gradients).norm().item())

    of.optimizer.register_step_pre_hook(measure)
    assert trained(of, batch_at(0)).metrics["gradient_norm"] > 0.1
    assert seen == pytest.approx([0.01], rel=1e-3)


def test_biases_and_norms_move_at_a_multiple_of_the_rate(
    model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    moved: list[dict[str, Tensor]] = []
    for factor in (1.0, 4.0):
        plain_sgd = with_learner(
            config,
            optimizer="sgd",
            momentum=0.0,
            weight_decay=0.0,
            learning_rate=0.01,
            vector_rate_factor=factor,
        )
        of = trainer(model_path, plain_sgd)
        before = weights(of)
        trained(of, batch_at(0))
        moved.append({name: now - before[name] for name, now in weights(of).items()})
    for name, step in moved[0].items():
        factor = 4.0 if step.ndim < 2 else 1.0
        torch.testing.assert_close(moved[1][name], factor * step, rtol=1e-2, atol=1e-6)
    assert any(step.ndim < 2 and step.abs().max() > 1e-5 for step in moved[0].values())


def test_a_step_at_a_fraction_of_the_rate_moves_that_fraction_and_leaves_the_next_alone(
    model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    plain_sgd = with_learner(
        config, optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=0.01
    )
    moved: list[dict[str, Tensor]] = []
    for factor in (1.0, 0.25):
        of = trainer(model_path, plain_sgd)
        before = weights(of)
        result = of.train(batch_at(0), advantages(batch_at(0)), rate_factor=factor)
        assert isinstance(result, StepResult)
        assert result.metrics["learning_rate"] == pytest.approx(0.01 * factor)
        moved.append({name: now - before[name] for name, now in weights(of).items()})
        assert trained(of, batch_at(1)).metrics["learning_rate"] == pytest.approx(0.01)
    for name, step in moved[0].items():
        torch.testing.assert_close(moved[1][name], 0.25 * step, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_step_with_a_non_finite_gradient_is_refused_and_changes_nothing(
    model_path: Path, config: RunConfig, batch_at: BatchAt, poison
) -> None:
    of, twin = trainer(model_path, config), trainer(model_path, config)
    batch = batch_at(0)
    refusal = of.train(batch, [poison, *advantages(batch)[1:]])
    assert isinstance(refusal, Refusal)
    assert of.version == 0
    trained(of, batch)
    trained(twin, batch)
    for name, tensor in weights(twin).items():
        assert torch.equal(tensor, weights(of)[name])


def test_a_batch_of_another_version_is_an_error(
    model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    of = trainer(model_path, config)
    with pytest.raises(LearnerError, match="claimed at policy v3, but the learner is at v0"):
        of.train(batch_at(3), advantages(batch_at(3)))


def test_sending_the_latest_batch_again_returns_its_result_and_trains_nothing(
    model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    of = trainer(model_path, config)
    first = trained(of, batch_at(0))
    after = weights(of)
    assert trained(of, batch_at(0)) is first
    assert all(torch.equal(tensor, weights(of)[name]) for name, tensor in after.items())


def test_a_batch_without_response_tokens_is_refused(
    model_path: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    batch = batch_at(0)
    rows = tuple(replace(r, token_ids=(), behaviour_logprobs=()) for r in batch.trajectories)
    found = trainer(model_path, config).train(replace(batch, trajectories=rows), [1.0] * len(rows))
    assert found == Refusal("batch 100 has no response tokens")
