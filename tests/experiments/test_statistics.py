"""Laws of gains and differences: what their intervals cover, and when nothing is told."""

from __future__ import annotations

import math
from statistics import fmean

import pytest

from azr.evals.problems import Split
from azr.experiments import sentences, statistics
from azr.experiments.results import Outcomes
from azr.experiments.statistics import View
from azr.task_types import MAIN_TYPES
from tests.experiments.made_up import BASE_SHARE, NUM_PROBLEMS, PER_TYPE, outcomes

BASE = outcomes(BASE_SHARE)


def flipped(before: Outcomes, count: int) -> Outcomes:
    """With the first `count` wrong answers of each group of problems right."""
    size = NUM_PROBLEMS // 6
    parts = [before.greedy[start : start + size] for start in range(0, NUM_PROBLEMS, size)]
    greedy = "".join(part.replace("0", "1", count) for part in parts)
    return before.model_copy(update={"greedy": greedy})


def test_the_gain_is_the_share_of_problems_gained():
    gain = statistics.gain(BASE, [flipped(BASE, 2)])
    assert gain.mean == pytest.approx(0.2)
    assert gain.interval.low < 0.2 < gain.interval.high


def test_with_one_seed_the_interval_covers_problems_only():
    gain = statistics.gain(BASE, [flipped(BASE, 2)])
    assert not gain.covers_seeds
    assert gain.interval == gain.over_problems


def test_the_interval_over_seeds_is_students():
    gain = statistics.gain(BASE, [flipped(BASE, count) for count in (1, 2, 3)])
    assert gain.over_seeds is not None
    assert gain.mean == pytest.approx(0.2)
    assert gain.over_seeds.high - gain.mean == pytest.approx(4.303 * 0.1 / math.sqrt(3))


def test_the_whole_interval_is_wider_than_each_of_its_parts():
    gain = statistics.gain(BASE, [flipped(BASE, count) for count in (1, 2, 3)])
    assert gain.over_seeds is not None
    whole = gain.interval.high - gain.interval.low
    for part in (gain.over_seeds, gain.over_problems):
        assert whole > part.high - part.low


def test_equal_seeds_leave_the_problems_as_the_only_chance():
    gain = statistics.gain(BASE, [flipped(BASE, 2)] * 3)
    assert gain.interval.low == pytest.approx(gain.over_problems.low)


def test_an_arm_does_not_differ_from_itself():
    ours = [flipped(BASE, count) for count in (1, 2, 3)]
    same = statistics.difference(ours, ours)
    assert same.mean == 0
    assert not same.is_told


def test_a_difference_is_the_difference_of_gains():
    ours, theirs = [flipped(BASE, 4), flipped(BASE, 5)], [flipped(BASE, 1)]
    difference = statistics.difference(ours, theirs)
    gains = [statistics.gain(BASE, side).mean for side in (ours, theirs)]
    assert difference.mean == pytest.approx(gains[0] - gains[1])
    assert difference.covers_seeds, "the arm with two seeds says how far seeds lie apart"
    assert not statistics.difference(ours[:1], theirs).covers_seeds


def test_views_split_the_whole_into_equal_parts():
    final = flipped(BASE, 2)
    whole = statistics.score(final).mean
    for views in ([View(task_type=t) for t in MAIN_TYPES], [View(split=s) for s in Split]):
        assert fmean(statistics.score(final, view).mean for view in views) == pytest.approx(whole)


def test_sampled_answers_count_by_their_share():
    half = Outcomes(
        per_type=PER_TYPE, greedy="0" * NUM_PROBLEMS, samples=4, solved="2" * NUM_PROBLEMS
    )
    assert statistics.score(half, View(greedy=False)).mean == 0.5


def test_a_sentence_claims_only_what_the_interval_supports():
    clear = statistics.gain(BASE, [flipped(BASE, 3)] * 3)
    assert sentences.gained("It", clear).startswith("It: held-out accuracy rose by 30.0 points [+")
    assert "is reached" in sentences.verdict(clear)
    lost = statistics.gain(flipped(BASE, 3), [BASE] * 3)
    assert "fell by 30.0 points" in sentences.gained("It", lost)
    assert "is not reached: the mean is -30.0" in sentences.verdict(lost)
    vague = statistics.gain(BASE, [flipped(BASE, count) for count in (0, 0, 1)])
    assert "no change over the base can be told" in sentences.gained("It", vague)
    single = statistics.gain(BASE, [flipped(BASE, 3)])
    assert "with one seed" in sentences.gained("It", single)
    assert "cannot be judged" in sentences.verdict(single)
