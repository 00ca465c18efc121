"""Padding-free micro-batches: rows laid end to end, cut by a token budget.

A row of P prompt and T response tokens becomes P + T - 1 inputs (the last token predicts
nothing) and T targets. Position ids restart at 0 with every row, and `lengths` tells
attention where rows end. Only positions that predict a response token are named, so no
logits are computed for prompts. Rows stay whole, and their weights are set over the whole
batch beforehand: how a batch is cut never changes its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from azr.config_learner import LossMean
from azr.types import Batch, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Several sequences laid end to end: S inputs, T targets, R rows."""

    input_ids_1S: Tensor
    position_ids_1S: Tensor
    lengths: tuple[int, ...]
    """[R] inputs of each row; they sum to S."""
    source_T: Tensor
    """Index in [0, S) of the input whose next token is the target."""
    target_T: Tensor
    row_T: Tensor
    """Row of each target, in [0, R), in packed order."""

    def to(self, device: torch.device) -> Packed:
        return Packed(
            input_ids_1S=self.input_ids_1S.to(device),
            position_ids_1S=self.position_ids_1S.to(device),
            lengths=self.lengths,
            source_T=self.source_T.to(device),
            target_T=self.target_T.to(device),
            row_T=self.row_T.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """One forward and backward pass: packed tokens with what the loss needs of each."""

    packed: Packed
    behaviour_T: Tensor
    advantage_T: Tensor
    weight_T: Tensor
    """Share of the batch's loss; see `row_weights`."""
    staleness_T: Tensor
    """int64 policy versions."""

    def to(self, device: torch.device) -> MicroBatch:
        return MicroBatch(
            packed=self.packed.to(device),
            behaviour_T=self.behaviour_T.to(device),
            advantage_T=self.advantage_T.to(device),
            weight_T=self.weight_T.to(device),
            staleness_T=self.staleness_T.to(device),
        )


def first_fit_decreasing(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Bins of indices whose lengths sum to at most `budget`, deterministically.

    A length above the budget gets a bin of its own. Bins list their indices in rising
    order; empty lengths are left out.
    """
    order = sorted((i for i in range(len(lengths)) if lengths[i] > 0), key=lambda i: -lengths[i])
    bins: list[list[int]] = []
    room: list[int] = []
    for index in order:
        fit = next((b for b, left in enumerate(room) if lengths[index] <= left), None)
        if fit is None:
            bins.append([index])
            room.append(budget - lengths[index])
        else:
            bins[fit].append(index)
            room[fit] -= lengths[index]
    return [sorted(members) for members in bins]


def balanced_shares(lengths: Sequence[int], num_shares: int) -> list[list[int]]:
    """Indices dealt out so that the lengths of each share sum to about the same.

    The longest first, each to the share with the least so far, so shares differ by no more
    than the longest length. Deterministic: every rank computes the same deal. Empty lengths
    are left out.
    """
    shares: list[list[int]] = [[] for _ in range(num_shares)]
    totals = [0] * num_shares
    for index in sorted((i for i, n in enumerate(lengths) if n), key=lambda i: -lengths[i]):
        lightest = totals.index(min(totals))
        shares[lightest].append(index)
        totals[lightest] += lengths[index]
    return [sorted(members) for members in shares]


def row_weights(
    batch: Batch, *, mean: LossMean, propose_weight: float, mean_rows: int = 16
) -> list[float]:
    """Weight of each of a row's response tokens in the batch's loss.

    "token" averages over all N response tokens: lambda / N. "sequence" averages over each
    response first: lambda / (R * tokens of the row). "micro_batch" averages over the tokens
    of every `mean_rows` consecutive rows first, then over these M groups, as the official
    code does with its micro-batches: lambda / (M * tokens of the group). lambda is
    `propose_weight` for the propose role and 1 for the solve role; it does not enter N, R or M.
    """
    lengths = [len(row.token_ids) for row in batch.trajectories]
    size = {"token": max(1, len(lengths)), "sequence": 1, "micro_batch": mean_rows}[mean]
    groups = [lengths[start : start + size] for start in range(0, len(lengths), size)]
    counts = [len(groups) * sum(group) for group in groups for _ in group]
    weights = []
    for row, count in zip(batch.trajectories, counts, strict=True):
        scale = propose_weight if row.cell.role is Role.PROPOSE else 1.0
        weights.append(scale / count if count else 0.0)
    return weights


def micro_batches(
    batch: Batch,
    advantages: Sequence[float],
    weights: Sequence[float],
    *,
    budget_tokens: int,
    skip_zero_advantage: bool = False,
    share: tuple[int, int] = (0, 1),
) -> list[MicroBatch]:
    """Cut a batch into packed micro-batches of at most `budget_tokens` inputs each.

    `share` is (index, count): only this one of so many balanced shares of the rows.

    A row longer than the budget is a micro-batch of its own; a row without response
    tokens has nothing to learn from and is left out, and with `skip_zero_advantage` so
    is one whose advantage is 0, unless that would leave nothing. Raises ValueError if a row's
    behaviour log-probs are not one per sampled token, or a prompt is empty.
    """
    rows = batch.trajectories
    if not len(rows) == len(advantages) == len(weights):
        raise ValueError(f"{len(rows)} rows, {len(advantages)} advantages, {len(weights)} weights")
    for row in rows:
        if len(row.behaviour_logprobs) != len(row.token_ids):
            raise ValueError(
                f"rollout {row.rollout_id} has {len(row.token_ids)} tokens but"
                f" {len(row.behaviour_logprobs)} behaviour log-probs"
            )
    inputs = [
        len(row.prompt_token_ids) + len(row.token_ids) - 1 if row.token_ids else 0 for row in rows
    ]
    if skip_zero_advantage:
        teaching = [size if advantages[index] else 0 for index, size in enumerate(inputs)]
        inputs = teaching if any(teaching) else inputs
    index, num_shares = share
    if num_shares > 1:
        mine = set(balanced_shares(inputs, num_shares)[index])
        inputs = [size if row in mine else 0 for row, size in enumerate(inputs)]
    return [
        _micro_batch(batch, members, advantages, weights)
        for members in first_fit_decreasing(inputs, budget_tokens)
    ]


def weightless() -> MicroBatch:
    """One token that adds nothing to loss or gradient, for a pass that only keeps step."""
    nothing_T = torch.zeros(1)
    return MicroBatch(
        packed=pack([((0,), (0,))]),
        behaviour_T=nothing_T,
        advantage_T=nothing_T,
        weight_T=nothing_T,
        staleness_T=torch.zeros(1, dtype=torch.int64),
    )


def _micro_batch(
    batch: Batch, members: Sequence[int], advantages: Sequence[float], weights: Sequence[float]
) -> MicroBatch:
    rows = [batch.trajectories[index] for index in members]
    packed = pack([(row.prompt_token_ids, row.token_ids) for row in rows])

    def spread(values: Sequence[float], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype)[packed.row_T]

    return MicroBatch(
        packed=packed,
        behaviour_T=torch.tensor(
            [value for row in rows for value in row.behaviour_logprobs], dtype=torch.float32
        ),
        advantage_T=spread([advantages[index] for index in members], torch.float32),
        weight_T=spread([weights[index] for index in members], torch.float32),
        staleness_T=spread([row.staleness for row in rows], torch.int64),
    )


def pack(sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Packed:
    """Lay (prompt, response) pairs end to end. Both parts of every pair must have tokens."""
    if any(not prompt or not response for prompt, response in sequences):
        raise ValueError("a packed sequence needs prompt tokens and response tokens")
    ids: list[int] = []
    sources: list[Tensor] = []
    lengths = []
    for prompt, response in sequences:
        first = len(ids) + len(prompt) - 1
        sources.append(torch.arange(first, first + len(response)))
        ids += [*prompt, *response[:-1]]
        lengths.append(len(prompt) + len(response) - 1)
    return Packed(
        input_ids_1S=torch.tensor([ids]),
        position_ids_1S=torch.cat([torch.arange(length) for length in lengths])[None],
        lengths=tuple(lengths),
        source_T=torch.cat(sources),
        target_T=torch.tensor([token for _, response in sequences for token in response]),
        row_T=torch.repeat_interleave(torch.tensor([len(r) for _, r in sequences])),
    )
