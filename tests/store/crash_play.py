"""Kills a playing process at random points and checks what its database then says.

Run as `python -m tests.store.crash_play FOLDER ROUNDS SEED`, in a process without threads: each
round forks a child that recovers and plays (samples, judges, claims, commits,
checkpoints), and kills it after a random number of its transactions. The "weights"
are the list of rollouts they learned from, so that what they saw can be compared
with what the database remembers. Exits with an AssertionError if they differ.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import NoReturn

import anyio

from azr.store import SqlStore
from azr.types import TaskType
from tests.store.store_play import Player, assert_accounted, completion, config, one, select

CHECKPOINT_EVERY = 2
MAX_ROUNDS = 60


class Child:
    """One life of the process: recovers, then plays until it is killed."""

    def __init__(self, folder: Path, store: SqlStore, report: int) -> None:
        self.folder = folder
        self.store = store
        self.player = Player(store)
        self.report = report
        self.version = 0
        self.weights: list[int] = []

    async def live(self) -> None:
        await self.recover()
        async with anyio.create_task_group() as actors:
            actors.start_soon(self.sample)
            actors.start_soon(self.examine)
            actors.start_soon(self.learn)

    async def recover(self) -> None:
        if (durable := await self.store.latest_durable()) is not None:
            self.version, path = durable
            self.weights = read_weights(path)
        await self.store.recover(self.version)
        self.player.numbers = itertools.count(random.getrandbits(60))
        self.tell()

    async def sample(self) -> None:
        while True:
            admissions = await self.store.lease_attempts(owner="sampler", at_most=2)
            for task_type in TaskType:
                admissions += await self.player.admit(task_type, limit=6, version=self.version)
            for admission in admissions:
                await self.store.put_rollout(admission, completion(self.version))
                self.tell()

    async def examine(self) -> None:
        while True:
            for rollout in await self.store.lease_rollouts(owner="examiner", at_most=3):
                if rollout.rollout_id % 5:
                    await self.player.examine(rollout)
                else:
                    await self.store.fail_rollout(rollout.rollout_id)
                self.tell()
            await self.player.settle()

    async def learn(self) -> None:
        while True:
            batch = await self.store.claim_batch(version=self.version)
            if batch is None:
                continue
            self.tell()
            self.weights += [row.rollout_id for row in batch.trajectories]
            await self.player.commit(batch)
            self.tell()
            self.version += 1
            if self.version % CHECKPOINT_EVERY == 0:
                await self.checkpoint()

    async def checkpoint(self) -> None:
        path = self.folder / f"{self.version}.json"
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(self.weights))
        unfinished.replace(path)
        self.tell()
        await self.store.mark_durable(self.version, str(path))
        self.tell()

    def tell(self) -> None:
        os.write(self.report, b".")


def read_weights(path: str) -> list[int]:
    return json.loads(Path(path).read_text())


def live(folder: Path, report: int) -> NoReturn:
    async def play() -> None:
        url = f"sqlite:///{folder / 'azr.sqlite'}"
        run = config(learner={"batch_rollouts": 2, "max_staleness": 3})
        async with SqlStore.open(url, run=run) as store:
            await Child(folder, store, report).live()

    asyncio.run(play())
    raise AssertionError("a child plays until it is killed")


def one_life(folder: Path, transactions: int) -> None:
    """Fork a child and kill it after it reported so many transactions."""
    listen, report = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(listen)
        try:
            live(folder, report)
        finally:
            os._exit(1)
    os.close(report)
    heard = 0
    while heard < transactions and (told := os.read(listen, transactions - heard)):
        heard += len(told)
    os.kill(child, signal.SIGKILL)
    os.close(listen)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child died by itself"


def check(folder: Path) -> None:
    """The surviving weights and the database agree, and every row is somewhere."""
    path = f"sqlite:///{folder / 'azr.sqlite'}"
    assert_accounted(path)
    durable = select(
        path, "select version, path from policy_version where durable and state = 'live'"
    )
    version, weights = max(durable, default=(0, None))
    seen = read_weights(weights) if weights else []
    assert len(seen) == len(set(seen)), "trained twice"
    remembered = "select rollout_id from batch_row join batch using (batch_id) where live and"
    rows = select(path, f"{remembered} version < ?", version)
    assert sorted(seen) == sorted(rollout_id for (rollout_id,) in rows)
    gaps = "select count(*), max(version) from learner_step where state = 'live'"
    [(count, newest)] = select(path, gaps)
    assert count == (newest or 0), "a surviving step is missing"
    assert one(path, "pragma integrity_check") == "ok"
    assert not select(path, "pragma foreign_key_check")


def main(folder: Path, rounds: int, seed: int) -> None:
    """At least so many lives, and more until both things have happened that can go wrong."""
    rng = random.Random(seed)  # noqa: S311
    for lived in range(1, MAX_ROUNDS):
        one_life(folder, rng.randrange(1, 200))
        check(folder)
        if lived >= rounds and undone_and_kept(folder):
            return
    raise AssertionError(f"in {MAX_ROUNDS} lives no step was undone, or no checkpoint survived")


def undone_and_kept(folder: Path) -> bool:
    """Whether a recovery undid a step, and another kept a checkpoint."""
    path = f"sqlite:///{folder / 'azr.sqlite'}"
    undone = one(path, "select count(*) from learner_step where state = 'rolled_back'")
    kept = one(path, "select count(*) from policy_version where durable and state = 'live'")
    return bool(undone and kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
