-- Does the proposer get better: how many proposals are valid, new and learnable?
-- By policy version and type. Learnable: solved sometimes, not always; only these earn a
-- reward above zero.
select version, task_type, count(*) as num_judged,
    avg(case when judgement = 'valid' then 1.0 else 0.0 end) as valid_share,
    avg(case when verdict = 'duplicate' then 1.0 else 0.0 end) as duplicate_share,
    avg(case when solve_rate > 0 and solve_rate < 1 then 1.0 else 0.0 end) as learnable_share,
    avg(reward) as mean_reward
from v_task_history
where run_id = :run and purpose <> 'seed' and judgement is not null
group by version, task_type
order by version, task_type
