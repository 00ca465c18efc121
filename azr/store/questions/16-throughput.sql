-- How many rollouts and tokens are sampled, trained on and dropped per minute?
-- Minutes count from the run's first rollout.
select (minute - (select min(minute) from v_throughput where run_id = :run)) / 60 as minute,
    what, role, num_rollouts, num_tokens
from v_throughput
where run_id = :run
order by minute, what, role
