-- Which share of the proposed tasks teaches nothing, because all attempts ended alike?
-- By the policy version that proposed: solved by none, by some, or by all of the attempts
-- that measured them.
select version, task_type, count(*) as num_tasks,
    sum(case when solve_rate = 0 then 1 else 0 end) as solved_by_none,
    sum(case when solve_rate > 0 and solve_rate < 1 then 1 else 0 end) as solved_by_some,
    sum(case when solve_rate = 1 then 1 else 0 end) as solved_by_all
from v_task_history
where run_id = :run and solve_rate is not null
group by version, task_type
order by version, task_type
