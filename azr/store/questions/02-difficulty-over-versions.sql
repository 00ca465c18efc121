-- How difficult are the proposed tasks to the policy that tries them, over time?
-- A row per task type and policy version that attempted: how many tasks it tried, and how
-- often it solved them.
select version, task_type, count(*) as num_tasks, sum(num_attempts) as num_attempts,
    1.0 * sum(num_solved) / sum(num_attempts) as solve_rate
from v_difficulty
where run_id = :run
group by version, task_type
order by version, task_type
