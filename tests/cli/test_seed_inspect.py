"""Laws of `azr tasks inspect` and `azr seed`: poison is named by line, in the real jail."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from azr.cli.seed import proposed_seeds, seed_lines
from azr.config import RunConfig, SandboxSection
from azr.errors import ConfigError, ModelError
from azr.sandbox import SandboxPool
from azr.seed_files import SeedRow, read_rows
from azr.testing import ScriptedEngine
from azr.types import TaskType
from tests.actors.scripts import play
from tests.cli.conftest import Azr
from tests.store.store_play import config

TWICE = "def f(a):\n    return a * 2"


def pair(program: str, arguments: str = "3", output: str = "6") -> str:
    return json.dumps({"snippet": program, "input": arguments, "output": output})


def pairs(
    *arguments: str, outputs: tuple[str, ...], message: str = "Say it twice.", program: str = TWICE
) -> str:
    row = {"snippet": program, "inputs": arguments, "outputs": outputs, "message": message}
    return json.dumps(row)


LINES = {
    pair(TWICE): [],
    pair("def f(a): # again\n  return a * 2"): ["duplicate"],
    pair("def f(a):\n    return list({'a', 'b', 'c', 'd', 'e', 'f', 'g'})", output="[]"): [
        "nondeterministic"
    ],
    pair("def f(a):\n    return 'x' * 100000", output="'x'"): ["oversized"],
    pair("def f(a):\n    return a / 0", output=""): ["failing"],
    pair(TWICE, "4", "'cut...'"): ["other output"],
    pairs("1", "2", "3", "4", outputs=("2", "4", "6", "8")): [],
    pairs("0", "0.0", "-0", "0j", outputs=("0", "0", "0", "0")): ["constant"],
    pairs("1", "2", " 1", "5", outputs=("2", "4", "2", "10")): ["repeated input"],
    pairs("1", "2", "3", "6", outputs=("2", "4", "6", "12"), message="It is def f(a)."): [
        "leaked message"
    ],
    "{": ["malformed"],
}


def test_every_kind_of_poison_is_named_by_its_line_and_the_rest_is_kept(
    azr: Azr, tmp_path: Path
) -> None:
    file, good = tmp_path / "seeds.jsonl", tmp_path / "good.jsonl"
    file.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    found = json.loads(azr("tasks", "inspect", file, "--clean", good, "--json").output)
    by_line: dict[int, list[str]] = {line: [] for line in range(1, len(LINES) + 1)}
    for problem in found["problems"]:
        by_line[problem["line"]].append(problem["problem"])
    assert list(by_line.values()) == list(LINES.values())
    assert found["rows"] == len(LINES)
    kept = good.read_text(encoding="utf-8").splitlines()
    assert kept == [line for line, wrong in LINES.items() if not wrong]
    again = azr("tasks", "inspect", good).output
    assert "2 rows, 0 with a problem" in again
    assert isinstance(azr("tasks", "inspect", file, "--clean", good).exception, ConfigError)


async def test_what_a_model_proposes_becomes_a_seed_file_of_every_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: RunConfig = config(selfplay={"seed_batches": 1, "induction_pairs": 4})
    limits = SandboxSection(workers=1)
    async with SandboxPool.open(limits) as sandbox:
        drafts = await proposed_seeds(ScriptedEngine(script=play), sandbox, settings)
    file = tmp_path / "seeds.jsonl"
    file.write_text("".join(f"{line}\n" for line in seed_lines(drafts)), encoding="utf-8")
    rows = [row for row in read_rows(file) if isinstance(row, SeedRow)]
    assert all(any(row.may_become([kind]) for row in rows) for kind in TaskType)
    assert sum(not row.is_induction for row in rows) == 2
    assert len(rows) == 4
    told = capsys.readouterr().err
    assert re.search(r"(\d+) of (\d+) proposals were valid tasks", told)


async def test_proposals_that_are_no_tasks_are_counted_by_their_reasons(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = config(selfplay={"seed_batches": 1, "induction_pairs": 4})
    async with SandboxPool.open(SandboxSection(workers=1)) as sandbox:
        with pytest.raises(ModelError, match="filled 1 of 2"):
            await proposed_seeds(ScriptedEngine(script=lambda _: "no contract"), sandbox, settings)
    told = capsys.readouterr().err
    assert "0 of 128 proposals were valid tasks; not valid: 128 bad_format" in told


def test_a_seed_file_is_not_written_over(azr: Azr, tmp_path: Path) -> None:
    taken = tmp_path / "taken.jsonl"
    taken.touch()
    assert isinstance(azr("seed", "tiny", taken).exception, ConfigError)
    assert isinstance(azr("seed", "tiny", tmp_path / "no" / "x.jsonl").exception, ConfigError)
