"""The learning rate over a run."""

from __future__ import annotations

import pytest

from azr.annealing import LOWEST_FACTOR, rate_factor


@pytest.mark.parametrize("done", [0.0, 0.5, 1.0, 1.3])
def test_without_annealing_it_stays(done: float):
    assert rate_factor(done, 0.0) == 1.0


def test_it_falls_linearly_over_the_last_share_and_never_to_nothing():
    assert [rate_factor(done, 0.5) for done in (0.0, 0.5, 0.75, 0.9)] == pytest.approx(
        [1.0, 1.0, 0.5, 0.2]
    )
    assert rate_factor(1.0, 0.5) == rate_factor(2.0, 0.5) == LOWEST_FACTOR
    assert rate_factor(0.25, 1.0) == pytest.approx(0.75)
