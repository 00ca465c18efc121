"""Real programs: seed triplets of the reference implementation, where a checkout has them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from azr import values
from azr.sandbox import SandboxPool
from azr.types import Verdict

SEEDS = Path(__file__).parents[3] / "shared" / "data" / "seeds" / "7b_coder_seed_io.jsonl"


@pytest.mark.skipif(not SEEDS.is_file(), reason="no seed data beside this checkout")
async def test_real_programs_validate_and_agree_with_their_recorded_outputs(
    pool: SandboxPool,
) -> None:
    rows = [json.loads(line) for line in SEEDS.read_text().splitlines()]
    valid = agreeing = 0
    chosen = random.Random(0).sample(rows, 60)  # noqa: S311
    for row in chosen:
        (outcome,) = await pool.validate(row["snippet"], [row["input"]])
        assert outcome.verdict not in (Verdict.KILLED, Verdict.NOT_RUN, Verdict.TIMEOUT)
        if outcome.value is not None:
            valid += 1
            (recorded,) = await pool.parse_literals([row["output"]])
            agreeing += recorded.value is not None and values.equal(recorded.value, outcome.value)
    assert valid >= 0.85 * len(chosen)
    assert agreeing >= 0.9 * valid  # recorded outputs are cut at 400 characters
