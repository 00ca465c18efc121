"""`azr status` shows from the store alone who plays, and what is wrong with whom."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from azr import config_files
from azr.cli.live import dashboard
from azr.cli.roster import roster_tables
from azr.membership import NodeState, ReplicaState
from azr.progress import Progress, replica_busy_metric
from azr.report.moment import read_progress
from azr.report.standing import read_engines
from azr.roster import Roster
from azr.run_directory import RunDirectory
from azr.store import SqlStore
from azr.store.history import open_history
from azr.types import TaskType
from tests.cli.conftest import Azr
from tests.store.store_play import Clock, completion, config

DUTIES = {
    "node-1": ["learn", "sample", "examine"],
    "node-2": ["sample"],
    "node-3": ["sample"],
    "node-4": ["examine"],
}
SILENT_SECONDS = 1e6
RUN = config(
    cluster={"heartbeat_seconds": 1e4, "silent_seconds": 1e5}, actors={"lease_seconds": 1e6}
)
"""So patient that nobody is late because the machine is slow."""


async def begin(store: SqlStore, owner: str) -> None:
    name = owner.rpartition("-")[0]
    await store.register_node(
        owner, name=name, machine=f"host-{name[-1]}", address="a", pid=1, duties=DUTIES[name]
    )
    await store.beat(owner, state=NodeState.PLAYING, version=4, lineage=1)


async def play(url: str) -> None:
    """node-1 is well, node-2 was given up and is back, node-3 is silent and stale, node-4 left."""
    now = time.time()
    long_ago, lately = Clock(now - SILENT_SECONDS), Clock(now - 30)
    async with SqlStore.open(url, run=RUN, clock=long_ago) as store:
        await begin(store, "node-3-aa")
    async with SqlStore.open(url, run=RUN, clock=lately) as store:
        await begin(store, "node-1-aa")
        for seconds in (0, 10, 20):
            lately.now = now - 30 + seconds
            busy = {replica_busy_metric("replica-1"): 0.5 * seconds}
            await store.record_metrics(1, busy)
        lately.now = now
        await store.beat("node-1-aa", state=NodeState.PLAYING, version=5, lineage=1)
        await store.record_replica(
            "replica-1",
            node_id="node-1-aa",
            state=ReplicaState.HEALTHY,
            version=5,
            lineage=1,
            fingerprint="c0ffee0123456789",
            canary_nats=9e-7,
            lag=0,
        )
        await store.record_replica(
            "replica-3", node_id="node-3-aa", state=ReplicaState.STALE, version=2, lag=3
        )
        [admission, _] = await store.admit_proposals(
            TaskType.DEDUCTION, owner="node-1-aa", at_most=2, outstanding_limit=9, version=0
        )
        await store.put_rollout(admission, completion())
    async with SqlStore.open(url, run=RUN) as store:
        for owner in ("node-2-aa", "node-2-bb", "node-4-aa"):
            await begin(store, owner)
            if owner == "node-2-aa":
                await store.fence(owner, "it hung")
        await store.end_node("node-4-aa", "it was drained")


@pytest.fixture
def several(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    directory.root.mkdir()
    config_files.write(RUN, directory.config)
    asyncio.run(play(f"sqlite:///{directory.database}"))
    return directory


def test_every_node_is_shown_once_with_its_newest_life(several: RunDirectory, azr: Azr) -> None:
    told = json.loads(azr("status", several.root, "--json").stdout)
    nodes = {node["name"]: node for node in told["nodes"]}
    assert list(nodes) == ["node-1", "node-2", "node-3", "node-4"]
    assert nodes["node-2"]["incarnation"] == "node-2-bb"
    assert nodes["node-2"]["earlier_incarnations"] == 1
    assert nodes["node-4"]["state"] == "ended"
    assert (nodes["node-1"]["leases"], nodes["node-1"]["overdue_leases"]) == (1, 0)
    assert nodes["node-3"]["heartbeat_age_seconds"] >= SILENT_SECONDS
    assert [node["name"] for node in told["nodes"] if node["alarm"]] == ["node-3"]
    assert any(alarm.startswith("node-3: silent") for alarm in told["alarms"])


def test_every_replica_is_shown_with_what_it_proved(several: RunDirectory, azr: Azr) -> None:
    told = json.loads(azr("status", several.root, "--json").stdout)
    replicas = {replica["name"]: replica for replica in told["replicas"]}
    assert {name: replica["state"] for name, replica in replicas.items()} == {
        "replica-1": "healthy",
        "replica-2": "starting",
        "replica-3": "stale",
    }
    healthy = replicas["replica-1"]
    assert (healthy["proved_version"], healthy["lineage"]) == (5, 1)
    assert healthy["fingerprint"] == "c0ffee0123456789"
    assert healthy["canary_nats"] == pytest.approx(9e-7)
    assert healthy["busy_share"] == pytest.approx(0.5)
    assert "3 versions behind" in replicas["replica-3"]["alarm"]
    assert told["engine_busy_share"] == pytest.approx(0.5)


def test_the_tables_say_it_to_people_and_alarms_stand_below_them(
    several: RunDirectory, azr: Azr
) -> None:
    shown = azr("status", several.root)
    assert shown.exit_code == 0
    for text in ("node-2-bb", "host-1", "v5", "c0ffee01", "9.0e-07", "stale", "Nodes"):
        assert text in shown.stdout
    assert "node-3: silent for" in shown.stdout.splitlines()[-2]


def test_a_run_that_nobody_ever_joined_is_shown_all_the_same(run_dir: Path, azr: Azr) -> None:
    told = json.loads(azr("status", run_dir, "--json").stdout)
    assert (told["step"], told["nodes"], told["replicas"], told["alarms"]) == (2, [], [], [])


def test_the_live_view_names_the_nodes_of_a_big_run_alarms_first(several: RunDirectory) -> None:
    roster = read_progress(several.database).roster
    text = printed(Progress(step=1, total_steps=2, elapsed_seconds=0, roster=roster))
    assert "node-3: silent" in text
    [nodes, replicas] = roster_tables(roster, at_most=2)
    assert (nodes.row_count, replicas.row_count) == (2, 2)
    first = Console(file=io.StringIO(), width=200)
    first.print(nodes)
    assert isinstance(first.file, io.StringIO)
    assert "node-3" in first.file.getvalue()
    assert "and 3 more" in first.file.getvalue()


def test_the_live_view_of_one_node_is_not_cluttered_with_it(several: RunDirectory) -> None:
    roster = read_progress(several.database).roster
    alone = Roster(nodes=roster.nodes[:1], replicas=roster.replicas[:1])
    text = printed(Progress(step=1, total_steps=2, elapsed_seconds=0, roster=alone))
    assert "Replicas" not in text


def printed(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(dashboard(progress))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_report_has_figures_of_every_engine(several: RunDirectory) -> None:
    with open_history(several.database) as history:
        engines = read_engines(history, since=0.0, until=2 * time.time())
    assert [(each.replica, each.busy_share, each.tokens) for each in engines] == [
        ("replica-1", pytest.approx(0.5), len(completion().token_ids)),
        ("replica-2", None, 0),
        ("replica-3", None, 0),
    ]
