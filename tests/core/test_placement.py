"""Plans: who learns, samples and examines where, and what is refused before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr import config_files
from azr.config import RunConfig
from azr.errors import ConfigError
from azr.placement import Duty, Machine, Plan, place

SERVER = 'store.url="postgresql://azr:secret@db.example/azr"'
GPU_MIB = 80 * 1024


def configured(*overrides: str) -> RunConfig:
    return config_files.load("base", overrides)


def cpu_machines(count: int, cpus: int = 8) -> list[Machine]:
    return [Machine(name=f"m{i}", address=f"10.0.0.{i}", cpus=cpus) for i in range(1, count + 1)]


def gpu_machines(*gpus: int) -> list[Machine]:
    return [
        Machine(name=f"g{i}", address=f"10.0.0.{i}", cpus=64, gpus=n, gpu_memory_mib=GPU_MIB)
        for i, n in enumerate(gpus, start=1)
    ]


def placed(
    machines: list[Machine], nodes: int, *overrides: str, shared: bool = True, model_mib: int = 0
) -> Plan:
    config = configured(*overrides)
    return place(config, machines, nodes, run_directory_shared=shared, model_mib=model_mib)


def duties(plan: Plan) -> list[str]:
    return [" ".join(node.duties) for node in plan.nodes]


def refusal(machines: list[Machine], nodes: int, *overrides: str, shared: bool = True) -> str:
    with pytest.raises(ConfigError) as caught:
        placed(machines, nodes, *overrides, shared=shared)
    assert caught.value.hint
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    return f"{caught.value}\n{caught.value.hint}"


def test_one_node_on_a_laptop_does_everything():
    plan = placed(cpu_machines(1), 1)
    assert duties(plan) == ["learn sample examine seed"]
    assert (plan.device, plan.weight_backend, plan.weight_group_size) == ("cpu", "gloo", 2)
    assert plan.notes == ()


def test_nodes_are_spread_one_a_machine():
    plan = placed(cpu_machines(4), 4, SERVER)
    assert duties(plan) == ["learn sample examine seed", *["sample examine"] * 3]
    assert [node.machine.name for node in plan.nodes] == ["m1", "m2", "m3", "m4"]
    assert plan.is_spread
    assert plan.weight_group_size == 5


def test_nodes_on_one_machine_say_what_they_share():
    plan = placed(cpu_machines(1, cpus=2), 4)
    assert len({node.name for node in plan.nodes}) == 4
    assert not plan.is_spread
    assert "4 nodes share the 2 cores of m1" in plan.notes[0]
    assert any("PostgreSQL server of the run's own" in note for note in plan.notes)


def test_raylets_of_one_host_may_use_its_loopback():
    raylets = [Machine(name=f"r{i}", address="127.0.0.1", cpus=2) for i in range(4)]
    plan = placed(raylets, 4, 'store.url="postgresql://me@localhost/azr"', shared=False)
    assert plan.is_spread


def test_fewer_nodes_than_machines_leave_some_idle():
    plan = placed(cpu_machines(4), 3, SERVER)
    assert "1 machine of the cluster will have no node" in plan.notes


def test_learner_ranks_come_first_and_the_rest_samples():
    plan = placed(gpu_machines(8), 1, "learner.ranks=2", "engine.tensor_parallel=3")
    node = plan.nodes[0]
    assert (node.learner_gpus, node.replica_gpus) == ((0, 1), (2, 3, 4, 5, 6, 7))
    assert (node.tensor_parallel, node.data_parallel) == (3, 2)
    assert plan.weight_backend == "nccl"


def test_a_node_alone_with_one_gpu_shares_it_with_its_learner():
    plan = placed(gpu_machines(1), 1)
    assert plan.nodes[0].learner_gpus == plan.nodes[0].replica_gpus == (0,)
    assert plan.weight_backend == "ipc"
    assert "share GPU 0" in plan.notes[0]


def test_on_machines_with_one_gpu_the_learner_leaves_sampling_to_the_others():
    plan = placed(gpu_machines(1, 1, 1, 1), 4, SERVER)
    assert duties(plan) == [
        "learn examine",
        "sample examine seed",
        "sample examine",
        "sample examine",
    ]
    assert plan.weight_backend == "nccl"
    assert "node-1 does not sample" in plan.notes[0]


def test_a_machine_without_a_gpu_examines_only():
    plan = placed(gpu_machines(0, 8), 2, SERVER)
    assert duties(plan) == ["learn sample examine seed", "examine"]
    assert plan.learner.machine.name == "g2"
    assert "examines only" in plan.notes[0]


def test_one_machine_of_gpus_is_dealt_out_among_its_nodes():
    plan = placed(gpu_machines(8), 3, "learner.ranks=1")
    assert [node.replica_gpus for node in plan.nodes] == [(1, 2), (3, 4), (5, 6, 7)]
    assert duties(plan) == ["learn sample examine seed", *["sample examine"] * 2]


def test_with_a_gpu_less_than_nodes_the_learner_does_not_sample():
    plan = placed(gpu_machines(4), 4)
    assert [node.replica_gpus for node in plan.nodes] == [(), (1,), (2,), (3,)]
    assert plan.nodes[1].does(Duty.SEED)


def test_gpus_count_for_nothing_where_models_run_on_cpu():
    plan = placed(gpu_machines(8, 8), 2, SERVER, "engine.device=cpu")
    assert (plan.device, plan.weight_backend) == ("cpu", "gloo")
    assert plan.nodes[1].replica_gpus == ()


def test_fewer_machines_than_nodes_are_refused():
    assert "Use --nodes 2, or add machines" in refusal(cpu_machines(2), 3, SERVER)
    assert "no machine that is alive" in refusal([], 1)


def test_sqlite_with_several_nodes_is_refused():
    assert "--db postgresql://" in refusal(cpu_machines(1), 2, 'store.url="sqlite:///x.sqlite"')


@pytest.mark.parametrize(
    "url",
    [
        "",
        "postgresql://azr:secret@localhost/azr",
        "postgresql+psycopg://azr:secret@127.0.0.1:5433/azr",
        "postgresql:///azr",
        "postgresql://azr:secret@/azr?host=/var/run/postgresql",
        "postgresql://azr:secret@[::1]/azr",
        "postgresql://azr:secret@[::1/azr",
    ],
)
def test_a_database_that_others_cannot_reach_is_refused(url: str):
    assert "store.url" in refusal(cpu_machines(2), 2, f'store.url="{url}"')


def test_a_host_in_the_query_is_a_host():
    assert placed(cpu_machines(2), 2, 'store.url="postgresql:///azr?host=db.example"').is_spread


def test_a_run_directory_that_is_not_shared_is_refused_on_several_machines():
    text = refusal(cpu_machines(2), 2, SERVER, shared=False)
    assert "--run-dir" in text
    assert "checkpoint" in text
    assert placed(cpu_machines(1), 2, shared=False)


def test_more_ranks_than_gpus_of_a_machine_are_refused():
    assert "learner.ranks to 4" in refusal(gpu_machines(4, 4), 2, SERVER, "learner.ranks=8")
    assert "learner.ranks to 4" in refusal(gpu_machines(4), 2, "learner.ranks=8")


def test_ranks_that_leave_nothing_to_sample_with_are_refused():
    assert "learner.ranks to 1" in refusal(gpu_machines(2), 1, "learner.ranks=2")
    assert "learner.ranks" in refusal(gpu_machines(2, 0), 2, SERVER, "learner.ranks=2")


def test_backends_that_cannot_carry_the_weights_are_refused():
    assert "nccl" in refusal(cpu_machines(1), 1, "engine.weight_backend=nccl")
    assert "gloo" in refusal(gpu_machines(2), 1, "engine.weight_backend=gloo")
    assert "nccl or auto" in refusal(gpu_machines(2), 1, "engine.weight_backend=ipc")
    text = refusal(gpu_machines(1, 1), 2, SERVER, "engine.weight_backend=ipc")
    assert "other machines" in text


def test_cuda_without_a_gpu_is_refused():
    assert "engine.device=cpu" in refusal(cpu_machines(1), 1, "engine.device=cuda")


def test_tensor_parallel_must_divide_and_needs_gpus():
    assert "to 1 or 3 or 7" not in refusal(gpu_machines(8), 1, "engine.tensor_parallel=2")
    assert "1 or 7, or change" in refusal(gpu_machines(8), 1, "engine.tensor_parallel=2")
    mixed = refusal(gpu_machines(3, 3), 2, SERVER, "learner.ranks=3", "engine.tensor_parallel=2")
    assert "1 or 3." in mixed
    assert "engine.tensor_parallel=1" in refusal(cpu_machines(1), 1, "engine.tensor_parallel=2")


def test_two_nodes_never_share_a_gpu():
    assert "--nodes 1" in refusal(gpu_machines(1), 2)
    assert "--nodes 2" in refusal(gpu_machines(2), 4)
    assert "learner.ranks lower" in refusal(gpu_machines(2), 2, "learner.ranks=2")


def test_a_replica_that_does_not_fit_is_refused():
    assert placed(gpu_machines(2), 1, model_mib=15_000)
    with pytest.raises(ConfigError, match=r"engine\.kv_cache_mib"):
        placed(gpu_machines(2), 1, model_mib=70_000)


def test_the_table_lines_up_and_says_who_does_what():
    plan = placed(gpu_machines(8, 8), 2, SERVER, "learner.ranks=4", "run.model=/models/qwen")
    head, blank, *rows = plan.table().splitlines()
    assert head == "2 nodes, one a machine; models on GPUs; weights by nccl"
    assert blank == ""
    assert rows[0].split() == ["node", "machine", "has", "does", "learner", "replica", "jails"]
    assert "4 ranks on GPU 0-3" in rows[1]
    assert "GPU 4-7: tensor 1 x data 4" in rows[1]
    assert "64 cores, 8 GPUs of 80 GiB" in rows[2]
    assert rows[1].index("g1 (") == rows[2].index("g2 (") == rows[0].index("machine")
    assert rows[-1] == "note: run.model = '/models/qwen' must be that folder on every machine"


def test_the_guide_shows_the_plan_that_it_announces():
    machines = [
        Machine(
            name=f"m{i}",
            address=f"10.0.0.{i}",
            cpus=64,
            memory_mib=512 * 1024,
            gpus=8,
            gpu_memory_mib=GPU_MIB,
        )
        for i in range(1, 5)
    ]
    plan = placed(machines, 4, SERVER, "learner.ranks=4", "run.model=/shared/models/Qwen")
    guide = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert plan.table() in guide


@given(
    gpus=st.lists(st.integers(0, 8), min_size=1, max_size=6),
    nodes=st.integers(1, 8),
    ranks=st.integers(1, 8),
    width=st.sampled_from([1, 2, 4]),
)
def test_a_plan_is_refused_or_sound(gpus: list[int], nodes: int, ranks: int, width: int):
    try:
        plan = placed(
            gpu_machines(*gpus),
            nodes,
            SERVER,
            f"learner.ranks={ranks}",
            f"engine.tensor_parallel={width}",
        )
    except ConfigError:
        return
    assert len(plan.nodes) == nodes
    assert [node.does(Duty.LEARN) for node in plan.nodes] == [True, *[False] * (nodes - 1)]
    assert sum(node.does(Duty.SEED) for node in plan.nodes) == 1
    assert all(node.does(Duty.EXAMINE) for node in plan.nodes)
    if plan.is_spread:
        assert len({node.machine.name for node in plan.nodes}) == nodes
    used = [
        (node.machine.name, gpu)
        for node in plan.nodes
        for gpu in {*node.learner_gpus, *node.replica_gpus}
    ]
    assert len(used) == len(set(used))
    assert all(gpu < node.machine.gpus for node in plan.nodes for gpu in node.replica_gpus)
    for node in plan.samplers:
        assert node.replica_workers == max(1, len(node.replica_gpus))
    assert plan.table()
