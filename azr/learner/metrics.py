"""What one optimizer step reports: names, units, and how each is computed.

A name is `base` or `base/qualifier`. Over all objectives the same are reported, so runs
with different losses compare. r = exp(current - behaviour) per response token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from azr.losses import MAX_LOG_RATIO


@dataclass(frozen=True, slots=True)
class Metric:
    """One base name's meaning."""

    unit: str
    meaning: str


METRICS: dict[str, Metric] = {
    "loss": Metric("nats", "objective over the batch"),
    "gradient_norm": Metric("1", "L2 norm before clipping"),
    "learning_rate": Metric("1", "of matrices, annealed; vectors have a multiple"),
    "entropy": Metric("nats", "mean entropy of the policy's next-token distribution"),
    "masked_share": Metric("1", "tokens whose policy gradient the objective removed"),
    "masked_rows_share": Metric("1", "rows of which every token was masked"),
    "capped_share": Metric("1", "tokens with r above learner.ratio_cap"),
    "kl_k3": Metric("nats", "k3 estimate of KL(behaviour || current): mean of r - 1 - log r"),
    "ess": Metric("1", "effective sample size over n: (sum r)^2 / (n sum r^2)"),
    "max_ratio": Metric("1", "largest r"),
    "logprob_gap": Metric("nats", "mean |current - behaviour|"),
    "staleness_mean": Metric("versions", "mean over response tokens"),
    "tokens": Metric("tokens", "response tokens trained on"),
    "micro_batches": Metric("1", "forward and backward passes, of all ranks together"),
    "rows": Metric("1", "rows in these; the rest had no tokens, or were spared"),
    "step_seconds": Metric("s", "the whole step inside the learner process"),
    "reward": Metric("1", "mean reward of a cell, by row"),
    "reward_tokens": Metric("1", "mean reward of a cell, by response token"),
    "reward_std": Metric("1", "deviation of a cell's rewards, by row"),
    "advantage_mean": Metric("1", "mean advantage of a cell, by row"),
    "advantage_mean_tokens": Metric("1", "mean advantage of a cell, by response token"),
    "response_tokens": Metric("tokens", "mean response length of a cell"),
}
"""Qualifiers: `/staleness_k` for the bucketed ones (k = 0..max_staleness, absent when
empty), `/positive` and `/negative` (sign of the advantage) for `masked_share`, and the
cell, as in `reward/solve/deduction`, for the last six."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDiagnostics:
    """What a micro-batch leaves behind for the metrics; no gradients."""

    log_ratio_T: Tensor
    kept_T: Tensor
    masked_R: Tensor
    """bool: rows of which every token was masked."""
    advantage_T: Tensor
    staleness_T: Tensor
    entropy_T: Tensor

    def cpu(self) -> TokenDiagnostics:
        """The same, in host memory."""
        return TokenDiagnostics(
            log_ratio_T=self.log_ratio_T.cpu(),
            kept_T=self.kept_T.cpu(),
            masked_R=self.masked_R.cpu(),
            advantage_T=self.advantage_T.cpu(),
            staleness_T=self.staleness_T.cpu(),
            entropy_T=self.entropy_T.cpu(),
        )


def ratio_metrics(
    parts: list[TokenDiagnostics], *, ratio_cap: float, max_staleness: int
) -> dict[str, float]:
    """Metrics of the importance ratio, over all tokens and by staleness bucket."""
    log_r_T = _joined([part.log_ratio_T for part in parts]).double()
    kept_T = _joined([part.kept_T for part in parts])
    advantage_T = _joined([part.advantage_T for part in parts])
    staleness_T = _joined([part.staleness_T for part in parts])
    metrics = {
        "entropy": _joined([part.entropy_T for part in parts]).double().mean().item(),
        "masked_rows_share": _share(_joined([part.masked_R for part in parts])),
        "logprob_gap": log_r_T.abs().mean().item(),
        "staleness_mean": staleness_T.double().mean().item(),
    }
    metrics |= _bucket("", log_r_T, kept_T, ratio_cap)
    for sign, chosen_T in (("positive", advantage_T > 0), ("negative", advantage_T < 0)):
        if chosen_T.any():
            metrics[f"masked_share/{sign}"] = _share(~kept_T[chosen_T])
    for k in range(max_staleness + 1):
        chosen_T = staleness_T == k
        if chosen_T.any():
            metrics |= _bucket(f"/staleness_{k}", log_r_T[chosen_T], kept_T[chosen_T], ratio_cap)
    return metrics


def _bucket(suffix: str, log_r_T: Tensor, kept_T: Tensor, ratio_cap: float) -> dict[str, float]:
    r_T = log_r_T.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    return {
        f"masked_share{suffix}": _share(~kept_T),
        f"capped_share{suffix}": _share(r_T > ratio_cap),
        f"kl_k3{suffix}": (r_T - 1 - log_r_T).mean().item(),
        f"ess{suffix}": (r_T.sum().square() / (len(r_T) * r_T.square().sum())).item(),
        f"max_ratio{suffix}": r_T.max().item(),
        f"tokens{suffix}": float(len(r_T)),
    }


def _share(chosen_T: Tensor) -> float:
    return chosen_T.double().mean().item()


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.detach().cpu() for part in parts])
