"""A real run with benchmarks beside it, until Ctrl-C drains it.

What is measured is a process of its own with an engine of its own; the run neither waits
for it nor hears of it, and takes it along when it ends.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

import psutil
import pytest

from azr.benchmarks.fingerprint import fingerprint
from azr.store.health import examine
from azr.store.history import open_history
from tests.e2e.conftest import (
    BESIDE,
    RUN_SECONDS,
    SMALL,
    command,
    committed_steps,
    evaluations,
    overrides,
    playing,
    query,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

EVERY = 3
MEASURE_SECONDS = 1500.0
"""A deadline against hanging: what is measured gets what a loaded machine has left."""
UNHURRIED = (
    f"learner.checkpoint_every_steps={EVERY}",
    "learner.keep_checkpoints=1000",
    # Leave the machine some time: what is measured has the lowest priority.
    "actors.propose_workers=1",
    "actors.solve_workers=1",
    "actors.execute_workers=1",
)


def measured(directory: Path) -> list[int]:
    """The versions that were measured, in order."""
    if committed_steps(directory) == 0:
        return []
    events = query(directory, "select facts from event where kind = 'benchmarked' order by 1")
    return sorted(json.loads(facts)["version"] for (facts,) in events)


def test_checkpoints_are_measured_beside_a_run_until_ctrl_c_drains_it(tmp_path: Path):
    directory, log = tmp_path / "run", tmp_path / "run.log"
    settings = [*SMALL, *UNHURRIED, *BESIDE, f"evaluation.suite_every_steps={EVERY}"]
    words = command("run", "--run-dir", directory, "--steps", "500", *overrides(settings))
    with playing(words, log) as driver:
        wait_until(
            lambda: bool(measured(directory)),
            what="measured version",
            seconds=MEASURE_SECONDS,
            of=driver,
        )
        wait_until(lambda: bool(evaluations(driver.pid)), what="next version to be measured")
        under_way = evaluations(driver.pid)
        driver.send_signal(signal.SIGINT)
        assert driver.wait(timeout=RUN_SECONDS) == 130, log.read_text()
    _, alive = psutil.wait_procs(under_way, timeout=60)
    assert alive == [], "it ends with the run"

    reached = committed_steps(directory)
    ((durable,),) = query(directory, "select max(version) from policy_version where durable")
    assert durable == reached
    ((held,),) = query(directory, "select count(*) from admission where state = 'leased'")
    assert held == 0
    output = log.read_text()
    assert f"stopped at step {reached}: azr run --resume {directory} continues" in output
    _its_scores_are_those_of_one_version(directory)
    _nothing_of_it_is_in_the_runs_queues(directory)


def _its_scores_are_those_of_one_version(directory: Path) -> None:
    background = directory / "evals" / "background"
    assert list(background.glob("step-*")) == [], "the pinned files are let go"
    versions = measured(directory)
    assert all(version % EVERY == 0 for version in versions)
    scores = query(
        directory,
        "select step, name, value from metric where name in ('benchmark/mbpp+',"
        " 'benchmark/cruxeval-o') order by 1, 2",
    )
    assert [(step, name) for step, name, _ in scores] == [
        (version, name)
        for version in versions
        for name in ("benchmark/cruxeval-o", "benchmark/mbpp+")
    ]
    assert all(0 <= value <= 1 for *_, value in scores)
    subjects = query(background / "results", "select distinct subject from responses", "results")
    for version in versions:
        weights = directory / "checkpoints" / f"step-{version:06d}"
        assert (fingerprint(weights),) in subjects, "the weights that the run had then"
    page = (directory / "report" / "index.html").read_text()
    assert "Benchmarks while training" in page


def _nothing_of_it_is_in_the_runs_queues(directory: Path) -> None:
    with open_history(directory / "azr.sqlite") as history:
        assert [finding for finding in examine(history) if not finding.is_well] == []
    replicas = query(directory, "select distinct replica from replica_proof")
    assert replicas == [("replica-1",)]
    ((foreign,),) = query(
        directory,
        "select count(*) from rollout r where r.purpose <> 'seed' and not exists"
        " (select 1 from admission a where a.admission_id = r.admission_id)",
    )
    assert foreign == 0
