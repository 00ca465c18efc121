-- Why do proposals fail?
-- Verdicts of the jail and broken formats, most frequent first, with one example each.
select task_type, judgement, verdict, count(*) as num_proposals, max(detail) as an_example,
    max(rollout_id) as newest_rollout
from rollout
where run_id = :run and role = 'propose' and judgement in ('invalid', 'bad_format')
group by task_type, judgement, verdict
order by num_proposals desc, task_type, verdict
