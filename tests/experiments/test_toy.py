"""A whole experiment with every real part: vLLM, nsjail, Ray, SQLite, two learner steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from azr.experiments import results

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

SECONDS = 700.0
"""A deadline against hanging, for machines far slower than a laptop."""


def experiment(folder: Path, *words: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-m", "azr", "experiment", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        # Engines want to choose their threads themselves.
        env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"},
        timeout=SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


def test_a_toy_experiment_leaves_results_and_a_report_and_is_not_done_twice(tmp_path: Path):
    said = experiment(tmp_path, "learning", "toy")
    folder = tmp_path / "runs" / "experiments" / "toy" / "results"
    base, played = results.read_all(folder)
    assert "0 of 2 trials are done already" in said
    assert (base.arm, played.arm, played.steps) == ("base", "selfplay", 2)
    assert [point.step for point in played.curve] == [0, 2]
    assert len(played.final.greedy) == len(played.final.solved) == 12
    assert played.curve[0] == base.curve[0]
    assert played.tokens > 0
    assert played.played_seconds > 0
    assert played.cpu_seconds is None or played.cpu_seconds > 0
    assert played.trace["step"] == (1, 2)
    assert {
        "entropy",
        "staleness_mean",
        "propose/deduction/valid",
        "solve/induction/reward",
    } <= set(played.trace)
    assert "cannot be judged with one seed" in (folder / "report.md").read_text()
    kept = [path.name for path in (tmp_path / "runs").rglob("step-*")]
    assert kept == ["step-000002"], "measured checkpoints are not kept"

    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert "2 of 2 trials are done already" in experiment(tmp_path, "learning", "toy")
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
