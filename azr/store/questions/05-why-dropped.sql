-- Why were rollouts dropped?
-- Every rollout that is never trained on has one reason; `azr why ROLLOUT` explains one of them.
select drop_reason, role, task_type, count(*) as num_rollouts,
    min(rollout_id) as first_rollout, max(rollout_id) as newest_rollout
from v_why_dropped
where run_id = :run
group by drop_reason, role, task_type
order by num_rollouts desc, drop_reason, role, task_type
