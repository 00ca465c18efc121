"""docs/failure-modes.md tells the truth: its rules and measures are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr.diagnosis.measures import MEASURES, Measure
from azr.diagnosis.rules import (
    BASELINE_STEPS,
    MIN_COUNT,
    RELEASE,
    RULES,
    WINDOW_STEPS,
    Rule,
    Side,
)

PAGE = (Path(__file__).parents[2] / "docs" / "failure-modes.md").read_text(encoding="utf-8")


def thresholds(rule: Rule) -> str:
    sign = ">" if rule.side is Side.ABOVE else "<"
    parts = [] if rule.limit is None else [f"{sign} {rule.limit:g}"]
    parts += [] if rule.ratio is None else [f"{sign} {rule.ratio:g} x beginning"]
    parts += [] if rule.shift is None else [f"{sign} beginning + {rule.shift:g}"]
    return " or ".join(parts)


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_rule_stands_there_as_it_judges(rule: Rule):
    assert f"| `{rule.name}` | {rule.severity} | `{rule.measure}` | {thresholds(rule)} |" in PAGE
    assert f"**`{rule.name}`**: {sentence(rule.meaning)}" in PAGE
    assert f"*Why there:* {sentence(rule.reason)} *Try:* {sentence(rule.advice)}" in PAGE


@pytest.mark.parametrize("measure", MEASURES.values(), ids=list(MEASURES))
def test_a_measure_stands_there_as_it_is_taken(measure: Measure):
    row = f"| `{measure.name}` | {measure.unit} | {measure.over} | {measure.meaning} |"
    assert row in PAGE


def test_the_windows_are_as_long_as_it_says():
    assert f"the last {WINDOW_STEPS} steps" in PAGE
    assert f"the run's first {BASELINE_STEPS} steps" in PAGE
    assert f"fewer than {MIN_COUNT} things" in PAGE
    assert RELEASE == 0.1
    assert "a tenth of the threshold" in PAGE
