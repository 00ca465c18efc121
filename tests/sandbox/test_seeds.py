"""Real programs: the seed files of the reference implementation, where a checkout has them.

Every row that is deterministic and whose recorded output is a literal must agree; every
other row has its reason here, counted.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from azr.config import SandboxSection
from azr.sandbox import SandboxPool
from azr.sandbox.in_order import in_order
from azr.sandbox.replay import RowReport, replay
from azr.sandbox.rows import SeedRow, read_rows, seed_row

SEEDS = Path(__file__).parents[3] / "shared" / "data" / "seeds"
LIMITS = SandboxSection(workers=2, wall_seconds=7.0)

CUT = "the recorded output was cut"
REASONS = (
    CUT,
    "the recorded output is empty",
    "the recorded output is no literal",
    "the input is no literal",
    "the floats differ by rounding",
    "nondeterministic",
    "unserialisable",
    "output_too_large",
    "banned_import",
    "banned_construct",
    "runtime_error: ModuleNotFoundError",
    "runtime_error: ImportError",
)
# By file and policy: how many rows agree, and how many do not for each reason. `-1 * 10**9`
# and `dict(a=1)` are no literals; `Counter(...)` and `...` are no values.
EXPECTED: dict[str, dict[bool, tuple[int, dict[str, int]]]] = {
    "3b_coder": {
        True: (
            235,
            {
                "unserialisable": 8,
                "the input is no literal": 5,
                "banned_import": 5,
                "the recorded output is empty": 2,
                "output_too_large": 1,
            },
        ),
        False: (
            238,
            {
                "unserialisable": 8,
                "the input is no literal": 5,
                "the recorded output is empty": 2,
                "runtime_error: ModuleNotFoundError": 2,
                "output_too_large": 1,
            },
        ),
    },
    "7b_coder": {
        True: (
            241,
            {
                CUT: 7,
                "unserialisable": 3,
                "the input is no literal": 2,
                "nondeterministic": 2,
                "banned_import": 1,
            },
        ),
        False: (
            241,
            {CUT: 7, "unserialisable": 3, "nondeterministic": 3, "the input is no literal": 2},
        ),
    },
    "3b_coder_code_f": {
        True: (
            221,
            {
                "the input is no literal": 15,
                "unserialisable": 7,
                CUT: 5,
                "banned_import": 4,
                "the recorded output is empty": 3,
                "the floats differ by rounding": 1,
            },
        ),
    },
    "7b_coder_code_f": {
        True: (
            230,
            {
                "the input is no literal": 9,
                CUT: 9,
                "banned_import": 3,
                "unserialisable": 3,
                "output_too_large": 1,
                "nondeterministic": 1,
            },
        ),
    },
}


@pytest.mark.skipif(not SEEDS.is_dir(), reason="no seed data beside this checkout")
@pytest.mark.parametrize(
    ("name", "policy"),
    [
        pytest.param(name, policy, id=f"{name}-{'policy' if policy else 'jail'}")
        for name, expected in EXPECTED.items()
        for policy in expected
    ],
)
async def test_every_row_agrees_or_has_its_reason(name: str, policy: object) -> None:
    reports = await replayed(SEEDS / f"{name}_seed_io.jsonl", policy=bool(policy))
    agree, reasons = EXPECTED[name][bool(policy)]
    assert len(reports) == 256
    assert sum(report.agrees is True for report in reports) == agree
    assert Counter(map(reason, filter(lambda r: r.agrees is not True, reports))) == reasons


def reason(report: RowReport) -> str:
    """The reason by kind; the full text if it is of no kind that is known."""
    return next((known for known in REASONS if known in report.reason), report.reason)


async def replayed(file: Path, *, policy: bool) -> list[RowReport]:
    reports: list[RowReport] = []

    async def judge(row: SeedRow) -> RowReport:
        return await replay(pool, row, policy=policy)

    async with SandboxPool.open(LIMITS) as pool:
        await in_order(read_rows(file, seed_row), judge, reports.append, at_once=8)
    return reports
