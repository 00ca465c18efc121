"""The learner process, for real: started, spoken to, interrupted, killed."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
import torch
from anyio import to_thread
from torch.distributed import TCPStore

from azr.advantages import normalise
from azr.config import RunConfig
from azr.engine import wire
from azr.errors import LearnerError, RunDirectoryError, WeightSyncError
from azr.learner import checkpoint, child
from azr.learner.link import LearnerProcess
from azr.learner.step import Trainer
from azr.types import Batch, StepResult

type BatchAt = Callable[[int], Batch]


def advantages(batch: Batch) -> list[float]:
    return normalise(batch, whitening="sequence")


def use(config: RunConfig, **changes: object) -> RunConfig:
    return config.model_copy(update={"learner": config.learner.model_copy(update=changes)})


@pytest.fixture(scope="module")
async def learner(
    model_path: Path, config: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LearnerProcess]:
    """One process for the tests that leave it alive; its version rises from test to test."""
    async with LearnerProcess.open(model_path, config, tmp_path_factory.mktemp("run")) as process:
        yield process


async def step(learner: LearnerProcess, batch_at: BatchAt) -> StepResult:
    batch = batch_at(learner.version)
    return await learner.train(batch, advantages(batch))


async def twin(learner: LearnerProcess, config: RunConfig) -> Trainer:
    """A trainer in this process, in the state of the other one."""
    folder = await learner.checkpoint(learner.version)
    return checkpoint.load(Path(folder), config)


async def test_the_process_trains_exactly_as_a_trainer_in_this_one(
    learner: LearnerProcess, config: RunConfig, batch_at: BatchAt
) -> None:
    here = await twin(learner, config)
    for _ in range(2):
        batch = batch_at(learner.version)
        expected = here.train(batch, advantages(batch))
        found = await learner.train(batch, advantages(batch))
        assert isinstance(expected, StepResult)
        assert (found.version, found.loss) == (expected.version, expected.loss)
    rows = [[1, 2, 3], [4, 5]]
    assert await learner.logprobs(rows) == here.policy.sequence_logprobs(rows, budget_tokens=64)


async def test_a_checkpoint_resumes_in_an_event_loop_of_another_thread(
    learner: LearnerProcess, config: RunConfig, tmp_path: Path
) -> None:
    folder = Path(await learner.checkpoint(learner.version))
    assert folder.name == f"step-{learner.version:06d}"
    resumed: list[tuple[int, list[list[float]]]] = []

    async def resume() -> None:
        async with LearnerProcess.open(folder, config, tmp_path) as other:
            resumed.append((other.version, await other.logprobs([[1, 2, 3]])))

    thread = threading.Thread(target=anyio.run, args=(resume,))
    thread.start()
    await to_thread.run_sync(thread.join)
    assert resumed == [(learner.version, await learner.logprobs([[1, 2, 3]]))]


async def test_a_checkpoint_of_another_version_is_refused(learner: LearnerProcess) -> None:
    with pytest.raises(LearnerError, match="of policy v99 was asked for, but the learner is at"):
        await learner.checkpoint(99)


async def test_a_refused_step_is_an_error_and_leaves_the_learner_usable(
    learner: LearnerProcess, batch_at: BatchAt
) -> None:
    batch = batch_at(learner.version)
    with pytest.raises(LearnerError, match="refused, weights are unchanged"):
        await learner.train(batch, [float("nan")] * len(batch.trajectories))
    assert (await step(learner, batch_at)).version == batch.version + 1


async def test_a_bug_in_the_process_is_an_error_and_leaves_it_usable(
    learner: LearnerProcess,
) -> None:
    with pytest.raises(LearnerError, match="ScoreSequences failed: RuntimeError: index 1000000"):
        await learner.logprobs([[1, 10**6]])
    assert len(await learner.logprobs([[1, 2]])) == 1


async def test_an_error_of_the_process_keeps_its_type(learner: LearnerProcess) -> None:
    folder = Path(await learner.checkpoint(learner.version)).parent
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("a file where the folder should be")
    try:
        with pytest.raises(RunDirectoryError, match="could not be written"):
            await learner.checkpoint(learner.version)
    finally:
        folder.unlink()
        aside.rename(folder)


async def test_a_cancelled_callers_reply_never_reaches_another(
    learner: LearnerProcess, batch_at: BatchAt
) -> None:
    version = learner.version
    os.kill(learner.pid, signal.SIGSTOP)
    async with anyio.create_task_group() as callers:
        callers.start_soon(step, learner, batch_at)
        await anyio.wait_all_tasks_blocked()
        callers.cancel_scope.cancel()
    os.kill(learner.pid, signal.SIGCONT)
    assert [len(row) for row in await learner.logprobs([[1, 2, 3]])] == [2]
    # The step may have been taken; asking for it again never takes it twice.
    assert (await step(learner, batch_at)).version == version + 1
    assert (await step(learner, batch_at)).version == version + 2


async def test_a_late_answer_is_an_error_that_the_link_survives(
    learner: LearnerProcess, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "_config", use(config, step_timeout_seconds=0.2))
    os.kill(learner.pid, signal.SIGSTOP)
    with pytest.raises(LearnerError, match=r"did not answer ScoreSequences within 0\.2 s"):
        await learner.logprobs([[1, 2, 3]])
    monkeypatch.undo()
    os.kill(learner.pid, signal.SIGCONT)
    assert [len(row) for row in await learner.logprobs([[1, 2]])] == [1]


async def test_weights_reach_a_replica_bit_for_bit_after_a_step(
    learner: LearnerProcess, config: RunConfig, batch_at: BatchAt
) -> None:
    await step(learner, batch_at)
    here = await twin(learner, config)
    address = await learner.rendezvous_info()
    received: dict[str, torch.Tensor] = {}

    def replica() -> None:
        store = TCPStore(str(address["host"]), int(address["port"]), is_master=False)
        group = wire.GlooGroup(
            store, host="127.0.0.1", rank=1, world_size=2, epoch=1, timeout_seconds=30
        )
        for named_tensors, _ in wire.receive(group):
            received.update(named_tensors)

    async with anyio.create_task_group() as both:
        both.start_soon(to_thread.run_sync, replica)
        await learner.open_weight_group(2, 1)
        sent = await learner.send_weights(1, "float32")
    assert sent["sent_mib"]
    expected = dict(here.policy.model.named_parameters())
    assert received.keys() == expected.keys()
    assert all(torch.equal(received[name], expected[name]) for name in expected)
    with pytest.raises(WeightSyncError, match="epoch 9"):
        await learner.send_weights(9, "float32")


async def test_the_death_of_the_process_fails_all_callers_with_the_end_of_its_log(
    model_path: Path, config: RunConfig, batch_at: BatchAt, tmp_path: Path
) -> None:
    failures: list[str] = []

    async def ask(learner: LearnerProcess) -> None:
        with pytest.raises(LearnerError) as caught:
            await step(learner, batch_at)
        failures.append(str(caught.value))

    async with LearnerProcess.open(model_path, config, tmp_path) as learner:
        with pytest.raises(LearnerError):
            await learner.checkpoint(99)  # leaves a line in the log
        os.kill(learner.pid, signal.SIGSTOP)
        async with anyio.create_task_group() as callers:
            callers.start_soon(ask, learner)
            callers.start_soon(ask, learner)
            await anyio.wait_all_tasks_blocked()
            os.kill(learner.pid, signal.SIGKILL)
        await ask(learner)
    assert len(failures) == 3
    assert all("exit code -9" in failure and "policy v99" in failure for failure in failures)


async def test_a_process_that_cannot_start_is_reported_with_its_output(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no torch here >&2\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(LearnerError, match=r"exit code 3(?s:.)*no torch here"):
        async with LearnerProcess.open(tmp_path, config, tmp_path):
            raise AssertionError


async def test_an_unwritable_run_directory_is_reported(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    with pytest.raises(LearnerError, match="could not be started"):
        async with LearnerProcess.open(tmp_path, config, tmp_path):
            raise AssertionError


def test_a_stuck_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "EXIT_SECONDS", 0.3)
    stuck = child.Child(1, tmp_path / "learner.log")
    thread = threading.Thread(target=list, args=(stuck.replies(),))
    thread.start()
    while not stuck.pid:
        thread.join(0.01)
    os.kill(stuck.pid, signal.SIGSTOP)
    stuck.hang_up()
    thread.join()
    assert "exit code -9" in stuck.see_out()


def test_a_process_ends_by_itself_when_it_is_hung_up_on(tmp_path: Path) -> None:
    left = child.Child(1, tmp_path / "learner.log")
    thread = threading.Thread(target=list, args=(left.replies(),))
    thread.start()
    while not left.pid:
        thread.join(0.01)
    left.hang_up()
    thread.join()
    assert left.see_out() == "the learner process ended (exit code 0)"


ORPHAN = """
import os, signal, sys
from azr.learner.process import die_with_parent

die_with_parent(os.getppid())
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {ORPHAN!r}])
"""


def test_even_a_stopped_process_dies_with_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        orphan = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([orphan], [], [], 30)  # readable once it has ended
    os.close(orphan)
    assert ended
