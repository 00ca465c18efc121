"""Real runs: `azr run` in a process of its own, with vLLM, nsjail, Ray and SQLite."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

BATCH_ROLLOUTS = 4
SMALL = (
    f"learner.batch_rollouts={BATCH_ROLLOUTS}",
    "learner.solve_rollouts=0",
    "selfplay.seed_batches=2",
    "selfplay.attempts=3",
    "learner.checkpoint_every_steps=3",
    "evaluation.problems_per_type=0",
)
BESIDE = (
    "evaluation.suite=mbpp+,cruxeval-o",
    "evaluation.suite_limit=2",
    f"evaluation.suite_data={Path(__file__).parent.parent / 'benchmarks' / 'data'}",
)
"""What is measured beside a run, if `evaluation.suite_every_steps` says so."""
RUN_SECONDS = 420.0
"""A deadline against hanging, for machines far slower than a laptop."""


@dataclass(frozen=True, slots=True)
class Played:
    """A finished run."""

    directory: Path
    output: str

    def query(self, sql: str) -> list[tuple]:
        return query(self.directory, sql)


def query(directory: Path, sql: str, name: str = "azr") -> list[tuple]:
    """Plain SQL on a run's database, as a user would ask it."""
    with sqlite3.connect(directory / f"{name}.sqlite", timeout=30) as connection:
        rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


def committed_steps(directory: Path) -> int:
    """Steps of the surviving lineage; 0 while there is no database."""
    if not (directory / "azr.sqlite").exists():
        return 0
    try:
        ((steps,),) = query(directory, "select count(*) from learner_step where state = 'live'")
    except sqlite3.Error:  # the tables may not be there yet
        return 0
    return steps


def family(driver: int) -> list[psutil.Process]:
    """All processes of a run that is on this machine."""
    return psutil.Process(driver).children(recursive=True)


def evaluations(driver: int) -> list[psutil.Process]:
    """The processes that measure a version beside a run."""
    found = []
    for process in family(driver):
        with suppress(psutil.Error):  # it ended meanwhile
            if process.cmdline()[1:4] == ["-m", "azr", "eval"]:
                found.append(process)
    return found


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "azr", *map(str, arguments)]


def overrides(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def play(directory: Path, *, steps: int, settings: Sequence[str] = ()) -> Played:
    """Run to the last step."""
    words = command("run", "--run-dir", directory, "--steps", str(steps))
    finished = subprocess.run(
        [*words, *overrides([*SMALL, *settings])],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return Played(directory, finished.stdout)


@contextmanager
def playing(words: Sequence[str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    """A run in the background; killed with its process group if the test leaves early."""
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait(timeout=60)


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    seconds: float = RUN_SECONDS,
    of: subprocess.Popen[bytes] | None = None,
) -> None:
    """Poll another process's work, with a deadline; for as long as that process lives."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert of is None or of.poll() is None, f"no {what}: the command has ended"
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One asynchronous run of ten steps that the tests of this folder look at."""
    settings = ["evaluation.problems_per_type=1"]
    return play(tmp_path_factory.mktemp("e2e") / "run", steps=10, settings=settings)
