"""How much may be admitted, by how far the serving weights are from the learner's."""

from __future__ import annotations

import pytest

from azr.staleness import outstanding_limit


@pytest.mark.parametrize(("serving", "rows"), [(10, 12), (9, 8), (8, 4), (7, 0), (11, 8), (13, 0)])
def test_weights_ahead_of_the_learner_are_as_far_away_as_older_ones(serving: int, rows: int):
    limit = outstanding_limit(
        learner_version=10, serving_version=serving, max_staleness=2, batch_rollouts=4
    )
    assert limit == rows
