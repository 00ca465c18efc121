"""The processes of a learner's ranks: how they start, what they see, and how they end."""

import os
import signal
import sys
from pathlib import Path

import anyio
import pytest
from pydantic import ValidationError

from azr.config import LearnerSection, RunConfig
from azr.errors import LearnerError
from azr.learner import child, link
from azr.learner.ranks import gpu_of
from tests.learner.rank_pair import BatchAt, Pair, is_running, two_ranks

pytestmark = pytest.mark.timeout(300)  # a busy machine takes its time to start processes


async def test_a_killed_rank_fails_the_step_and_leaves_no_process(
    model_path: Path, config: RunConfig, batch_at: BatchAt, tmp_path: Path
) -> None:
    failures: list[str] = []

    async def step(pair: Pair) -> None:
        with pytest.raises(LearnerError) as caught:
            await pair.train(batch_at(0))
        failures.append(str(caught.value))

    async with two_ranks(model_path, config, tmp_path) as pair:
        pids = pair.learner.pids
        os.kill(pids[1], signal.SIGSTOP)  # the other rank comes to wait for this one
        async with anyio.create_task_group() as callers:
            callers.start_soon(step, pair)
            await anyio.wait_all_tasks_blocked()
            os.kill(pids[1], signal.SIGKILL)
        await step(pair)
    assert len(failures) == 2
    assert all("learner rank 1 of 2 ended (exit code -9)" in failure for failure in failures)
    assert not any(map(is_running, pids))
    assert (tmp_path / "logs" / "learner-rank-1.log").is_file()


def running_scripts(folder: Path) -> list[int]:
    written = [file.read_text() for file in folder.glob("python.*")]
    return [int(pid) for pid in written if pid and is_running(int(pid))]


def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let ranks be this shell script; its sixth argument is the rank."""
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fake))
    monkeypatch.setattr(child, "EXIT_SECONDS", 0.5)


async def test_ranks_that_hang_are_an_error_in_time_and_are_ended(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(tmp_path, monkeypatch, "echo $$ > $0.$6; exec sleep 600")
    monkeypatch.setattr(link, "LOAD_SECONDS", 2.0)
    with pytest.raises(LearnerError, match=r"rank 0 of 2 and .*rank 1 of 2 did not answer Load"):
        async with two_ranks(tmp_path, config, tmp_path):
            raise AssertionError
    assert not running_scripts(tmp_path)


async def test_a_rank_that_cannot_start_ends_those_that_did(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = '[ "$6" = 1 ] && echo no GPU && exit 3; echo $$ > $0.$6; exec sleep 600'
    python(tmp_path, monkeypatch, script)
    with pytest.raises(LearnerError, match=r"rank 1 of 2 ended \(exit code 3\)(?s:.)*no GPU"):
        async with two_ranks(tmp_path, config, tmp_path):
            raise AssertionError
    assert not running_scripts(tmp_path)


@pytest.mark.parametrize(
    ("visible", "shown"), [(None, ["0", "1"]), ("3, 5,7", ["3", "5"]), ("", [None, None])]
)
def test_each_rank_is_shown_one_of_the_visible_gpus(visible: str | None, shown) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    found = [gpu_of(rank, 2, environment).get("CUDA_VISIBLE_DEVICES") for rank in range(2)]
    assert found == shown


def test_more_ranks_than_visible_gpus_are_refused() -> None:
    with pytest.raises(LearnerError, match=r"learner\.ranks = 2, but CUDA_VISIBLE_DEVICES is 6"):
        gpu_of(0, 2, {"CUDA_VISIBLE_DEVICES": "6"})


def test_several_ranks_need_to_know_what_each_holds() -> None:
    with pytest.raises(ValidationError, match=r"learner\.ranks = 2 needs learner\.sharding"):
        LearnerSection(ranks=2, sharding="none")
