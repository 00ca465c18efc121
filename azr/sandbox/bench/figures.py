"""The bench's figures: summed up, as a table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from azr.sandbox.bench.measure import (
    FLOOR,
    FRESH_JAIL,
    ONE_RUN,
    POOLED,
    TEN_RUNS,
    UNPROTECTED,
    VALIDATION,
    Measured,
)
from azr.sandbox.bench.scaling import Scaling

_RATIOS: tuple[tuple[str, str, str, float | None], ...] = (
    ("one run a job / one jail per program", ONE_RUN, FRESH_JAIL, 12.0),
    ("one run a job / floor", ONE_RUN, FLOOR, 0.45),
    ("ten inputs a job / unprotected process", TEN_RUNS, UNPROTECTED, 1.0),
    ("one run a job / unprotected process", ONE_RUN, UNPROTECTED, None),
    ("through the pool / one run a job", POOLED, ONE_RUN, None),
    ("full validation / one run a job", VALIDATION, ONE_RUN, None),
)
"""What it says, numerator, denominator, and the least it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One run of the bench."""

    num_programs: int
    rounds: int
    turn_seconds: float
    core: int
    measured: Sequence[Measured]
    scaling: Sequence[Scaling] = ()
    """Empty where there is one core only."""

    def ratios(self) -> list[tuple[str, list[float], float | None]]:
        """Each ratio of executions a second for each round, and the least it should be."""
        rates = {each.name: each.executions_per_second for each in self.measured}
        return [
            (label, [a / b for a, b in zip(rates[top], rates[bottom], strict=True)], least)
            for label, top, bottom, least in _RATIOS
        ]

    def as_json(self) -> dict[str, object]:
        return {
            "programs": self.num_programs,
            "rounds": self.rounds,
            "turn_seconds": self.turn_seconds,
            "pinned": {"core": self.core, "what": PINNED},
            "ways": [
                {
                    "name": each.name,
                    "runs_per_job": each.runs,
                    "executions_per_second": _summary(each.executions_per_second),
                    "job_milliseconds": _latencies(each),
                }
                for each in self.measured
            ],
            "ratios": [
                {"name": label, **_summary(found), "at_least": least}
                for label, found, least in self.ratios()
            ],
            "scaling": [
                {
                    "work": each.work,
                    "one_per_second": _summary(each.one),
                    "two_per_second": _summary(each.two),
                    "two_over_one": statistics.median(each.two) / statistics.median(each.one),
                }
                for each in self.scaling
            ],
        }


PINNED = "the host process, its threads and every jail share one core"


def table(bench: Bench) -> str:
    """What a person reads."""
    lines = [
        f"{bench.num_programs} programs, {bench.rounds} rounds; in each, every way for"
        f" {bench.turn_seconds:.2f} s in turn",
        f"pinned to core {bench.core}: {PINNED}",
        "",
        f"{'':34}{'executions/s':>20}{'job, ms':>18}",
        f"{'':34}{'median':>10}{'best':>10}{'p50':>9}{'p99':>9}",
    ]
    for each in bench.measured:
        rates, latency = _summary(each.executions_per_second), _latencies(each)
        lines.append(
            f"{each.name:34}{rates['median']:>10,.0f}{rates['best']:>10,.0f}"
            f"{latency['p50']:>9.2f}{latency['p99']:>9.2f}"
        )
    lines += ["", f"{'ratio of executions/s':44}{'median':>8}{'best':>8}{'wanted':>9}"]
    for label, found, least in bench.ratios():
        ratio, wanted = _summary(found), "" if least is None else f">= {least:g}"
        lines.append(f"{label:44}{ratio['median']:>8.2f}{ratio['best']:>8.2f}{wanted:>9}")
    if bench.scaling:
        lines += ["", f"{'scaling':34}{'one core':>10}{'two cores':>10}{'ratio':>9}"]
    for each in bench.scaling:
        one, two = statistics.median(each.one), statistics.median(each.two)
        lines.append(f"{_SCALED[each.work]:34}{one:>10,.0f}{two:>10,.0f}{two / one:>9.2f}")
    return "\n".join(lines)


_SCALED = {"jail": f"{ONE_RUN}, /s", "loop": "a loop that only counts, /s"}


def _summary(numbers: Sequence[float]) -> Mapping[str, float]:
    return {"median": statistics.median(numbers), "best": max(numbers)}


def _latencies(measured: Measured) -> Mapping[str, float]:
    """Percentiles over all jobs of all rounds, in milliseconds."""
    ordered = sorted(measured.latencies_seconds)
    return {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }
