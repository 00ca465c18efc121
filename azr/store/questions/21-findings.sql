-- Which signs of collapse, drift or reward hacking were found?
-- Each finding at its beginning and at its end, oldest first; docs/failure-modes.md explains them.
select event_id, created_at, kind, facts
from event
where run_id = :run and kind in ('finding', 'finding_over')
order by event_id
