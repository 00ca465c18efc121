import math

import pytest
import torch

from azr.learner.metrics import TokenDiagnostics, ratio_metrics

LOG_R = [0.0, 0.4, -0.7, 3.0, 0.1]
KEPT = [True, False, True, False, False]
STALENESS = [0, 2, 2, 0, 2]


def parts() -> list[TokenDiagnostics]:
    """The tokens above, cut in two micro-batches of one row each."""
    return [
        TokenDiagnostics(
            log_ratio_T=torch.tensor(LOG_R[cut]),
            kept_T=torch.tensor(KEPT[cut]),
            masked_R=torch.tensor([not any(KEPT[cut])]),
            advantage_T=torch.tensor([1.0, -1.0, 1.0, 1.0, 0.0][cut]),
            staleness_T=torch.tensor(STALENESS[cut]),
            entropy_T=torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0][cut]),
        )
        for cut in (slice(0, 3), slice(3, 5))
    ]


def k3(log_r: list[float]) -> float:
    return sum(math.exp(x) - 1 - x for x in log_r) / len(log_r)


def ess(log_r: list[float]) -> float:
    r = [math.exp(x) for x in log_r]
    return sum(r) ** 2 / (len(r) * sum(x * x for x in r))


def test_ratio_metrics_are_their_formulas_over_all_tokens() -> None:
    found = ratio_metrics(parts(), ratio_cap=10.0, max_staleness=2)
    assert found["kl_k3"] == pytest.approx(k3(LOG_R))
    assert found["ess"] == pytest.approx(ess(LOG_R))
    assert found["max_ratio"] == pytest.approx(math.exp(3.0))
    assert found["masked_share"] == pytest.approx(3 / 5)
    assert found["masked_rows_share"] == 0.5
    assert found["capped_share"] == pytest.approx(1 / 5)
    assert found["logprob_gap"] == pytest.approx(sum(map(abs, LOG_R)) / 5)
    assert found["entropy"] == 3.0
    assert found["staleness_mean"] == pytest.approx(6 / 5)


def test_buckets_hold_exactly_their_tokens() -> None:
    found = ratio_metrics(parts(), ratio_cap=10.0, max_staleness=3)
    two = [0.4, -0.7, 0.1]
    assert found["kl_k3/staleness_2"] == pytest.approx(k3(two))
    assert found["ess/staleness_2"] == pytest.approx(ess(two))
    assert found["masked_share/staleness_2"] == pytest.approx(2 / 3)
    assert found["tokens/staleness_0"] == 2
    assert not [name for name in found if name.endswith(("staleness_1", "staleness_3"))]


def test_masking_is_reported_by_the_sign_of_the_advantage() -> None:
    found = ratio_metrics(parts(), ratio_cap=10.0, max_staleness=2)
    assert found["masked_share/positive"] == pytest.approx(1 / 3)
    assert found["masked_share/negative"] == 1.0
