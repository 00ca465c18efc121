"""A small finished run on disk, made by the real store, for commands to look at."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from azr import config_files
from azr.cli import app
from azr.membership import ReplicaProof
from azr.run_directory import RunDirectory
from azr.seeding import identity_draft
from azr.store import SqlStore
from azr.task_types import MAIN_TYPES
from azr.types import Judgement, TaskType
from tests.store.store_play import Clock, Player, completion, config

type Azr = Callable[..., Result]


async def _play(url: str) -> None:
    """Two steps; a stale row, a rejected proposal, and one of every other kind of end."""
    clock = Clock()
    async with SqlStore.open(url, run=config(), clock=clock) as store:
        player = Player(store)
        identities = [identity_draft(task_type, num_pairs=4) for task_type in MAIN_TYPES]
        await store.add_seed_tasks(identities)
        await player.seed()
        await store.put_seed_rollout(completion(text="seed"), TaskType.INDUCTION, Judgement.VALID)
        for version in range(2):
            clock.now += 60
            await player.step(version=version)
        await store.mark_durable(1, "checkpoints/1")
        await player.reject(await player.propose(version=2))
        await player.propose(version=2)
        proof = ReplicaProof(
            replica="r0", version=2, fingerprint="ab", canary_nats=1e-6, accepted=True
        )
        await store.record_proof(proof)
        await store.record_event("node_stopped", owner="node")


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = RunDirectory(tmp_path_factory.mktemp("runs") / "finished")
    directory.root.mkdir()
    config_files.write(config(), directory.config)
    asyncio.run(_play(f"sqlite:///{directory.database}"))
    return directory.root


@pytest.fixture
def run_dir(_finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(_finished, tmp_path / "run"))


@pytest.fixture
def azr() -> Azr:
    """Run a command; expected errors come back as exceptions of the result."""
    runner = CliRunner()
    return lambda *words: runner.invoke(app, [str(word) for word in words])
