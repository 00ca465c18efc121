"""What `azr eval` wrote, as outcomes in the order of the suite."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azr.errors import InputError
from azr.evals.held_out import Decoding
from azr.evals.problems import Problem, held_out_suite
from azr.evals.session import ATTEMPTS_FILE, SCORES_FILE
from azr.experiments.results import DIGITS, Outcomes
from azr.types import PolicyVersion


def is_measured(folder: Path) -> bool:
    """Whether an evaluation was finished there."""
    return (folder / SCORES_FILE).exists()


def num_attempts(folder: Path) -> int:
    """Graded so far."""
    try:
        with (folder / ATTEMPTS_FILE).open("rb") as lines:
            return sum(1 for _ in lines)
    except OSError:
        return 0


def suite_name() -> str:
    suite = held_out_suite()
    return f"{suite.name} v{suite.version}"


def read_outcomes(
    folder: Path, *, per_type: int | None, samples: int
) -> dict[PolicyVersion, Outcomes]:
    """The outcomes of each policy of a finished evaluation.

    Raises InputError if attempts are missing.
    """
    problems = held_out_suite().select(per_type=per_type)
    rows: defaultdict[PolicyVersion, list[dict[str, Any]]] = defaultdict(list)
    with (folder / ATTEMPTS_FILE).open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows[row["version"]].append(row)
    return {
        version: _outcomes(folder, found, problems, per_type=per_type, samples=samples)
        for version, found in sorted(rows.items())
    }


def _outcomes(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    problems: Sequence[Problem],
    *,
    per_type: int | None,
    samples: int,
) -> Outcomes:
    solved: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in rows:
        solved[row["problem"], row["decoding"]].append(row["solved"])
    wanted = {Decoding.GREEDY: 1, Decoding.SAMPLED: samples}
    counts = {
        decoding: [solved[problem.problem_id, decoding] for problem in problems]
        for decoding in wanted
    }
    for decoding, number in wanted.items():
        if any(len(found) != number for found in counts[decoding]):
            raise InputError(f"{folder} lacks attempts", hint="Remove the folder and try again.")
    return Outcomes(
        per_type=per_type,
        greedy="".join(str(int(found[0])) for found in counts[Decoding.GREEDY]),
        samples=samples,
        solved="".join(DIGITS[sum(found)] for found in counts[Decoding.SAMPLED]) if samples else "",
    )
