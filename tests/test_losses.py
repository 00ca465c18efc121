"""Each objective against a plain reference: loops over rows and tokens, math only."""

import math
from collections.abc import Callable

import pytest
import torch

from azr.losses import (
    OBJECTIVES,
    LossOptions,
    Tokens,
    weighted_loss,
)

OPTIONS = LossOptions(
    clip_low=0.2, clip_high=0.28, tv_delta=0.1, ratio_cap=2.0, row_ratio_bounds=(1e-2, 20.0)
)
# Three rows: an ordinary one, one that drifts away from what A < 0 punishes, and one
# with a ratio beyond the row bounds. log-probs in nats.
ROWS_MU = [[-0.5, -1.0, -2.0, -0.1, -3.0], [-1.0, -0.4], [-4.0, -0.7, -0.2]]
ROWS_PI = [[-0.3, -1.1, -0.9, -0.8, -2.2], [-2.0, -1.3], [-0.5, -0.6, -0.3]]
ROWS_PROX = [[-0.4, -1.0, -1.5, -0.4, -2.9], [-1.9, -1.1], [-1.0, -0.6, -0.2]]
ADVANTAGES = [0.7, -1.3, 0.9]


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def clipped_gain(r: float, a: float) -> float:
    return min(r * a, clip(r, 1 - OPTIONS.clip_low, 1 + OPTIONS.clip_high) * a)


def clip_factor(r: float, a: float) -> float:
    """d gain / d log r, by cases."""
    if a > 0 and r > 1 + OPTIONS.clip_high:
        return 0.0
    if a < 0 and r < 1 - OPTIONS.clip_low:
        return 0.0
    return r * a


# A reference maps one row (pi, mu, prox, A) to (losses, d loss / d pi) by plain loops.
type RowReference = Callable[
    [list[float], list[float], list[float], float], tuple[list[float], list[float]]
]


def dppo_row(pi, mu, _prox, a):
    low, high = OPTIONS.row_ratio_bounds
    dropped = any(not low <= math.exp(p - m) <= high for p, m in zip(pi, mu, strict=True))
    drift = sum(m - p for p, m in zip(pi, mu, strict=True)) / len(pi)
    dropped = dropped or (a < 0 and drift > OPTIONS.row_drift_nats)
    values, slopes = [], []
    for p, m in zip(pi, mu, strict=True):
        moved = math.exp(p) - math.exp(m)
        masked = (
            dropped or (a > 0 and moved > OPTIONS.tv_delta) or (a < 0 and moved < -OPTIONS.tv_delta)
        )
        weight = 0.0 if masked else min(math.exp(p - m), OPTIONS.ratio_cap) * a
        values.append(-weight * p + OPTIONS.pull * (p - m) ** 2)
        slopes.append(-weight + 2 * OPTIONS.pull * (p - m))
    return values, slopes


def ppo_row(pi, mu, _prox, a):
    values, slopes = [], []
    for p, m in zip(pi, mu, strict=True):
        r = math.exp(p - m)
        gain, slope = clipped_gain(r, a), clip_factor(r, a)
        if a < 0 and gain < OPTIONS.ratio_cap * a:
            gain, slope = OPTIONS.ratio_cap * a, 0.0
        values.append(-gain)
        slopes.append(-slope)
    return values, slopes


def decoupled_row(pi, mu, prox, a):
    values, slopes = [], []
    for p, m, x in zip(pi, mu, prox, strict=True):
        rho, u = math.exp(x - m), math.exp(p - x)
        weight = rho if rho <= OPTIONS.ratio_cap else 0.0
        values.append(-weight * clipped_gain(u, a))
        slopes.append(-weight * clip_factor(u, a))
    return values, slopes


def tis_row(pi, mu, prox, a):
    values, slopes = [], []
    for p, m, x in zip(pi, mu, prox, strict=True):
        weight, u = min(math.exp(x - m), OPTIONS.ratio_cap), math.exp(p - x)
        values.append(-weight * clipped_gain(u, a))
        slopes.append(-weight * clip_factor(u, a))
    return values, slopes


def cispo_row(pi, mu, _prox, a):
    weights = [min(math.exp(p - m), OPTIONS.ratio_cap) * a for p, m in zip(pi, mu, strict=True)]
    return [-w * p for w, p in zip(weights, pi, strict=True)], [-w for w in weights]


def gspo_row(pi, mu, _prox, a):
    s = math.exp(sum(p - m for p, m in zip(pi, mu, strict=True)) / len(pi))
    return [-clipped_gain(s, a)] * len(pi), [-clip_factor(s, a)] * len(pi)


REFERENCES: dict[str, RowReference] = {
    "dppo_tv": dppo_row,
    "ppo_clip": ppo_row,
    "decoupled_ppo": decoupled_row,
    "tis": tis_row,
    "cispo": cispo_row,
    "gspo": gspo_row,
}


def tokens_of(pi=ROWS_PI, mu=ROWS_MU, prox=ROWS_PROX, advantages=ADVANTAGES) -> Tokens:
    def flat(rows):
        return torch.tensor([v for r in rows for v in r], dtype=torch.float64)

    row_T = torch.tensor([i for i, r in enumerate(pi) for _ in r])
    return Tokens(
        current_T=flat(pi).requires_grad_(),
        behaviour_T=flat(mu),
        proximal_T=flat(prox),
        advantage_T=torch.tensor(advantages, dtype=torch.float64)[row_T],
        row_T=row_T,
        num_rows=len(pi),
        entropy_T=torch.zeros(len(row_T), dtype=torch.float64),
    )


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("signs", [1.0, -1.0])
def test_an_objective_equals_its_plain_reference(name, signs) -> None:
    advantages = [signs * a for a in ADVANTAGES]
    tokens = tokens_of(advantages=advantages)
    found = OBJECTIVES[name](tokens, OPTIONS)
    found.loss_T.sum().backward()
    values, slopes = [], []
    for pi, mu, prox, a in zip(ROWS_PI, ROWS_MU, ROWS_PROX, advantages, strict=True):
        row_values, row_slopes = REFERENCES[name](pi, mu, prox, a)
        values += row_values
        slopes += row_slopes
    assert found.loss_T.tolist() == pytest.approx(values, abs=1e-12)
    assert tokens.current_T.grad is not None
    assert tokens.current_T.grad.tolist() == pytest.approx(slopes, abs=1e-12)


def test_the_rows_above_exercise_every_branch() -> None:
    kept = OBJECTIVES["dppo_tv"](tokens_of(), OPTIONS).kept_T.tolist()
    assert kept == [False, True, False, True, True] + [False] * 2 + [False] * 3
    for name in ("ppo_clip", "decoupled_ppo", "tis", "gspo"):
        kept = [*OBJECTIVES[name](tokens_of(), OPTIONS).kept_T.tolist()]
        flipped = tokens_of(advantages=[-a for a in ADVANTAGES])
        kept += OBJECTIVES[name](flipped, OPTIONS).kept_T.tolist()
        assert True in kept
        assert False in kept


@pytest.mark.parametrize("name", OBJECTIVES)
def test_masked_tokens_have_zero_gradient_and_the_others_do_not(name) -> None:
    options = LossOptions(tv_delta=0.1, ratio_cap=2.0, row_ratio_bounds=(1e-2, 20.0), pull=0.0)
    tokens = tokens_of()
    found = OBJECTIVES[name](tokens, options)
    found.loss_T.sum().backward()
    assert tokens.current_T.grad is not None
    assert ((tokens.current_T.grad != 0) == found.kept_T).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_at_ratio_one_every_objective_is_the_policy_gradient(name) -> None:
    tokens = tokens_of(mu=ROWS_PI, prox=ROWS_PI)
    found = OBJECTIVES[name](tokens, OPTIONS)
    found.loss_T.sum().backward()
    assert tokens.current_T.grad is not None
    torch.testing.assert_close(tokens.current_T.grad, -tokens.advantage_T)
    assert found.kept_T.all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_absurd_ratios_stay_finite(name) -> None:
    tokens = tokens_of(
        mu=[[-200.0, 0.0]], pi=[[0.0, -200.0]], prox=[[0.0, -200.0]], advantages=[-1]
    )
    loss = OBJECTIVES[name](tokens, OPTIONS).loss_T.sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert tokens.current_T.grad is not None
    assert torch.isfinite(tokens.current_T.grad).all()


def test_gspo_in_token_form_equals_the_sequence_objective() -> None:
    tokens = tokens_of()
    lengths = torch.tensor([len(r) for r in ROWS_PI], dtype=torch.float64)
    weight_T = (1 / (3 * lengths))[tokens.row_T]
    weighted_loss(OBJECTIVES["gspo"](tokens, OPTIONS), tokens, weight_T, OPTIONS).backward()
    pi = [torch.tensor(r, dtype=torch.float64, requires_grad=True) for r in ROWS_PI]
    total = torch.zeros((), dtype=torch.float64)
    for p, mu, a in zip(pi, ROWS_MU, ADVANTAGES, strict=True):
        s = (p - torch.tensor(mu, dtype=torch.float64)).mean().exp()
        total = total - torch.minimum(s * a, s.clamp(0.8, 1.28) * a) / 3
    total.backward()
    assert tokens.current_T.grad is not None
    torch.testing.assert_close(
        tokens.current_T.grad, torch.cat([p.grad for p in pi if p.grad is not None])
    )


def test_entropy_bonus_lowers_the_loss_by_its_weighted_mean() -> None:
    tokens = tokens_of()
    tokens.entropy_T.fill_(2.0)
    weight_T = torch.full_like(tokens.behaviour_T, 0.1)
    bonus = LossOptions(entropy_coefficient=0.5)
    token_loss = OBJECTIVES["dppo_tv"](tokens, bonus)
    plain = weighted_loss(token_loss, tokens, weight_T, LossOptions())
    rewarded = weighted_loss(token_loss, tokens, weight_T, bonus)
    assert (plain - rewarded).item() == pytest.approx(0.5 * 2.0 * 0.1 * 10)
