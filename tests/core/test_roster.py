"""What of a run's nodes should catch the eye."""

from __future__ import annotations

from dataclasses import replace

import pytest

from azr.membership import NodeRecord, NodeState, ReplicaState
from azr.roster import (
    Leases,
    NodeStanding,
    Patience,
    ReplicaStanding,
    Roster,
    node_alarm,
    replica_alarm,
)

PATIENCE = Patience(heartbeat_seconds=2, silent_seconds=30)
RECORD = NodeRecord(
    node_id="node-2-ab",
    name="node-2",
    machine="m2",
    address="10.0.0.2",
    pid=7,
    duties=("sample",),
    state=NodeState.PLAYING,
    version=4,
    lineage=1,
    started_at=0.0,
    seen_at=100.0,
    ended_at=None,
    reason=None,
)


def alarm(state: NodeState = NodeState.PLAYING, silence: float = 1, overdue: int = 0) -> str:
    return node_alarm(
        replace(RECORD, state=state, reason="it hung"),
        silence_seconds=silence,
        leases=Leases(held=3, overdue=overdue),
        patience=PATIENCE,
    )


def standing(name: str, wrong: str = "", state: NodeState = NodeState.PLAYING) -> NodeStanding:
    record = replace(RECORD, name=name, node_id=f"{name}-ab", state=state)
    return NodeStanding(record=record, silence_seconds=40, alarm=wrong)


def test_a_node_stands_out_when_it_is_late_silent_given_up_or_sits_on_leases() -> None:
    assert alarm() == ""
    assert alarm(silence=11) == "its heartbeat is 11 s late"
    assert alarm(silence=31) == "silent for 31 s"
    assert alarm(NodeState.FENCED, silence=500) == "was given up: it hung"
    assert alarm(NodeState.ENDED, silence=500) == ""
    assert alarm(overdue=2) == "2 leases are overdue"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (ReplicaState.STARTING, ""),
        (ReplicaState.HEALTHY, ""),
        (ReplicaState.STALE, "3 versions behind"),
        (ReplicaState.SUSPECT, "not proved"),
        (ReplicaState.DEAD, "no answer"),
    ],
)
def test_a_replica_that_does_not_serve_what_it_should_stands_out(
    state: ReplicaState, said: str
) -> None:
    lives, over = standing("node-2"), standing("node-2", state=NodeState.ENDED)
    found = replica_alarm(state, node=lives, lag=3, cause="no answer")
    assert bool(found) == bool(said)
    assert said in found
    assert replica_alarm(state, node=over, lag=3, cause="no answer") == ""


def test_a_run_that_was_killed_is_one_alarm_and_not_one_a_node() -> None:
    nodes = (standing("node-1", "silent for 40 s"), standing("node-2", "silent for 41 s"))
    [told] = Roster(nodes=nodes).alarms
    assert told.startswith("no node has been heard of for 40 s")
    assert Roster(nodes=(nodes[0], standing("node-2"))).alarms == ("node-1: silent for 40 s",)


def test_alarms_name_nodes_and_replicas() -> None:
    replica = ReplicaStanding(
        name="replica-2", node_id="node-2-ab", state=ReplicaState.STALE, alarm="stale"
    )
    roster = Roster(nodes=(standing("node-2", "late"), standing("node-3")), replicas=(replica,))
    assert roster.alarms == ("node-2: late", "replica-2: stale")
