"""kill -9 in the middle of a run: of the driver, then `--resume` goes on; of the learner and of
the node, then the run goes on by itself."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import (
    BATCH_ROLLOUTS,
    BESIDE,
    SMALL,
    command,
    committed_steps,
    evaluations,
    family,
    overrides,
    playing,
    query,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

STEPS = 20
WAIT_SECONDS = 1200.0
"""A deadline against hanging, of each start, kill and return, on a machine with much else to do."""
CHECKPOINT_EVERY = 10
"""Each kill comes right after the first checkpoint, and the run goes back to it. A node whose
driver was killed plays on until Ray ends it, some seconds later: a step takes one, so that the
last step stays out of reach."""


def node_process(driver: int) -> psutil.Process:
    """The node's Ray worker: a descendant of the driver that hosts the learner's child."""
    return next(each for each in family(driver) if "NodeActor" in " ".join(each.cmdline()))


def learner_process(driver: int) -> psutil.Process:
    """The learner's child of the node."""
    return next(each for each in family(driver) if "azr.learner.process" in each.cmdline())


def undone_steps(directory: Path) -> int:
    ((steps,),) = query(directory, "select count(*) from learner_step where state = 'rolled_back'")
    return steps


def test_a_run_that_is_killed_part_by_part_neither_loses_nor_repeats_a_row(tmp_path: Path):
    directory, log = tmp_path / "run", tmp_path / "resumed.log"
    settings = [*SMALL, *BESIDE, f"learner.checkpoint_every_steps={CHECKPOINT_EVERY}"]
    settings.append(f"evaluation.suite_every_steps={CHECKPOINT_EVERY}")
    words = command("run", "--run-dir", directory, "--steps", str(STEPS), *overrides(settings))
    known: list[dict[int, int]] = []

    def until_something_is_at_stake(driver: subprocess.Popen[bytes], undone: int) -> None:
        """Wait for a step after the checkpoint, when more than so many have been undone."""
        wait_until(
            lambda: (
                committed_steps(directory) > CHECKPOINT_EVERY and undone_steps(directory) > undone
            ),
            what="step to undo",
            seconds=WAIT_SECONDS,
            of=driver,
        )
        known.append(dict(query(directory, "select rollout_id, admission_id from rollout")))

    with playing(words, tmp_path / "first.log") as driver:
        until_something_is_at_stake(driver, -1)
        wait_until(lambda: bool(evaluations(driver.pid)), what="version to be measured")
        measuring, node = evaluations(driver.pid), node_process(driver.pid)
        os.kill(driver.pid, signal.SIGKILL)
        assert driver.wait(timeout=120) != 0
        node.wait(timeout=120)
        _, alive = psutil.wait_procs(measuring, timeout=60)
        assert alive == [], "what is measured beside a run ends with its node"
    with playing(command("run", "--resume", directory), log) as driver:
        undone = 0
        for victim in (learner_process, node_process):
            until_something_is_at_stake(driver, undone)
            undone = undone_steps(directory)
            victim(driver.pid).kill()
        assert driver.wait(timeout=WAIT_SECONDS) == 0, log.read_text()

    live = query(directory, "select version from learner_step where state = 'live' order by 1")
    assert [version for (version,) in live] == list(range(1, STEPS + 1))
    assert undone_steps(directory) >= 3, "something was at stake in each of the three kills"
    twice = query(
        directory,
        "select rollout_id from batch_row where live group by rollout_id having count(*) > 1",
    )
    assert twice == []
    ((trained, in_live_batches),) = query(
        directory,
        "select (select count(*) from rollout where state = 'trained'),"
        " (select count(*) from batch_row where live)",
    )
    assert trained == in_live_batches == STEPS * 6 * BATCH_ROLLOUTS
    after = dict(query(directory, "select rollout_id, admission_id from rollout"))
    assert all(before.items() < after.items() for before in known)
    ((payloads, unexplained, held, unsampled),) = query(
        directory,
        "select (select count(*) from rollout_payload),"
        " (select count(*) from rollout where (state = 'dropped') <> (drop_reason is not null)),"
        " (select count(*) from admission where state = 'leased'),"
        " (select count(*) from admission a where state = 'done' and not exists"
        " (select 1 from rollout r where r.admission_id = a.admission_id))",
    )
    assert payloads == len(after)
    assert unexplained == held == unsampled == 0
