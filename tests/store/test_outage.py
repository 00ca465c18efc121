"""A PostgreSQL server that goes away: jobs wait for it, and happen exactly once."""

import signal

import anyio
import psycopg
import pytest

from azr.errors import StoreError
from azr.store import SqlStore
from azr.store.postgres import SETTINGS
from azr.store.private_server import PrivateServer
from azr.types import Cell, Role, TaskType
from tests.store.dropping_proxy import PORT, Drop, dropping_proxy
from tests.store.store_play import Player, assert_accounted, completion, config, one, select

PATIENT = config(store={"outage_seconds": 90})
OUTAGE_SECONDS = 1.5
NUM_PUTS = 60


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_an_outage_only_costs_time(
    server: PrivateServer, postgres: str, how: signal.Signals
) -> None:
    put: list[int] = []
    halfway = anyio.Event()

    async def play(store: SqlStore) -> None:
        player = Player(store)
        for number in range(NUM_PUTS):
            [admission] = await player.admit()
            put.append(await store.put_rollout(admission, completion()))
            await store.record_event("put", number=number)
            if number == NUM_PUTS // 2:
                halfway.set()

    async def ask(store: SqlStore) -> None:
        while len(put) < NUM_PUTS:
            await store.outstanding()

    async def interrupt() -> None:
        await halfway.wait()
        server.stop(how)
        await anyio.sleep(OUTAGE_SECONDS)
        server.start_after_crash()

    async with SqlStore.open(postgres, run=PATIENT) as store:
        await Player(store).seed()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(interrupt)
            tasks.start_soon(play, store)
            tasks.start_soon(ask, store)
        outstanding = await store.outstanding()
    assert outstanding[Cell(Role.PROPOSE, TaskType.DEDUCTION)] == NUM_PUTS
    rows = select(postgres, "select rollout_id from rollout order by 1")
    assert sorted(put) == [rollout_id for (rollout_id,) in rows]
    assert one(postgres, "select count(*) from event where kind = 'put'") == NUM_PUTS
    assert_accounted(postgres)


@pytest.mark.parametrize("drop", list(Drop))
async def test_a_lost_answer_to_a_commit_is_looked_up(
    server: PrivateServer, postgres: str, drop: Drop
) -> None:
    with dropping_proxy(server.folder) as proxy:
        async with SqlStore.open(f"{postgres}&port={PORT}", run=PATIENT) as store:
            [admission] = await Player(store).admit()
            for number in range(3):
                proxy.drop_next = drop
                await store.record_event("told", number=number)
            proxy.drop_next = drop
            rollout_id = await store.put_rollout(admission, completion())
        assert proxy.dropped == 4
    told = select(postgres, "select facts from event where kind = 'told' order by event_id")
    assert told == [({"number": number},) for number in range(3)]
    assert select(postgres, "select rollout_id from rollout") == [(rollout_id,)]


async def test_jobs_that_commit_together_are_looked_up_together(
    server: PrivateServer, postgres: str
) -> None:
    with dropping_proxy(server.folder) as proxy:
        async with SqlStore.open(f"{postgres}&port={PORT}", run=PATIENT) as store:
            proxy.drop_next = Drop.AFTER
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(store.record_metrics, number, {"x": 1.0})
    assert one(postgres, "select count(*) from metric") == 20


async def test_after_the_deadline_the_outage_is_an_error_and_then_over(
    server: PrivateServer, postgres: str
) -> None:
    hasty = config(store={"outage_seconds": 0.2})
    async with SqlStore.open(postgres, run=hasty) as store:
        server.stop()
        try:
            with pytest.raises(StoreError, match="the server cannot be reached") as caught:
                await store.record_event("lost")
            assert "--resume" in caught.value.hint
            with pytest.raises(StoreError, match="the server cannot be reached"):
                await store.outstanding()
        finally:
            server.start()
        await store.record_event("found")
    told = "select kind from event where kind in ('lost', 'found')"
    assert select(postgres, told) == [("found",)]


async def test_a_run_that_another_transaction_holds_is_waited_for(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETTINGS, "lock_timeout", "20ms")
    async with SqlStore.open(postgres, run=PATIENT) as store, anyio.create_task_group() as tasks:
        with psycopg.connect(postgres) as holder:
            holder.execute("select * from runs for update")
            tasks.start_soon(Player(store).seed)
            await anyio.sleep(0.2)  # several timeouts
            holder.rollback()
    assert one(postgres, "select count(*) from task") == 9
