"""Laws of findings: each failure is found by its name, and a healthy run left in peace."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from azr.diagnosis.measures import MEASURES, SCOPES, StepMeasures
from azr.diagnosis.rules import BASELINE_STEPS, MIN_COUNT, RULES, WINDOW_STEPS, Side
from azr.diagnosis.series import read_series
from azr.diagnosis.watch import Finding, Watch, findings, watch
from azr.store.history import open_history
from tests.diagnosis.conftest import RunThat

pytestmark = pytest.mark.timeout(300)  # a story is some hundred commits

DIFFICULTY = {"tasks_become_hard", "tasks_impossible"}
EASE = {"tasks_become_easy", "tasks_trivial"}
SHOWN = {
    "healthy": set(),
    "copies in silence": DIFFICULTY
    | {"copied_references", "near_copies", "repeated_proposals", "thinking_vanishes"}
    | {"entropy_collapse", "no_learning_signal"},
    "tells the answer": EASE
    | {"diversity_collapse", "repeated_proposals", "copied_references"}
    | {"answers_given_away", "trivial_programs", "outputs_alike", "programs_shrink"}
    | {"no_learning_signal", "one_answer_for_all", "lookup_tables"},
    "is noise": {"validity_collapse", "format_lost", "truncation", "length_blow_up"}
    | {"entropy_blow_up", "no_learning_signal"},
}


def found_in(path: Path) -> list[Finding]:
    with open_history(path) as history:
        return findings(read_series(history))


@pytest.mark.parametrize("name", SHOWN)
def test_a_run_shows_its_failures_and_no_others(name: str, run_that: RunThat):
    assert {found.name for found in found_in(run_that(name))} == SHOWN[name]


def test_the_stories_show_every_rule():
    assert set().union(*SHOWN.values()) == set(RULES)


def test_a_failure_is_found_within_a_window_and_not_before_it_began(run_that: RunThat):
    for found in found_in(run_that("is noise")):
        assert BASELINE_STEPS < found.since_step <= BASELINE_STEPS + WINDOW_STEPS
        assert found.until_step is None


def test_every_rule_names_a_measure_scopes_and_something_to_compare_with():
    for rule in RULES.values():
        assert rule.measure in MEASURES
        assert set(rule.scopes) <= set(SCOPES)
        assert {rule.limit, rule.ratio, rule.shift} != {None}
        assert rule.meaning
        assert rule.advice
        assert rule.reason


ENTROPY = ("run", "entropy")


def step(number: int, entropy: float, count: int = 100) -> StepMeasures:
    return StepMeasures(number, {ENTROPY: entropy}, {("run", "rows"): count})


def steps(*entropies: float, count: int = 100) -> list[StepMeasures]:
    return [step(number, entropy, count) for number, entropy in enumerate(entropies, 1)]


def test_the_stricter_of_two_thresholds_counts():
    valid = RULES["validity_collapse"]
    assert valid.side is Side.BELOW
    assert valid.threshold(0.9) == pytest.approx(0.54)
    assert valid.threshold(0.1) == valid.threshold(None) == valid.limit
    assert RULES["format_lost"].threshold(0.1) == pytest.approx(0.3)
    assert RULES["format_lost"].threshold(0.9) == 0.5
    assert RULES["entropy_collapse"].threshold(None) is None


def test_a_finding_begins_once_and_ends_once():
    seen = Watch()
    changes = [seen.add(each) for each in steps(*[1.0] * 5, *[0.0] * 6, *[1.0] * 6)]
    told = list(chain.from_iterable(changes))
    begun = [found for found in told if found.until_step is None]
    over = [found for found in told if found.until_step is not None]
    # Means over five steps: below 0.4 from the fourth zero on, above 0.44 from the third one on.
    assert [(found.name, found.since_step) for found in begun] == [("entropy_collapse", 9)]
    assert [found.until_step for found in over] == [14]
    assert seen.current == []
    assert seen.ended == over


def test_what_lasts_has_the_latest_figures():
    [found] = watch(steps(*[1.0] * 5, *[0.0] * 10)).current
    assert (found.since_step, found.value, found.baseline) == (9, 0.0, 1.0)
    assert "entropy 0 nats, at the beginning 1, limit 0.4" in str(found)


def test_a_value_that_hovers_at_the_threshold_is_one_finding():
    wobble = [0.39, 0.41] * 10
    assert len(findings(steps(*[1.0] * 5, *[0.0] * 5, *wobble))) == 1


def test_too_little_is_not_judged():
    few = (MIN_COUNT - 1) // WINDOW_STEPS
    assert findings(steps(*[1.0] * 5, *[0.0] * 10, count=few)) == []


def test_a_run_that_is_shorter_than_a_window_is_not_judged():
    assert findings(steps(*[1.0] * (WINDOW_STEPS - 1))) == []
