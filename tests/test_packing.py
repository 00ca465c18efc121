from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from azr.packing import balanced_shares, first_fit_decreasing, micro_batches, pack, row_weights
from azr.types import Batch, Cell, Role, TaskType, Trajectory


def row(role: Role, prompt: int, tokens: int, *, staleness: int = 0) -> Trajectory:
    return Trajectory(
        rollout_id=7,
        cell=Cell(role, TaskType.DEDUCTION),
        prompt_token_ids=tuple(range(prompt)),
        token_ids=tuple(range(100, 100 + tokens)),
        behaviour_logprobs=tuple(-0.1 * i for i in range(tokens)),
        reward=0.0,
        staleness=staleness,
        group=0,
    )


def batch(*rows: Trajectory) -> Batch:
    return Batch(batch_id=1, version=0, trajectories=rows)


def test_bins_hold_every_length_once_and_keep_the_budget() -> None:
    lengths = [5, 9, 3, 7, 1, 0, 6, 4]
    bins = first_fit_decreasing(lengths, 10)
    assert sorted(i for members in bins for i in members) == [0, 1, 2, 3, 4, 6, 7]
    assert all(sum(lengths[i] for i in members) <= 10 for members in bins)
    assert len(bins) == 4


def test_a_row_above_the_budget_gets_its_own_bin() -> None:
    assert first_fit_decreasing([3, 50, 3], 10) == [[1], [0, 2]]


@given(st.lists(st.integers(0, 500), max_size=30), st.integers(1, 8))
def test_shares_hold_every_length_once_and_differ_by_one_length_at_most(
    lengths: list[int], num_shares: int
) -> None:
    shares = balanced_shares(lengths, num_shares)
    assert sorted(i for members in shares for i in members) == [
        i for i, length in enumerate(lengths) if length
    ]
    totals = [sum(lengths[i] for i in members) for members in shares]
    assert len(totals) == num_shares
    assert max(totals) - min(totals) <= max(lengths, default=0)


def test_positions_restart_and_only_response_tokens_are_targets() -> None:
    packed = pack([([1, 2, 3], [4, 5]), ([6], [7, 8, 9])])
    assert packed.input_ids_1S.tolist() == [[1, 2, 3, 4, 6, 7, 8]]
    assert packed.position_ids_1S.tolist() == [[0, 1, 2, 3, 0, 1, 2]]
    assert packed.lengths == (4, 3)
    assert packed.source_T.tolist() == [2, 3, 4, 5, 6]
    assert packed.target_T.tolist() == [4, 5, 7, 8, 9]
    assert packed.row_T.tolist() == [0, 0, 1, 1, 1]


def test_each_target_carries_its_rows_values() -> None:
    rows = batch(row(Role.SOLVE, 2, 2, staleness=3), row(Role.PROPOSE, 2, 1, staleness=1))
    (micro,) = micro_batches(rows, [0.5, -2.0], [0.1, 0.2], budget_tokens=64)
    assert micro.advantage_T.tolist() == [0.5, 0.5, -2.0]
    assert micro.weight_T.tolist() == pytest.approx([0.1, 0.1, 0.2])
    assert micro.staleness_T.tolist() == [3, 3, 1]
    assert micro.behaviour_T.tolist() == pytest.approx([0.0, -0.1, 0.0])


def test_token_mean_weighs_tokens_and_sequence_mean_weighs_rows() -> None:
    rows = batch(row(Role.SOLVE, 2, 3), row(Role.SOLVE, 2, 1))
    assert row_weights(rows, mean="token", propose_weight=1.0) == [0.25, 0.25]
    assert row_weights(rows, mean="sequence", propose_weight=1.0) == [1 / 6, 1 / 2]


def test_lambda_scales_proposers_only() -> None:
    rows = batch(row(Role.SOLVE, 2, 1), row(Role.PROPOSE, 2, 1))
    assert row_weights(rows, mean="token", propose_weight=0.5) == [0.5, 0.25]


def test_rows_without_response_tokens_are_left_out() -> None:
    rows = batch(row(Role.SOLVE, 2, 0), row(Role.SOLVE, 2, 2))
    (micro,) = micro_batches(rows, [1.0, 2.0], [0.0, 0.5], budget_tokens=64)
    assert micro.advantage_T.tolist() == [2.0, 2.0]
    assert micro_batches(batch(row(Role.SOLVE, 2, 0)), [1.0], [0.0], budget_tokens=64) == []


def test_a_missing_behaviour_logprob_is_refused() -> None:
    rows = batch(replace(row(Role.SOLVE, 2, 2), behaviour_logprobs=(-1.0,)))
    with pytest.raises(ValueError, match="rollout 7 has 2 tokens but 1 behaviour"):
        micro_batches(rows, [1.0], [1.0], budget_tokens=64)


def test_micro_batches_cover_the_batch_at_any_budget() -> None:
    rows = batch(*(row(Role.SOLVE, 3, n) for n in (1, 8, 3, 5)))
    for budget in (1, 9, 12, 1000):
        micros = micro_batches(rows, [1.0] * 4, [1.0] * 4, budget_tokens=budget)
        assert sum(len(m.behaviour_T) for m in micros) == 17
        targets = torch.cat([m.packed.target_T for m in micros])
        assert sorted(targets.tolist()) == sorted(t for r in rows.trajectories for t in r.token_ids)


@pytest.mark.parametrize("skip", [False, True])
def test_shares_of_a_batch_hold_each_of_its_rows_with_its_weight_once(*, skip: bool) -> None:
    rows = [row(Role.SOLVE, 2, tokens, staleness=tokens) for tokens in (1, 5, 2, 0, 7, 3)]
    whole = batch(*rows)
    weights = [float(10 + len(each.token_ids)) for each in rows]
    advantages = [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]

    def seen(share: tuple[int, int]) -> list[tuple[float, int]]:
        parts = micro_batches(
            whole, advantages, weights, budget_tokens=6, skip_zero_advantage=skip, share=share
        )
        return [
            pair
            for part in parts
            for pair in zip(part.weight_T.tolist(), part.staleness_T.tolist(), strict=True)
        ]

    shares = [seen((index, 3)) for index in range(3)]
    assert all(shares)
    assert sorted(pair for share in shares for pair in share) == sorted(seen((0, 1)))
