"""A small machine starts its learner before its engine, if others sample meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from actors import sampling as module
from actors.actor import Drain
from actors.sampling import let_learner_go_first
from actors.shared import Shared
from azr.membership import NodeState
from azr.run_directory import RunDirectory
from azr.store import SqlStore
from tests.store.store_play import Clock, config


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def shared(tmp_path: Path, clock: Clock, monkeypatch) -> AsyncIterator[Shared]:
    """Of node-1, which learns and has not begun to sample."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    url = f"sqlite:///{tmp_path / 'azr.sqlite'}"
    async with SqlStore.open(url, run=config(), clock=clock) as store:
        yield Shared(
            config=config(),
            directory=RunDirectory(tmp_path),
            store=store,
            name="node-1",
            owner="node-1-aa",
            drain=Drain(),
        )


async def play(store: SqlStore, state: NodeState = NodeState.PLAYING) -> None:
    """node-2, which samples."""
    await store.register_node(
        "node-2-aa", name="node-2", machine="m", address="a", pid=1, duties=["sample"]
    )
    await store.beat("node-2-aa", state=state, version=0, lineage=0)


async def ends(shared: Shared) -> None:
    with anyio.fail_after(20):
        await let_learner_go_first(shared)


async def test_nobody_waits_where_nobody_samples_yet(shared: Shared) -> None:
    await ends(shared)
    await play(shared.store, NodeState.STARTING)
    await ends(shared)


async def test_the_engine_waits_until_the_learner_serves(shared: Shared) -> None:
    await play(shared.store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ends, shared)
        await anyio.wait_all_tasks_blocked()
        assert not shared.learner_serves.is_set()
        shared.learner_serves.set()


async def test_the_engine_waits_no_longer_for_others_that_fall_silent(
    shared: Shared, clock: Clock
) -> None:
    await play(shared.store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ends, shared)
        await anyio.wait_all_tasks_blocked()
        clock.now += 1000


async def test_a_drain_ends_the_wait(shared: Shared) -> None:
    await play(shared.store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ends, shared)
        await anyio.wait_all_tasks_blocked()
        shared.drain.request()


async def test_the_wait_is_bounded(shared: Shared, monkeypatch) -> None:
    monkeypatch.setattr(module, "HEAD_START_SECONDS", 0.05)
    await play(shared.store)
    await ends(shared)
    assert not shared.learner_serves.is_set()
