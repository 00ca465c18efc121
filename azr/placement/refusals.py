"""Plans that cannot work, each refused with the setting at fault and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from azr.config import RunConfig
from azr.errors import ConfigError
from azr.placement.plan import Machine, NodePlan, counted

SERVER_HINT = "Give a server that every machine reaches: --db postgresql://USER@HOST/NAME."
THIS_HOST = "localhost"


def check_count(machines: Sequence[Machine], nodes: int) -> None:
    if not machines:
        raise ConfigError(
            "the cluster has no machine that is alive",
            hint="Look at `ray status`, and start Ray on the machines: docs/cluster.md.",
        )
    if 1 < len(machines) < nodes:
        raise ConfigError(
            f"--nodes {nodes} wants a machine for each node, and the cluster has {len(machines)}:"
            f" {', '.join(machine.name for machine in machines)}",
            hint=f"Use --nodes {len(machines)}, or add machines."
            " Nodes share a machine only where there is exactly one.",
        )


def check_cpu(config: RunConfig) -> None:
    """On CPU a replica is one thread of its node."""
    width = config.engine.tensor_parallel
    if width > 1:
        raise ConfigError(
            f"engine.tensor_parallel = {width} splits a model over GPUs, and the models run on CPU",
            hint="Set engine.tensor_parallel=1.",
        )


def too_many_ranks(config: RunConfig, machines: Sequence[Machine]) -> ConfigError:
    """The learner's ranks are processes of one node, a GPU each."""
    ranks, most = config.learner.ranks, max(machine.gpus for machine in machines)
    return ConfigError(
        f"learner.ranks = {ranks} needs {counted(ranks, 'GPU')} in one machine,"
        f" and the largest has {most}",
        hint=f"Set learner.ranks to {most} or less, or add a machine with more GPUs.",
    )


def check_sharing(config: RunConfig, home: Machine, nodes: int) -> None:
    """Where no GPU is left to sample, one rank and one replica may share the only one."""
    if home.gpus == 1:
        return
    others = "" if nodes == 1 else ", and no other node has one"
    raise ConfigError(
        f"learner.ranks = {config.learner.ranks} takes every GPU of {home.name}{others}:"
        " nothing is left to sample with",
        hint=f"Set learner.ranks to {home.gpus - 1} or less, or add a machine with GPUs.",
    )


def check_tensor_parallel(config: RunConfig, machine: Machine, free: int) -> None:
    width = config.engine.tensor_parallel
    if free % width == 0:
        return
    fitting = [str(number) for number in range(1, free + 1) if free % number == 0]
    raise ConfigError(
        f"engine.tensor_parallel = {width} does not divide the {counted(free, 'GPU')}"
        f" of {machine.name} that would sample",
        hint=f"Set engine.tensor_parallel to {' or '.join(fitting)}"
        + (", or change learner.ranks." if free != machine.gpus else "."),
    )


def check_dealt_out(config: RunConfig, machine: Machine, *, copies: int, nodes: int) -> None:
    """`copies` of the model must give every node one; the learner's may do without."""
    if copies and copies >= nodes - 1:
        return
    width = config.engine.tensor_parallel
    each = "one" if width == 1 else f"{width} (engine.tensor_parallel)"
    if copies:
        hint = f"Use --nodes {copies + 1} or fewer."
    elif machine.gpus == 1:
        hint = "Use --nodes 1, where learner and replica may share it."
    else:
        hint = "Set learner.ranks lower."
    raise ConfigError(
        f"--nodes {nodes} on {machine.name} would put two nodes on one GPU: of its"
        f" {counted(machine.gpus, 'GPU')} learner.ranks takes {config.learner.ranks},"
        f" and every other node needs {each}",
        hint=hint,
    )


def check_store(config: RunConfig, nodes: Sequence[NodePlan]) -> None:
    """Several nodes need a server, and several hosts one that all of them reach."""
    if len(nodes) == 1:
        return
    url = config.store.url
    if url.startswith("sqlite"):
        raise ConfigError(
            f"store.url names an SQLite file, and {len(nodes)} nodes need a database server",
            hint="Give --db postgresql://USER@HOST/NAME; on one machine you may leave --db out.",
        )
    hosts = num_hosts(nodes)
    if hosts == 1:
        return
    if not url:
        raise ConfigError(
            f"store.url is empty, and a server that the run starts itself is out of reach for"
            f" {hosts - 1} of {hosts} machines",
            hint=SERVER_HINT,
        )
    server = database_host(url)
    if server == THIS_HOST:
        raise ConfigError(
            f"store.url leads back to the machine it is used on, and {hosts} machines would use it",
            hint=SERVER_HINT,
        )


def check_run_directory(nodes: Sequence[NodePlan], *, shared: bool) -> None:
    """Whoever joins late loads the newest checkpoint, so everybody must reach them."""
    hosts = num_hosts(nodes)
    if shared or hosts == 1:
        return
    raise ConfigError(
        f"--run-dir is out of reach for some of the {hosts} machines, and a node that joins or"
        " restarts loads the newest checkpoint from it",
        hint="Choose a --run-dir on a file system that every machine mounts at the same path:"
        " NFS, Lustre, or a ReadWriteMany volume.",
    )


def check_gpu_memory(config: RunConfig, nodes: Sequence[NodePlan], model_mib: int) -> None:
    """Weights and KV cache of a replica must fit; activations come on top."""
    kv_cache_mib = config.engine.kv_cache_mib
    for node in nodes:
        available_mib = node.machine.gpu_memory_mib
        if not available_mib or not node.replica_gpus:
            continue
        weights_mib = model_mib // node.tensor_parallel
        if weights_mib + kv_cache_mib > available_mib:
            raise ConfigError(
                f"engine.kv_cache_mib = {kv_cache_mib} and {weights_mib} MiB of weights do not fit"
                f" into the {available_mib} MiB of a GPU of {node.machine.name}",
                hint="Lower engine.kv_cache_mib, or raise engine.tensor_parallel.",
            )


def check_ipc(config: RunConfig, nodes: Sequence[NodePlan], *, shared: bool) -> None:
    """IPC hands over a pointer into a GPU's memory: both ends use that very GPU."""
    if config.engine.weight_backend != "ipc" or not nodes[0].learner_gpus or shared:
        return
    if num_hosts(nodes) > 1:
        problem = "cannot reach the replicas of other machines"
    else:
        problem = "needs learner and replica on the same GPU, and here each has its own"
    raise ConfigError(
        f"engine.weight_backend = 'ipc' {problem}",
        hint="Set engine.weight_backend to nccl or auto.",
    )


def num_hosts(nodes: Sequence[NodePlan]) -> int:
    """How many hosts the nodes are on; raylets of one host may count as machines."""
    return len({_host(node.machine.address) for node in nodes})


def database_host(url: str) -> str:
    """Where a server's URL leads; THIS_HOST for loopback and for sockets.

    Raises ConfigError for what is no URL. It never repeats the URL: passwords are in it.
    """
    try:
        parts = urlsplit(url)
        named = parts.hostname or parse_qs(parts.query).get("host", [""])[0]
    except ValueError:
        raise ConfigError("store.url is not a URL", hint=SERVER_HINT) from None
    return THIS_HOST if not named or named.startswith("/") else _host(named)


def _host(address: str) -> str:
    is_loopback = address.startswith("127.") or address in ("::1", "localhost", "0.0.0.0")  # noqa: S104
    return THIS_HOST if is_loopback else address
