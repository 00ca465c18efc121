"""More or fewer nodes while a run plays: whoever plays keeps its machine and its GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from azr.config import RunConfig
from azr.errors import ConfigError
from azr.placement import refusals
from azr.placement.notes import notes_on
from azr.placement.plan import HASH_SEEDS, Duty, Machine, NodePlan, Plan, counted


def resize(
    plan: Plan,
    config: RunConfig,
    machines: Sequence[Machine],
    nodes: int,
    *,
    run_directory_shared: bool,
) -> Plan:
    """The plan with `nodes` nodes; the first ones stay as they are.

    New nodes go to machines without one, those with most GPUs first, and all of its GPUs
    sample. On CPU, a run that is on the only machine grows there.

    Args:
        plan: what is played now.
        config: the settings that it is played with.
        machines: those of the cluster that are alive.
        nodes: at least 1.
        run_directory_shared: as in `place`.

    Raises:
        ConfigError: there is no place, or nothing would sample any more.
    """
    if nodes <= len(plan.nodes):
        wanted = plan.nodes[:nodes]
        _check_samples(wanted, len(plan.nodes))
    else:
        wanted = (*plan.nodes, *_newcomers(plan, config, machines, nodes - len(plan.nodes)))
    refusals.check_store(config, wanted)
    refusals.check_run_directory(wanted, shared=run_directory_shared)
    used = {node.machine.name for node in wanted}
    is_spread = len(used) == len(wanted)
    idle = len({machine.name for machine in machines} - used) if is_spread else 0
    return replace(
        plan, nodes=wanted, is_spread=is_spread, notes=notes_on(config, wanted, idle=idle)
    )


def _check_samples(nodes: Sequence[NodePlan], before: int) -> None:
    if not any(node.does(Duty.SAMPLE) for node in nodes):
        raise ConfigError(
            f"with --nodes {len(nodes)} nothing would sample: {nodes[0].name} only learns",
            hint=f"Keep between {len(nodes) + 1} and {before} nodes.",
        )


def _newcomers(
    plan: Plan, config: RunConfig, machines: Sequence[Machine], count: int
) -> list[NodePlan]:
    """So many nodes beside those that play."""
    places = _places(plan, machines, count)
    if plan.device == "cpu":
        places = [replace(machine, gpus=0, gpu_memory_mib=0) for machine in places]
    elif plan.weight_backend == "ipc" and any(machine.gpus for machine in places):
        raise ConfigError(
            "learner and replica share one GPU by IPC, which reaches no other replica",
            hint="Stop the run, and resume it with the --nodes that you want.",
        )
    width = config.engine.tensor_parallel
    highest = max(int(node.name.rpartition("-")[2]) for node in plan.nodes)
    found: list[NodePlan] = []
    for number, machine in enumerate(places, start=highest + 1):
        refusals.check_tensor_parallel(config, machine, machine.gpus)
        samples = plan.device == "cpu" or machine.gpus > 0
        found.append(
            NodePlan(
                name=f"node-{number}",
                machine=machine,
                duties=(Duty.SAMPLE, Duty.EXAMINE) if samples else (Duty.EXAMINE,),
                replica_gpus=tuple(range(machine.gpus)),
                tensor_parallel=width if samples else 0,
                data_parallel=max(1, machine.gpus // width) if samples else 0,
                jails=HASH_SEEDS * config.sandbox.workers,
            )
        )
    return found


def _places(plan: Plan, machines: Sequence[Machine], count: int) -> list[Machine]:
    """Machines for the newcomers. Raises ConfigError if there are too few."""
    used = {node.machine.name for node in plan.nodes}
    if len(machines) == 1 and plan.device == "cpu" and used == {machines[0].name}:
        return [machines[0]] * count
    free = sorted(
        (machine for machine in machines if machine.name not in used),
        key=lambda machine: -machine.gpus,
    )
    if len(free) < count:
        most = len(plan.nodes) + len(free)
        raise ConfigError(
            f"--nodes {len(plan.nodes) + count} needs {counted(count, 'machine')} more, and"
            f" {len(free)} of the cluster {'has' if len(free) == 1 else 'have'} no node",
            hint=f"Use --nodes {most}, or add machines to the cluster.",
        )
    return free[:count]
