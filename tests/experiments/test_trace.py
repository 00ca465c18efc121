"""A long run's history becomes a short table without losing its course."""

from __future__ import annotations

from azr.experiments.cpu_time import tree_cpu_seconds
from azr.experiments.trace import thinned

ROWS = [
    {"step": float(step), "tokens": 1000.0 * step, "reward": step / 100} for step in range(1, 251)
]


def test_a_long_table_has_at_most_a_hundred_rows_and_ends_where_the_run_did():
    columns = thinned(ROWS)
    assert len(columns["step"]) == 84
    assert columns["step"][-1] == 250
    assert columns["tokens"][-1] == 250_000


def test_what_grows_keeps_its_last_value_and_the_rest_its_mean():
    columns = thinned(ROWS[:4], max_rows=2)
    assert columns["step"] == (2, 4)
    assert columns["reward"] == (0.015, 0.035)


def test_gaps_stay_gaps():
    columns = thinned(
        [{"step": 1.0}, {"step": 2.0, "reward": 0.5}, {"step": 3.0, "reward": float("nan")}]
    )
    assert columns["reward"] == (None, 0.5, None)
    assert thinned([]) == {}


def test_processor_time_of_a_tree_counts_its_root():
    import os

    before = tree_cpu_seconds(os.getpid())
    assert before is not None
    assert before > 0
    assert tree_cpu_seconds(2**30) == 0
