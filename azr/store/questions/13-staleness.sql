-- How stale is what the learner trains on?
-- Optimizer steps between the oldest token of a row and the claim of its batch.
select role, staleness, sum(num_rollouts) as num_rollouts
from v_staleness
where run_id = :run
group by role, staleness
order by role, staleness
