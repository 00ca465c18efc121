"""kill -9 in the middle of a run: of the driver, then `--resume` goes on; of the node or the
learner, then the run goes on by itself."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import (
    BATCH_ROLLOUTS,
    RUN_SECONDS,
    SMALL,
    command,
    overrides,
    playing,
    query,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STEPS = 20
CHECKPOINT_EVERY = 10
"""The kill comes right after the first checkpoint. A node whose driver was killed plays on until
Ray ends it, some seconds later: a step takes one, so the second checkpoint stays out of reach."""


def committed_steps(directory: Path) -> int:
    if not (directory / "azr.sqlite").exists():
        return 0
    try:
        ((steps,),) = query(directory, "select count(*) from learner_step where state = 'live'")
    except Exception:  # noqa: BLE001 -- the tables may not be there yet
        return 0
    return steps


def node_process(driver: int) -> psutil.Process:
    """The node's Ray worker: a descendant of the driver that hosts the learner's child."""
    family = psutil.Process(driver).children(recursive=True)
    return next(process for process in family if "NodeActor" in " ".join(process.cmdline()))


def learner_process(driver: int) -> psutil.Process:
    """The learner's child of the node."""
    family = psutil.Process(driver).children(recursive=True)
    return next(process for process in family if "azr.learner.process" in process.cmdline())


@pytest.mark.parametrize("victim", ["node", "learner", "driver"])
def test_a_killed_run_goes_on_without_losing_or_repeating_a_row(tmp_path: Path, victim: str):
    directory = tmp_path / "run"
    settings = overrides([*SMALL, f"learner.checkpoint_every_steps={CHECKPOINT_EVERY}"])
    words = command("run", "--run-dir", directory, "--steps", str(STEPS), *settings)
    with playing(words, tmp_path / "first.log") as driver:
        wait_until(lambda: committed_steps(directory) > CHECKPOINT_EVERY, what="step to undo")
        before = dict(query(directory, "select rollout_id, admission_id from rollout"))
        node = node_process(driver.pid)
        if victim == "driver":
            os.kill(driver.pid, signal.SIGKILL)
            assert driver.wait(timeout=120) != 0
            node.wait(timeout=120)
        else:
            (node if victim == "node" else learner_process(driver.pid)).kill()
            log = tmp_path / "first.log"
            assert driver.wait(timeout=RUN_SECONDS) == 0, log.read_text()
    if victim == "driver":
        resumed = subprocess.run(
            command("run", "--resume", directory),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    live = query(directory, "select version from learner_step where state = 'live' order by 1")
    assert [version for (version,) in live] == list(range(1, STEPS + 1))
    undone = query(directory, "select count(*) from learner_step where state = 'rolled_back'")
    assert undone[0][0] >= 1, "the kill came right after a checkpoint; nothing was at stake"

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
    assert before.items() < after.items()
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


def test_ctrl_c_drains_checkpoints_and_reports(tmp_path: Path):
    directory = tmp_path / "run"
    words = command("run", "--run-dir", directory, "--steps", "500", *overrides(SMALL))
    log = tmp_path / "run.log"
    with playing(words, log) as driver:
        wait_until(lambda: committed_steps(directory) >= 2, what="second step")
        driver.send_signal(signal.SIGINT)
        assert driver.wait(timeout=RUN_SECONDS) == 130
    reached = committed_steps(directory)
    ((durable,),) = query(directory, "select max(version) from policy_version where durable")
    assert durable == reached
    ((held,),) = query(directory, "select count(*) from admission where state = 'leased'")
    assert held == 0
    output = log.read_text()
    assert f"stopped at step {reached}: azr run --resume {directory} continues" in output
    assert (directory / "report" / "index.html").exists()
