"""Findings as events of a run: told once when one begins, once when it is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from azr.diagnosis.watch import Finding
from azr.store.points import EventPoint
from azr.types import PolicyVersion

BEGAN = "finding"
OVER = "finding_over"
KINDS = (BEGAN, OVER)

type Place = tuple[str, str]
"""(rule, scope): a finding that lasts is the only one of its place."""


def facts_of(finding: Finding) -> dict[str, object]:
    """What the event says when a finding begins."""
    return {
        "name": finding.name,
        "scope": finding.scope,
        "severity": str(finding.severity),
        "since_step": finding.since_step,
        "figures": finding.figures,
        "meaning": finding.rule.meaning,
        "advice": finding.rule.advice,
    }


def facts_of_end(place: Place, step: PolicyVersion) -> dict[str, object]:
    """What the event says when it is over."""
    name, scope = place
    return {"name": name, "scope": scope, "step": step}


def still_open(events: Iterable[EventPoint]) -> dict[Place, Mapping[str, Any]]:
    """The findings that events, oldest first, tell of and do not end."""
    found: dict[Place, Mapping[str, Any]] = {}
    for event in events:
        if event.kind not in KINDS:
            continue
        place = (str(event.facts.get("name")), str(event.facts.get("scope")))
        if event.kind == BEGAN:
            found[place] = event.facts
        else:
            found.pop(place, None)
    return found


def line(facts: Mapping[str, Any]) -> str:
    """A finding in one line, for a terminal."""
    return (
        f"{facts.get('severity')}: {facts.get('name')} in {facts.get('scope')} since step"
        f" {facts.get('since_step')} ({facts.get('figures')}): {facts.get('meaning')}"
    )
