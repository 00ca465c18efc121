"""Intervals and pass@k, against their definitions."""

from itertools import combinations
from statistics import fmean

import pytest

from azr.evals.estimates import mean_of_groups, paired_gain, pass_at_k, wilson


@pytest.mark.parametrize(("attempts", "solved"), [(5, 0), (5, 2), (6, 5), (4, 4)])
def test_pass_at_k_is_the_share_of_subsets_with_a_solved_attempt(attempts: int, solved: int):
    outcomes = [index < solved for index in range(attempts)]
    for k in range(1, attempts + 1):
        expected = fmean(any(chosen) for chosen in combinations(outcomes, k))
        assert pass_at_k(attempts, solved, k) == pytest.approx(expected)


def test_pass_at_k_needs_k_attempts():
    with pytest.raises(ValueError, match="pass@3"):
        pass_at_k(2, 1, 3)


def test_wilson_agrees_with_a_published_example():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263 and 0 of 20.
    common, none = wilson(81 / 263, 263), wilson(0.0, 20)
    assert (common.low, common.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_one_group_of_zeros_and_ones_has_wilsons_interval():
    ours, theirs = mean_of_groups([[1.0] * 41 + [0.0] * 59]), wilson(0.41, 100)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_an_interval_does_not_vanish_where_all_are_alike():
    assert mean_of_groups([[0.0] * 10, [0.0] * 10]).high > 0.1
    assert mean_of_groups([[1.0] * 10, [0.0] * 10]).low < 0.4


def test_attempts_at_one_problem_do_not_count_as_independent():
    few_problems = mean_of_groups([[1.0, 0.0] * 5])
    many_problems = mean_of_groups([[1.0, 0.0] * 50])
    assert few_problems.high - few_problems.low > 2 * (many_problems.high - many_problems.low)


def test_groups_of_different_size_weigh_alike():
    assert mean_of_groups([[1.0], [0.0] * 9]).mean == 0.5


def test_a_paired_gain_is_surer_than_two_means():
    before = [[0.0, 1.0] * 20, [0.0, 1.0] * 20]
    after = [[0.0, 1.0] * 19 + [1.0, 1.0], [0.0, 1.0] * 20]
    gain = paired_gain(before, after)
    assert gain.mean == pytest.approx(1 / 80)
    assert gain.high - gain.low < 0.06
    assert paired_gain(after, after).mean == 0.0
