-- What did the proposer invent lately?
-- The newest proposed tasks with their program, what it returned, and how often they were solved.
select task_id, task_type, visible_from, num_solved, num_attempts, message, examples, program
from task
where run_id = :run and origin = 'proposed'
order by task_id desc
limit 20
