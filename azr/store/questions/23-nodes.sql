-- Who plays, and how are the replicas?
-- Every life of every node, the newest first, with the last word about its replicas; empty for a run that registered none.
select n.name, n.node_id, n.machine, n.state, n.version, n.lineage, n.started_at, n.seen_at,
    n.ended_at, n.reason, r.name as replica, r.state as replica_state,
    r.version as replica_version, r.lag, r.canary_nats, r.cause
from node n
left join replica r on r.run_id = n.run_id and r.node_id = n.node_id
where n.run_id = :run
order by n.started_at desc, n.node_id, r.name
