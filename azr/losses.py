"""Policy objectives on flat response tokens, all behind one signature.

Shapes: `_T` is one value per response token of a micro-batch (prompts and padding never
appear), `_R` one per row. For a token, with log-probs in nats,

    mu    behaviour, recorded by the engine when it sampled     q = exp(mu)
    pi    current, the only tensor that carries a gradient      p = exp(pi)
    prox  current at the start of the step, without a gradient
    r = exp(pi - mu)      u = exp(pi - prox)      rho = exp(prox - mu)

and A is the row's advantage. An objective returns a loss per token whose gradient is all
that matters, and which tokens it masked. `weighted_loss` sums: its weights are set
over the *whole batch before masking*, so masking never raises the effective learning
rate and cutting a batch into micro-batches never changes the gradient.

    dppo_tv        -M sg(min(r, C)) A pi, M drops a token whose probability has already
                   moved by more than delta in the direction A pushes; rows with a
                   hopeless ratio are dropped whole. Stable-RL (DPPO-Binary-TV)
    ppo_clip       -min(r A, clip(r) A), dual-clipped at C for A < 0. arXiv 1707.06347
    decoupled_ppo  -[rho <= C] rho min(u A, clip(u) A). AReaL, arXiv 2505.24298
    tis            -sg(min(rho, C)) min(u A, clip(u) A): truncated importance sampling
    cispo          -sg(min(r, C)) A pi. arXiv 2506.13585
    gspo           -min(s A, clip(s) A), s = exp(mean of log r over the row).
                   arXiv 2507.18071, in its token form
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from azr.config_learner import LearnerSection, LossName

MAX_LOG_RATIO = 20.0
"""Log-ratios are cut here before exponentiation: e^20 is beyond any cap, and finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOptions:
    """Thresholds of the objectives; each reads those it names in the module's table."""

    clip_low: float = 0.2
    clip_high: float = 0.2
    tv_delta: float = 0.15
    ratio_cap: float = 10.0
    row_ratio_bounds: tuple[float, float] = (1e-4, 1e2)
    """dppo_tv drops a row with any token's ratio outside these bounds."""
    row_drift_nats: float = 0.5
    """dppo_tv drops a row with A < 0 whose mean mu - pi exceeds this."""
    pull: float = 1e-3
    """dppo_tv: weight of (log r)^2 on every token, masked or not, towards mu."""
    entropy_coefficient: float = 0.0

    @classmethod
    def from_config(cls, learner: LearnerSection) -> LossOptions:
        return cls(
            clip_low=learner.clip_low,
            clip_high=learner.clip_high,
            tv_delta=learner.tv_delta,
            ratio_cap=learner.ratio_cap,
            entropy_coefficient=learner.entropy_coefficient,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The response tokens of a micro-batch. Rows are never split over micro-batches."""

    current_T: Tensor
    """pi, in the graph."""
    behaviour_T: Tensor
    proximal_T: Tensor
    """prox; equal to pi.detach() when a batch is used for one step (bypass mode)."""
    advantage_T: Tensor
    row_T: Tensor
    """int64 row of each token, in [0, num_rows)."""
    num_rows: int
    entropy_T: Tensor
    """Entropy of the current policy's next-token distribution, in nats."""


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """An objective's answer, before weights."""

    loss_T: Tensor
    kept_T: Tensor
    """bool: False where the objective removed the policy-gradient term."""


type Objective = Callable[[Tokens, LossOptions], TokenLoss]


def ratio(numerator_T: Tensor, denominator_T: Tensor) -> Tensor:
    """Exp of a log-prob difference, finite for any input."""
    return (numerator_T - denominator_T).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def dppo_tv(tokens: Tokens, options: LossOptions) -> TokenLoss:
    pi_T, A_T = tokens.current_T, tokens.advantage_T
    with torch.no_grad():
        r_T = ratio(pi_T, tokens.behaviour_T)
        moved_T = pi_T.exp() - tokens.behaviour_T.exp()
        away_T = ((A_T > 0) & (moved_T > options.tv_delta)) | (
            (A_T < 0) & (moved_T < -options.tv_delta)
        )
        kept_T = ~away_T & _kept_rows(tokens, r_T, options)
        weight_T = kept_T * r_T.clamp(max=options.ratio_cap) * A_T
    pull_T = options.pull * (pi_T - tokens.behaviour_T).square()
    return TokenLoss(-weight_T * pi_T + pull_T, kept_T)


def _kept_rows(tokens: Tokens, r_T: Tensor, options: LossOptions) -> Tensor:
    """bool_T: rows without a ratio beyond repair, and not drifting away from what A punishes."""
    low, high = options.row_ratio_bounds
    outside_R = row_sum(((r_T < low) | (r_T > high)).to(r_T.dtype), tokens) > 0
    drift_T = row_mean(tokens.behaviour_T - tokens.current_T, tokens)
    drifted_T = (tokens.advantage_T < 0) & (drift_T > options.row_drift_nats)
    return ~outside_R[tokens.row_T] & ~drifted_T


def ppo_clip(tokens: Tokens, options: LossOptions) -> TokenLoss:
    r_T = ratio(tokens.current_T, tokens.behaviour_T)
    gain_T, kept_T = _clipped_gain(r_T, tokens.advantage_T, options)
    # Without a floor, one token with A < 0 and a large ratio outweighs the batch.
    floor_T = options.ratio_cap * tokens.advantage_T
    floored_T = (tokens.advantage_T < 0) & (gain_T < floor_T)
    return TokenLoss(-torch.where(floored_T, floor_T, gain_T), kept_T & ~floored_T)


def decoupled_ppo(tokens: Tokens, options: LossOptions) -> TokenLoss:
    u_T = ratio(tokens.current_T, tokens.proximal_T)
    rho_T = ratio(tokens.proximal_T, tokens.behaviour_T)
    trusted_T = rho_T <= options.ratio_cap
    gain_T, kept_T = _clipped_gain(u_T, tokens.advantage_T, options)
    return TokenLoss(-(trusted_T * rho_T) * gain_T, kept_T & trusted_T)


def tis(tokens: Tokens, options: LossOptions) -> TokenLoss:
    u_T = ratio(tokens.current_T, tokens.proximal_T)
    rho_T = ratio(tokens.proximal_T, tokens.behaviour_T)
    gain_T, kept_T = _clipped_gain(u_T, tokens.advantage_T, options)
    return TokenLoss(-rho_T.clamp(max=options.ratio_cap) * gain_T, kept_T)


def cispo(tokens: Tokens, options: LossOptions) -> TokenLoss:
    r_T = ratio(tokens.current_T.detach(), tokens.behaviour_T)
    weight_T = r_T.clamp(max=options.ratio_cap) * tokens.advantage_T
    return TokenLoss(-weight_T * tokens.current_T, torch.ones_like(r_T, dtype=torch.bool))


def gspo(tokens: Tokens, options: LossOptions) -> TokenLoss:
    pi_T = tokens.current_T
    s_T = row_mean(pi_T.detach() - tokens.behaviour_T, tokens)
    # exp(pi - sg(pi)) is 1 with pi's gradient, so each token carries its share of s's.
    s_T = s_T.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() * (pi_T - pi_T.detach()).exp()
    gain_T, kept_T = _clipped_gain(s_T, tokens.advantage_T, options)
    return TokenLoss(-gain_T, kept_T)


def _clipped_gain(r_T: Tensor, A_T: Tensor, options: LossOptions) -> tuple[Tensor, Tensor]:
    """min(r A, clip(r) A), and where its gradient is alive."""
    clipped_T = r_T.clamp(1 - options.clip_low, 1 + options.clip_high)
    free_T = r_T * A_T
    gain_T = torch.minimum(free_T, clipped_T * A_T)
    return gain_T, (free_T <= clipped_T * A_T).detach()


OBJECTIVES: dict[LossName, Objective] = {
    "dppo_tv": dppo_tv,
    "ppo_clip": ppo_clip,
    "decoupled_ppo": decoupled_ppo,
    "tis": tis,
    "cispo": cispo,
    "gspo": gspo,
}


def weighted_loss(
    token_loss: TokenLoss, tokens: Tokens, weight_T: Tensor, options: LossOptions
) -> Tensor:
    """Weighted sum over tokens, minus the entropy bonus: this micro-batch's share of the loss.

    `weight_T` comes from `azr.packing.token_weights`; over a whole batch it sums to 1 when
    all row weights are 1.
    """
    loss_T = token_loss.loss_T
    if options.entropy_coefficient:
        loss_T = loss_T - options.entropy_coefficient * tokens.entropy_T
    return (weight_T * loss_T).sum()


def row_sum(value_T: Tensor, tokens: Tokens) -> Tensor:
    """[R] sums of a per-token value over each row."""
    return value_T.new_zeros(tokens.num_rows).index_add_(0, tokens.row_T, value_T)


def row_mean(value_T: Tensor, tokens: Tokens) -> Tensor:
    """[T] the row's mean of a per-token value, repeated for each of its tokens."""
    total_R = row_sum(value_T, tokens)
    length_R = row_sum(torch.ones_like(value_T), tokens)
    return (total_R / length_R.clamp(min=1))[tokens.row_T]
