-- Where is every rollout now?
-- generated = trained + ready + claimed + dropped + in validation, and what waits to be sampled.
select queue, state, role, task_type, purpose, num_rows, oldest_version
from v_queue
where run_id = :run
order by queue, state, role, task_type, purpose
