-- Which tasks has nobody solved?
-- Most attempts first.
select task_id, task_type, origin, visible_from, num_attempts, message, examples, program
from task
where run_id = :run and num_solved = 0 and num_attempts > 0
order by num_attempts desc, task_id
limit 20
