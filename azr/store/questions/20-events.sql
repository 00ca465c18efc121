-- What happened to the run itself?
-- Starts, stops, recoveries and refusals, newest first.
select event_id, created_at, kind, facts
from event
where run_id = :run
order by event_id desc
limit 50
