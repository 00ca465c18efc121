"""From machines to a plan: who learns, who samples, and on which GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from azr.config import RunConfig
from azr.engine.environment import Device
from azr.engine.weight_backend import WeightBackend, weight_backend
from azr.errors import ConfigError
from azr.placement import refusals
from azr.placement.notes import notes_on
from azr.placement.plan import HASH_SEEDS, Duty, Machine, NodePlan, Plan


@dataclass(frozen=True, slots=True)
class _Share:
    """What one node gets of its machine."""

    machine: Machine
    learner_gpus: tuple[int, ...] = ()
    replica_gpus: tuple[int, ...] = ()


def place(
    config: RunConfig,
    machines: Sequence[Machine],
    nodes: int,
    *,
    run_directory_shared: bool,
    model_mib: int = 0,
) -> Plan:
    """Decide what each of `nodes` nodes does, or say why that cannot work.

    With as many machines as nodes, or more, every node has a machine of its own. On
    exactly one machine all nodes run beside each other. On GPUs the learner's ranks come
    first, a GPU each; what is left samples, and a machine without a GPU examines only.

    Args:
        config: the run's settings; `learner.ranks`, `engine.*` and `store.url` decide.
        machines: at least one; the driver's own first, because ties go to it.
        nodes: at least 1.
        run_directory_shared: whether every machine sees the run directory at its path.
        model_mib: the model's files; 0 if unknown, and GPU memory is then not checked.

    Raises:
        ConfigError: the setting that stands in the way, and what to do about it.
    """
    refusals.check_count(machines, nodes)
    device = _device(config, machines)
    if device == "cpu":
        refusals.check_cpu(config)
        machines = [replace(machine, gpus=0, gpu_memory_mib=0) for machine in machines]
    is_spread = len(machines) > 1 or nodes == 1
    if device == "cpu":
        shares = [_Share(machine) for machine in _chosen(machines, nodes)]
    elif is_spread:
        shares = _spread(config, machines, nodes)
    else:
        shares = _beside(config, machines[0], nodes)
    planned = _nodes(config, shares, device)
    refusals.check_store(config, planned)
    refusals.check_run_directory(planned, shared=run_directory_shared)
    refusals.check_gpu_memory(config, planned, model_mib)
    backend = _backend(config, planned, device)
    return Plan(
        device=device,
        weight_backend=backend,
        nodes=planned,
        is_spread=is_spread,
        notes=notes_on(config, planned, idle=len(machines) - nodes if is_spread else 0),
    )


def _device(config: RunConfig, machines: Sequence[Machine]) -> Device:
    has_gpus = any(machine.gpus for machine in machines)
    if config.engine.device == "auto":
        return "cuda" if has_gpus else "cpu"
    if config.engine.device == "cuda" and not has_gpus:
        raise ConfigError(
            "engine.device = 'cuda', but no machine has a GPU that vLLM can use",
            hint="Set engine.device=cpu, or install the CUDA build: make setup EXTRA=cuda.",
        )
    return config.engine.device


def _chosen(machines: Sequence[Machine], nodes: int) -> list[Machine]:
    """One entry a node: the first machines, or one machine again and again."""
    return list(machines[:nodes]) if len(machines) > 1 else [machines[0]] * nodes


def _spread(config: RunConfig, machines: Sequence[Machine], nodes: int) -> list[_Share]:
    """Every node a machine of its own: the learner's first, then those with most GPUs."""
    home = _learner_machine(config, machines, nodes)
    others = [machine for machine in machines if machine is not home]
    others = sorted(others, key=lambda machine: -machine.gpus)[: nodes - 1]
    ranks = config.learner.ranks
    free = tuple(range(ranks, home.gpus))
    if not free and not any(machine.gpus for machine in others):
        refusals.check_sharing(config, home, nodes)
        free = (0,)
    learner = _Share(home, tuple(range(ranks)), free)
    rest = [_Share(machine, (), tuple(range(machine.gpus))) for machine in others]
    for share in (learner, *rest):
        refusals.check_tensor_parallel(config, share.machine, len(share.replica_gpus))
    return [learner, *rest]


def _learner_machine(config: RunConfig, machines: Sequence[Machine], nodes: int) -> Machine:
    """The first with a GPU for every rank; a node that is alone goes where most GPUs are."""
    able = [machine for machine in machines if machine.gpus >= config.learner.ranks]
    if not able:
        raise refusals.too_many_ranks(config, machines)
    return max(able, key=lambda machine: machine.gpus) if nodes == 1 else able[0]


def _beside(config: RunConfig, machine: Machine, nodes: int) -> list[_Share]:
    """Several nodes on one machine: its GPUs dealt out, none to two nodes."""
    ranks, width = config.learner.ranks, config.engine.tensor_parallel
    if ranks > machine.gpus:
        raise refusals.too_many_ranks(config, [machine])
    free = machine.gpus - ranks
    refusals.check_tensor_parallel(config, machine, free)
    copies = free // width
    refusals.check_dealt_out(config, machine, copies=copies, nodes=nodes)
    samplers = min(copies, nodes)
    fewest, left_over = divmod(copies, samplers)
    shares: list[_Share] = []
    next_gpu = ranks
    for index in range(nodes):
        sampler = index - (nodes - samplers)  # with too few copies, the learner's node has none
        count = 0 if sampler < 0 else width * (fewest + (sampler >= samplers - left_over))
        learner_gpus = tuple(range(ranks)) if index == 0 else ()
        shares.append(_Share(machine, learner_gpus, tuple(range(next_gpu, next_gpu + count))))
        next_gpu += count
    return shares


def _nodes(config: RunConfig, shares: Sequence[_Share], device: Device) -> tuple[NodePlan, ...]:
    """Shares with their duties; the first one learns, the first that samples seeds."""
    samples = [device == "cpu" or bool(share.replica_gpus) for share in shares]
    seeder = samples.index(True)
    width = config.engine.tensor_parallel
    found: list[NodePlan] = []
    for index, share in enumerate(shares):
        wanted = {
            Duty.LEARN: index == 0,
            Duty.SAMPLE: samples[index],
            Duty.EXAMINE: True,
            Duty.SEED: index == seeder,
        }
        copies = max(1, len(share.replica_gpus) // width)
        found.append(
            NodePlan(
                name=f"node-{index + 1}",
                machine=share.machine,
                duties=tuple(duty for duty, has in wanted.items() if has),
                learner_ranks=config.learner.ranks if index == 0 else 0,
                learner_gpus=share.learner_gpus,
                replica_gpus=share.replica_gpus,
                tensor_parallel=width if samples[index] else 0,
                data_parallel=copies if samples[index] else 0,
                jails=HASH_SEEDS * config.sandbox.workers,
            )
        )
    return tuple(found)


def _backend(config: RunConfig, nodes: Sequence[NodePlan], device: Device) -> WeightBackend:
    """What carries the weights. Raises ConfigError for what cannot."""
    learner = nodes[0]
    shared = bool(set(learner.learner_gpus) & set(learner.replica_gpus))
    refusals.check_ipc(config, nodes, shared=shared)
    return weight_backend(config, cuda=device == "cuda", shared_device=shared)
