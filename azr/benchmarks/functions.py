"""HumanEval+ and MBPP+: a solution against the canonical one, as EvalPlus compares them.

Both run in the jail on the base and the plus inputs; the values are compared here. The
canonical outputs are computed once and kept, because they take as long as an answer's.

EvalPlus 0.3 (`evalplus/eval`): equal, or close where floats are expected (rtol 1e-7, atol
the task's or 1e-6); some tasks compare sets, or have a formula of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from azr.benchmarks.harness import View, function_harness, python_text
from azr.benchmarks.jails import MAX_PROGRAM_CHARS, SolutionJail
from azr.benchmarks.keeping import KeptOutputs
from azr.benchmarks.questions import Arguments, FunctionReference, Mark, Question, right, wrong
from azr.types import Outcome, Value, Verdict
from azr.values import Tree, equal

INPUTS_PER_CALL = 16
"""Under one time limit together; a call executes the solution anew."""
RTOL, FLOAT_ATOL = 1e-7, 1e-6
MAX_NAME_CHARS = 40
_SET_TASKS = (
    *("similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly"),
    *("larg_nnum", "intersection_array", "find_dissimilar", "Diff"),
)
_NOT_NONE_TASKS = ("check_str", "text_match_three", "text_starta_endb")

type Result = tuple[bool, Tree]
"""(returned?, value or the name of the exception)."""


class ReferenceFailedError(ValueError):
    """A canonical solution has no output for one of its inputs."""


@dataclass(kw_only=True)
class FunctionGrader:
    """Grades solutions; one canonical run for each question, however many solutions."""

    jail: SolutionJail
    kept: KeptOutputs
    _locks: dict[str, anyio.Lock] = field(default_factory=dict)

    async def mark(self, question: Question, reference: FunctionReference, code: str) -> Mark:
        """Whether a solution passes every base and plus input.

        Raises SandboxError for infrastructure failures only.
        """
        try:
            expected = await self._expected(question, reference)
        except ReferenceFailedError as error:
            return wrong(f"reference: {error}")
        source = f"{reference.prompt}\n    pass\n\n{code}" if reference.prompt else code
        inputs = (*reference.base_inputs, *reference.plus_inputs)
        num_base = len(reference.base_inputs)
        done = 0
        for batch in _batches(inputs, len(source)):
            outcome = await self._run(source, reference, batch)
            results = _results(outcome, len(batch))
            for offset, arguments in enumerate(batch):
                index = done + offset
                where = f"base {index}" if index < num_base else f"plus {index - num_base}"
                if isinstance(results, str):
                    return wrong(f"{results} on {where} or after")
                reason = _compared(reference, arguments, results[offset], expected[index])
                if reason:
                    return wrong(f"{reason} on {where}")
            done += len(batch)
        return right(f"{num_base} base and {len(inputs) - num_base} plus inputs")

    async def _expected(self, question: Question, reference: FunctionReference) -> list[Tree]:
        lock = self._locks.setdefault(question.digest, anyio.Lock())
        async with lock:
            known = self.kept.get(question.digest)
            if known is None:
                known = await self._canonical_outputs(reference)
                self.kept.put(question.digest, known)
        return known

    async def _canonical_outputs(self, reference: FunctionReference) -> list[Tree]:
        found: list[Tree] = []
        inputs = (*reference.base_inputs, *reference.plus_inputs)
        for batch in _batches(inputs, len(reference.canonical)):
            outcome = await self._run(reference.canonical, reference, batch)
            results = _results(outcome, len(batch))
            if isinstance(results, str):
                raise ReferenceFailedError(results)
            for returned, value in results:
                if not returned:
                    raise ReferenceFailedError(f"{value}")
                found.append(value)
        return found

    async def _run(
        self, source: str, reference: FunctionReference, batch: Sequence[Arguments]
    ) -> Outcome:
        program = function_harness(
            source, reference.entry_point, batch, view=_view(reference.entry_point)
        )
        (outcome,) = await self.jail.calls(program, [f"0, {len(batch)}"])
        return outcome


def _view(entry_point: str) -> View:
    if entry_point in _SET_TASKS:
        return "set"
    return "not_none" if entry_point in _NOT_NONE_TASKS else "value"


def _batches(inputs: Sequence[Arguments], source_chars: int) -> list[list[Arguments]]:
    """Inputs in their order, few enough for one request and one time limit."""
    room = max(1, MAX_PROGRAM_CHARS - 2 * source_chars - 8_192)
    batches: list[list[Arguments]] = []
    left = 0
    for arguments in inputs:
        size = len(python_text(arguments)) + 2
        if not batches or len(batches[-1]) == INPUTS_PER_CALL or size > left:
            batches.append([])
            left = room
        batches[-1].append(arguments)
        left -= size
    return batches


def _results(outcome: Outcome, count: int) -> list[Result] | str:
    """What the harness reported for each input, or why it reported nothing."""
    if outcome.value is None:
        return f"{outcome.verdict} {outcome.detail}".strip()
    match json.loads(outcome.value.canonical):
        case list(items) if len(items) == count and all(map(_is_result, items)):
            return [(item["t"][0], item["t"][1]) for item in items]
        case _:
            return str(Verdict.KILLED)  # no harness of ours writes that


def _is_result(item: object) -> bool:
    match item:
        case {"t": [bool(), _]}:
            return True
        case _:
            return False


def _compared(
    reference: FunctionReference, arguments: Arguments, result: Result, expected: Tree
) -> str:
    """Why a result is wrong; empty if it is right."""
    returned, value = result
    if not returned:
        return _exception_name(value)
    entry = reference.entry_point
    if entry == "find_zero":
        return "" if _is_root(arguments, value, reference.atol) else "wrong value"
    if entry == "are_equivalent" or _trees_equal(value, expected):
        return ""
    if _by_own_formula(entry, arguments, value, reference.atol):
        return ""
    atol = reference.atol
    if atol == 0 and _is_floats(expected):
        atol = FLOAT_ATOL
    return "" if atol and _close(value, expected, atol) else "wrong value"


def _exception_name(value: Tree) -> str:
    """A solution may name its exceptions as it likes, and forge the report of one."""
    name = value if isinstance(value, str) else ""
    return name if name.isidentifier() and len(name) <= MAX_NAME_CHARS else "an exception"


def _by_own_formula(entry: str, arguments: Arguments, value: Tree, atol: float) -> bool:
    """Tasks whose text admits a second reading, which EvalPlus also accepts."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    match entry, arguments:
        case "sum_div", _:
            return value == 0
        case "surface_Area", (int() | float() as base, int() | float() as height):
            slant = math.hypot(base / 2, height)
            return abs(value - round(base**2 + 2 * base * slant)) <= atol
        case "digit_distance_nums", (int(one), int(other)):
            width = max(len(str(one)), len(str(other)))
            pairs = zip(str(one).zfill(width), str(other).zfill(width), strict=True)
            return value == sum(abs(ord(a) - ord(b)) for a, b in pairs)
    return False


def _is_root(arguments: Arguments, value: Tree, atol: float) -> bool:
    """HumanEval/32 asks for any zero of a polynomial, lowest coefficient first."""
    match arguments:
        case (list(coefficients),) if isinstance(value, int | float):
            try:
                total = math.fsum(
                    float(factor) * float(value) ** power
                    for power, factor in enumerate(coefficients)
                )
            except (OverflowError, TypeError, ValueError):
                return False
            return abs(total) <= atol
    return False


def _trees_equal(one: Tree, other: Tree) -> bool:
    return equal(Value(_canonical(one)), Value(_canonical(other)))


def _canonical(tree: Tree) -> str:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))


def _is_floats(tree: Tree) -> bool:
    """A float, or a list or tuple of nothing else."""
    items = _sequence(tree)
    return bool(items) and all(map(_is_float, items)) if items is not None else _is_float(tree)


def _is_float(tree: Tree) -> bool:
    return isinstance(tree, float) or (isinstance(tree, dict) and "f" in tree)


def _close(value: Tree, expected: Tree, atol: float) -> bool:
    """Of the same type and as long, and all numbers in them close."""
    alike = type(value) is type(expected) or (_is_float(value) and _is_float(expected))
    return alike and _members_close(value, expected, atol)


def _members_close(value: Tree, expected: Tree, atol: float) -> bool:
    items, wanted = _sequence(value), _sequence(expected)
    if items is None or wanted is None:
        return _numbers_close(value, expected, atol)
    return len(items) == len(wanted) and all(
        _members_close(*pair, atol) for pair in zip(items, wanted, strict=True)
    )


def _numbers_close(value: Tree, expected: Tree, atol: float) -> bool:
    one, other = _number(value), _number(expected)
    if one is None or other is None:
        return False
    if not (math.isfinite(one) and math.isfinite(other)):
        return one == other
    return abs(one - other) <= atol + RTOL * abs(other)


def _number(tree: Tree) -> float | None:
    try:
        if isinstance(tree, int | float):
            return float(tree)
        if isinstance(tree, dict) and "f" in tree:
            return float(str(tree["f"]))
    except OverflowError:
        return None
    return None


def _sequence(tree: Tree) -> list[Tree] | None:
    """The members of a list or tuple."""
    if isinstance(tree, dict):
        items = tree.get("t")
        return items if isinstance(items, list) else None
    return tree if isinstance(tree, list) else None
