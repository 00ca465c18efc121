-- Which policy versions existed, where are their checkpoints, and what did replicas prove?
-- `canary_nats` is the mean difference between the replica's and the learner's log-probs.
select v.version, v.state, v.durable, v.path, p.replica, p.accepted, p.canary_nats,
    p.fingerprint, v.created_at
from policy_version v
left join replica_proof p on p.run_id = v.run_id and p.version = v.version
where v.run_id = :run
order by v.version, v.policy_id, p.proof_id
