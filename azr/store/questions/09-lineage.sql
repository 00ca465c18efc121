-- From which tasks does a task descend?
-- Every ancestor once, with the fewest generations between; the identity triplet has none of
-- its own. `azr tasks lineage TASK` draws it as a tree.
-- param task (a task's id) = select max(task_id) from task where run_id = :run
with recursive ancestor(task_id, generation) as (
    select task_id, 0 from task where task_id = :task
    union
    select parent.parent_id, ancestor.generation + 1
    from ancestor join v_lineage parent on parent.task_id = ancestor.task_id
    where ancestor.generation < 20
)
select min(ancestor.generation) as generation, t.task_id, t.task_type, t.origin,
    t.visible_from, t.program
from ancestor join task t on t.task_id = ancestor.task_id
group by t.task_id, t.task_type, t.origin, t.visible_from, t.program
order by generation, t.task_id
