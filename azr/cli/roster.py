"""The nodes of a run and their replicas, as tables in which what is wrong stands out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from azr.cli.output import duration
from azr.membership import NodeState, ReplicaState
from azr.roster import NodeStanding, ReplicaStanding, Roster

ALARM_STYLE = "bold red"
FINGERPRINT_CHARS = 8
_NODE_STYLES = {
    NodeState.STARTING: "yellow",
    NodeState.PLAYING: "green",
    NodeState.DRAINING: "yellow",
    NodeState.ENDED: "dim",
    NodeState.FENCED: ALARM_STYLE,
}
_REPLICA_STYLES = {
    ReplicaState.STARTING: "yellow",
    ReplicaState.HEALTHY: "green",
    ReplicaState.STALE: ALARM_STYLE,
    ReplicaState.SUSPECT: ALARM_STYLE,
    ReplicaState.DEAD: ALARM_STYLE,
}


def roster_tables(roster: Roster, *, at_most: int | None = None) -> list[Table]:
    """A table of nodes and one of replicas; with `at_most` rows, those with alarms first."""
    nodes = _table("Nodes", "node", "incarnation", "machine", "does", "state", right=_NODE_FIGURES)
    shown, left = _shortened(roster.nodes, at_most)
    for node in shown:
        nodes.add_row(*_node_cells(node), style=None if node.is_living else "dim")
    _tell_rest(nodes, left)
    if not roster.replicas:
        return [nodes]
    living = {node.record.node_id for node in roster.nodes if node.is_living}
    replicas = _table("Replicas", "replica", "state", right=_REPLICA_FIGURES)
    shown, left = _shortened(roster.replicas, at_most)
    for replica in shown:
        replicas.add_row(*_replica_cells(replica, is_over=replica.node_id not in living))
    _tell_rest(replicas, left)
    return [nodes, replicas]


_NODE_FIGURES = ("heard of", "serves", "leases", "earlier lives")
_REPLICA_FIGURES = (
    "proved", "behind", "canary nats", "fingerprint", "tokens/s", "engine busy",
)  # fmt: skip


def _table(title: str, *left: str, right: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", expand=False)
    for heading in left:
        table.add_column(heading)
    for heading in right:
        table.add_column(heading, justify="right")
    return table


def _node_cells(node: NodeStanding) -> list[Text]:
    record = node.record
    state = ALARM_STYLE if node.alarm else _NODE_STYLES[record.state]
    late = ALARM_STYLE if node.alarm and node.is_living else ""
    leases = node.leases
    return [
        Text(record.name),
        Text(record.node_id),
        Text(record.machine),
        Text(", ".join(record.duties)),
        Text(str(record.state), style=state),
        Text(f"{duration(node.silence_seconds)} ago", style=late),
        Text(_version(record.version, record.lineage)),
        Text(
            f"{leases.held}" + (f" ({leases.overdue} overdue)" if leases.overdue else ""),
            style=ALARM_STYLE if leases.overdue else "",
        ),
        Text(str(node.num_earlier)),
    ]


def _replica_cells(replica: ReplicaStanding, *, is_over: bool) -> list[Text]:
    style = "dim" if is_over else _REPLICA_STYLES[replica.state]
    nats, speed, busy = replica.canary_nats, replica.tokens_per_second, replica.busy_share
    return [
        Text(replica.name),
        Text(str(replica.state), style=style),
        Text(_version(replica.version, replica.lineage)),
        Text("-" if replica.lag is None else str(replica.lag)),
        Text("-" if nats is None else f"{nats:.1e}"),
        Text((replica.fingerprint or "-")[:FINGERPRINT_CHARS]),
        Text("-" if speed is None else f"{speed:,.0f}"),
        Text("-" if busy is None else f"{busy:.0%}"),
    ]


def _version(version: int | None, lineage: int) -> str:
    """`v12`, or `v12 (lineage 3)` once a learner has begun for the second time."""
    if version is None:
        return "-"
    return f"v{version} (lineage {lineage})" if lineage > 1 else f"v{version}"


def _shortened[Standing: (NodeStanding, ReplicaStanding)](
    rows: Sequence[Standing], at_most: int | None
) -> tuple[list[Standing], int]:
    """Those to show, and how many are left out."""
    if at_most is None or len(rows) <= at_most:
        return list(rows), 0
    ordered = sorted(rows, key=lambda row: not row.alarm)
    return ordered[: at_most - 1], len(rows) - at_most + 1


def _tell_rest(table: Table, count: int) -> None:
    if count:
        table.add_row(Text(f"and {count} more"))
