-- How long are responses, and how many are cut off?
-- By the policy version that sampled them.
select newest_version as version, role, task_type, count(*) as num_rollouts,
    avg(num_tokens) as mean_tokens, max(num_tokens) as max_tokens,
    avg(case when finish_reason = 'length' then 1.0 else 0.0 end) as truncated_share
from rollout
where run_id = :run and purpose <> 'seed'
group by newest_version, role, task_type
order by newest_version, role, task_type
