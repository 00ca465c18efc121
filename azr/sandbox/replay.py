"""Recorded (program, inputs, outputs) rows against what the jail makes of them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from azr import values
from azr.sandbox.pool import SandboxPool
from azr.sandbox.protocol import Request
from azr.sandbox.rows import SeedRow
from azr.types import Outcome, Verdict

CUT_SIDE_CHARS = 200
"""The reference keeps this much of both ends of a longer output and writes `...` between."""
SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Pair:
    """One input of a row: what it is recorded to return, and what it did."""

    input: str
    recorded_text: str
    recorded: Outcome
    observed: Outcome

    @property
    def agrees(self) -> bool | None:
        """Whether both values are equal; None if one of them is missing."""
        if self.recorded.value is None or self.observed.value is None:
            return None
        return values.equal(self.recorded.value, self.observed.value)

    @property
    def reason(self) -> str:
        """Why it does not agree; empty if it does."""
        if self.observed.verdict is Verdict.BAD_INPUT:
            return f"the input is no literal: {_short(self.input)}"
        if self.observed.value is None:
            return described(self.observed)
        match self.agrees:
            case True:
                return ""
            case _ if _cut(self.recorded_text, value_text(self.observed)):
                return f"the recorded output was cut to {2 * CUT_SIDE_CHARS} characters"
            case None if not self.recorded_text.strip():
                return "the recorded output is empty"
            case None:
                return f"the recorded output is no literal: {_short(self.recorded_text)}"
            case _ if self._differ_by_rounding():
                returned = _short(value_text(self.observed))
                return f"the floats differ by rounding: {returned}, {_short(self.recorded_text)}"
            case _:
                returned = _short(value_text(self.observed))
                return f"returned {returned}, recorded {_short(self.recorded_text)}"

    def _differ_by_rounding(self) -> bool:
        """Whether both are equal but for the last digits of floats (`sum` since Python 3.12)."""
        one, other = self.observed.value, self.recorded.value
        if one is None or other is None:
            return False
        return _close(json.loads(one.canonical), json.loads(other.canonical))


@dataclass(frozen=True, slots=True)
class RowReport:
    """A row replayed. Rows with many inputs are judged as one, as a task would be."""

    pairs: tuple[Pair, ...]

    @property
    def outcome(self) -> Outcome:
        """The first outcome that is not OK, else the last."""
        observed = [pair.observed for pair in self.pairs]
        failed = (outcome for outcome in observed if outcome.verdict is not Verdict.OK)
        return next(failed, observed[-1] if observed else Outcome(Verdict.NOT_RUN))

    @property
    def agrees(self) -> bool | None:
        """True if every pair agrees, False if one disagrees, else None."""
        found = {pair.agrees for pair in self.pairs}
        if False in found:
            return False
        return True if found == {True} else None

    @property
    def reason(self) -> str:
        """Why the row does not agree: of a disagreeing pair if there is one, else the first."""
        wrong = [(index, pair) for index, pair in enumerate(self.pairs) if pair.agrees is not True]
        if not wrong:
            return "" if self.pairs else "no inputs"
        index, pair = next((found for found in wrong if found[1].agrees is False), wrong[0])
        if len(self.pairs) == 1:
            return pair.reason
        return f"input {index + 1} of {len(self.pairs)}: {pair.reason}"


async def replay(pool: SandboxPool, row: SeedRow, *, policy: bool = True) -> RowReport:
    """Validate a row's program on its inputs and compare with its recorded outputs."""
    request = Request(program=row.program, calls=row.inputs, policy=policy)
    observed = await pool.examine_twice(request)
    recorded = await pool.parse_literals(row.outputs)
    return RowReport(tuple(map(Pair, row.inputs, row.outputs, recorded, observed)))


def described(outcome: Outcome) -> str:
    """Verdict and detail, as a person reads them."""
    return f"{outcome.verdict}: {outcome.detail}" if outcome.detail else str(outcome.verdict)


def value_text(outcome: Outcome) -> str:
    """The value as a Python literal; canonical text where there is no literal (NaN)."""
    if outcome.value is None:
        return ""
    try:
        return values.literal(outcome.value)
    except ValueError:
        return outcome.value.canonical


def _cut(recorded: str, full: str) -> bool:
    """Whether `recorded` is what the reference keeps of a longer output."""
    start, end = recorded[:CUT_SIDE_CHARS], recorded[-CUT_SIDE_CHARS:]
    cut = f"{start}...{end}" == recorded and len(recorded) == 2 * CUT_SIDE_CHARS + 3
    return cut and full.startswith(start) and full.endswith(end)


def _close(one: object, other: object) -> bool:
    """Whether two trees of canonical values are alike, floats to nine digits."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    return one == other


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
