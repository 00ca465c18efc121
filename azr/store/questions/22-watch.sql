-- What was measured of a learner step's proposals and answers?
-- The measures that findings rest on, by scope; `num_` counts what the others are means over.
-- param step (a learner step) = select max(version) from learner_step where run_id = :run and state = 'live'
select name, value
from metric
where run_id = :run and live and step = :step and name like 'watch/%'
order by name
