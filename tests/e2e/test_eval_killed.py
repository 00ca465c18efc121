"""kill -9 in the middle of `azr eval` on benchmarks: the same command goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import RUN_SECONDS, command, playing, query, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DATA = Path(__file__).parent.parent / "benchmarks" / "data"
QUESTIONS = 40
KEPT_BEFORE = 5
"""Of so many answers the process is killed, while most questions are not asked yet."""


def kept(out: Path) -> dict[int, str]:
    """The responses that are in the results, by their numbers."""
    if not (out / "results.sqlite").exists():
        return {}
    try:
        return dict(query(out, "select response_id, text from responses", "results"))
    except sqlite3.Error:  # the table may not be there yet
        return {}


def test_a_killed_evaluation_goes_on_and_keeps_the_engine_busy(tmp_path: Path):
    out = tmp_path / "out"
    words = command(
        "eval", "tiny", "--suite", "mbpp+,amc23", "--data", DATA, "--max-tokens", "32", "--json",
        "--out", out, "--set", "engine.max_sequences=1", "--set", "sandbox.workers=1",
    )  # fmt: skip
    with playing(words, tmp_path / "killed.log") as first:
        wait_until(lambda: len(kept(out)) >= KEPT_BEFORE, what="fifth response", of=first)
        below = psutil.Process(first.pid).children(recursive=True)
        os.kill(first.pid, signal.SIGKILL)
        first.wait(timeout=60)
    _, alive = psutil.wait_procs(below, timeout=60)
    assert alive == [], "jails and graders end with the command"
    before = kept(out)
    assert KEPT_BEFORE <= len(before) < QUESTIONS

    again = subprocess.run(words, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert again.returncode == 0, again.stderr
    after = kept(out)
    assert len(after) == QUESTIONS
    assert before.items() <= after.items(), "nothing is sampled twice"
    (policy,) = json.loads(again.stdout)["policies"]
    effort = policy["effort"]
    assert effort["sampled"] == QUESTIONS - len(before)
    assert effort["engine_busy_share"] >= 0.9
    marks = query(
        out, "select benchmark, count(*), avg(correct) from responses group by 1", "results"
    )
    shown = [
        (score["benchmark"], score["responses"], score["pass_at"]["1"]["mean"])
        for score in policy["benchmarks"]
    ]
    assert sorted(shown) == sorted(marks)
