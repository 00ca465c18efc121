"""A run that grows and shrinks: who plays stays where it is."""

from __future__ import annotations

import pytest

from azr import config_files
from azr.errors import ConfigError
from azr.placement import Duty, Machine, Plan, place
from azr.placement.resize import resize

SERVER = 'store.url="postgresql://azr@db.example/azr"'


def machines(*gpus: int) -> list[Machine]:
    return [
        Machine(name=f"m{i}", address=f"10.0.0.{i}", cpus=8, gpus=count)
        for i, count in enumerate(gpus, start=1)
    ]


def resized(cluster: list[Machine], before: int, after: int, *overrides: str) -> tuple[Plan, Plan]:
    config = config_files.load("base", [SERVER, *overrides])
    plan = place(config, cluster, before, run_directory_shared=True)
    # The command may be given on another machine, which then lists itself first.
    return plan, resize(plan, config, cluster[::-1], after, run_directory_shared=True)


@pytest.mark.parametrize("gpus", [0, 8])
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_who_plays_keeps_machine_and_gpus(gpus: int, after: int):
    before, now = resized(machines(*[gpus] * 4), 2, after)
    assert now.nodes[:2] == before.nodes[:after]
    assert [node.name for node in now.nodes] == [f"node-{i + 1}" for i in range(after)]
    assert len({node.machine.name for node in now.nodes}) == after
    assert sum(node.does(Duty.SEED) for node in now.nodes) == 1


def test_new_nodes_take_all_gpus_of_their_machines():
    _, now = resized(machines(8, 8, 4), 2, 3, "engine.tensor_parallel=4", "learner.ranks=4")
    assert now.nodes[2].replica_gpus == (0, 1, 2, 3)
    assert now.nodes[2].data_parallel == 1
    assert now.nodes[2].duties == (Duty.SAMPLE, Duty.EXAMINE)


def test_a_machine_without_a_gpu_only_examines_beside_those_that_have_some():
    _, now = resized(machines(8, 0), 1, 2)
    assert now.nodes[1].duties == (Duty.EXAMINE,)


def test_on_one_machine_without_gpus_a_run_grows_beside_itself():
    _, now = resized(machines(0), 2, 4)
    assert len(now.nodes) == 4
    assert not now.is_spread
    assert "4 nodes share the 8 cores" in now.notes[0]


@pytest.mark.parametrize(
    ("gpus", "before", "after", "hint"),
    [
        ((0, 0), 2, 3, "--nodes 2"),
        ((8,), 2, 3, "--nodes 2"),
        ((1, 1), 2, 1, "between 2 and 2"),
        ((1, 1), 1, 2, "Stop the run"),
    ],
    ids=["no machine", "all GPUs dealt out", "nothing samples", "IPC"],
)
def test_what_cannot_be_is_refused(gpus: tuple[int, ...], before: int, after: int, hint: str):
    with pytest.raises(ConfigError) as caught:
        resized(machines(*gpus), before, after)
    assert hint in caught.value.hint


def test_a_run_of_one_node_with_sqlite_cannot_grow():
    config = config_files.load("base", ['store.url="sqlite:///a.sqlite"'])
    cluster = machines(0, 0)
    plan = place(config, cluster, 1, run_directory_shared=True)
    with pytest.raises(ConfigError, match="SQLite"):
        resize(plan, config, cluster, 2, run_directory_shared=True)
