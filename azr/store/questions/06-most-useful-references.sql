-- Which tasks were most useful as references?
-- How often a proposer was shown a task, how many valid tasks came of that, and how many of
-- these were solved sometimes but not always.
select parent.task_id, parent.task_type, parent.origin, count(*) as times_shown,
    count(child.task_id) as valid_children,
    sum(case when child.num_solved > 0 and child.num_solved < child.num_attempts
        then 1 else 0 end) as learnable_children,
    parent.program
from proposal_reference shown
join task parent on parent.task_id = shown.task_id
join rollout proposal on proposal.admission_id = shown.admission_id
left join task child on child.proposal_id = proposal.rollout_id
where parent.run_id = :run
group by parent.task_id, parent.task_type, parent.origin, parent.program
order by valid_children desc, times_shown desc, parent.task_id
limit 20
