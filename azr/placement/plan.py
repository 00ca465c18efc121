"""What a plan says, and how it is printed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from azr.engine.environment import Device
from azr.engine.weight_backend import WeightBackend

MIB_PER_GIB = 1024
HASH_SEEDS = 2
"""A node validates under two of them, so it keeps `sandbox.workers` jails for each."""


class Duty(StrEnum):
    """What a node does in a run; it may have several duties."""

    LEARN = "learn"
    """The learner's processes, and the sending of their weights. One node has it."""
    SAMPLE = "sample"
    """A vLLM replica, with the proposers and solvers that keep it busy."""
    EXAMINE = "examine"
    """Jails, and the executors that send programs there. Every node has it."""
    SEED = "seed"
    """Fills the buffers and measures held-out accuracy: the first node that samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine that nodes can run on, as the cluster reports it."""

    name: str
    """What the cluster calls it; two machines never share a name."""
    address: str
    """Where others reach it. Raylets on one host, as in a test, may share an address."""
    cpus: int
    gpus: int = 0
    """That vLLM can use: 0 where only its CPU build is installed."""
    gpu_memory_mib: int = 0
    """Of each GPU; 0 if nobody looked."""
    memory_mib: int = 0
    """0 if nobody looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """One node: its machine, its duties and its share of the machine."""

    name: str
    """`node-1`, `node-2`, ...; an incarnation's id begins with it."""
    machine: Machine
    duties: tuple[Duty, ...]
    learner_ranks: int = 0
    learner_gpus: tuple[int, ...] = ()
    """Indices on the machine, one for each rank; empty on CPU."""
    replica_gpus: tuple[int, ...] = ()
    """Indices on the machine; empty on CPU, and where nothing samples."""
    tensor_parallel: int = 0
    """GPUs (or 1 CPU) that hold one copy of the weights; 0 where nothing samples."""
    data_parallel: int = 0
    """Copies of the weights behind the node's one AsyncLLM; 0 where nothing samples."""
    jails: int

    def does(self, duty: Duty) -> bool:
        return duty in self.duties

    @property
    def replica_workers(self) -> int:
        """Processes or threads that receive every weight update."""
        return self.tensor_parallel * self.data_parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Who does what where. Node 1 learns."""

    device: Device
    """Of replicas and learner."""
    weight_backend: WeightBackend
    nodes: tuple[NodePlan, ...]
    is_spread: bool
    """One node a machine; else all nodes are on one machine."""
    notes: tuple[str, ...] = ()
    """What the user should know before it starts, a sentence each."""

    @property
    def learner(self) -> NodePlan:
        return next(node for node in self.nodes if node.does(Duty.LEARN))

    @property
    def samplers(self) -> tuple[NodePlan, ...]:
        return tuple(node for node in self.nodes if node.does(Duty.SAMPLE))

    @property
    def weight_group_size(self) -> int:
        """Members of a full broadcast: the learner and every replica's workers."""
        return 1 + sum(node.replica_workers for node in self.samplers)

    def table(self) -> str:
        """Aligned text for a terminal: a headline, a line for each node, the notes."""
        head = ("node", "machine", "has", "does", "learner", "replica", "jails")
        rows = [head, *(_cells(node) for node in self.nodes)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([self._headline(), "", *lines, *self._noted()])

    def _headline(self) -> str:
        count = len(self.nodes)
        if count == 1:
            where = f"1 node on {self.nodes[0].machine.name}"
        elif self.is_spread:
            where = f"{count} nodes, one a machine"
        else:
            where = f"{count} nodes beside each other on {self.nodes[0].machine.name}"
        kind = "GPUs" if self.device == "cuda" else "CPU"
        return f"{where}; models on {kind}; weights by {self.weight_backend}"

    def _noted(self) -> list[str]:
        return ["", *(f"note: {note}" for note in self.notes)] if self.notes else []


def _cells(node: NodePlan) -> tuple[str, ...]:
    machine = node.machine
    return (
        node.name,
        f"{machine.name} ({machine.address})" if machine.address != machine.name else machine.name,
        _resources(machine),
        ", ".join(node.duties),
        _learner(node),
        _replica(node),
        str(node.jails),
    )


def _resources(machine: Machine) -> str:
    parts = [counted(machine.cpus, "core")]
    if machine.memory_mib:
        parts.append(f"{machine.memory_mib / MIB_PER_GIB:.0f} GiB")
    if machine.gpus:
        size = (
            f" of {machine.gpu_memory_mib / MIB_PER_GIB:.0f} GiB" if machine.gpu_memory_mib else ""
        )
        parts.append(counted(machine.gpus, "GPU") + size)
    return ", ".join(parts)


def _learner(node: NodePlan) -> str:
    if not node.learner_ranks:
        return "-"
    ranks = counted(node.learner_ranks, "rank")
    return (
        f"{ranks} on GPU {_indices(node.learner_gpus)}" if node.learner_gpus else f"{ranks} on CPU"
    )


def _replica(node: NodePlan) -> str:
    if not node.replica_workers:
        return "-"
    if not node.replica_gpus:
        return "on CPU"
    shape = f"tensor {node.tensor_parallel} x data {node.data_parallel}"
    return f"GPU {_indices(node.replica_gpus)}: {shape}"


def _indices(numbers: tuple[int, ...]) -> str:
    """Consecutive ones as a range."""
    first, last = numbers[0], numbers[-1]
    return str(first) if first == last else f"{first}-{last}"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
