-- Which tasks did a later policy learn to solve, and which did it forget?
-- Tasks that more than one policy version tried, with the solve rate of the first and of the
-- last one, largest change first.
select early.task_id, early.task_type, early.version as first_version,
    early.solve_rate as first_solve_rate, late.version as last_version,
    late.solve_rate as last_solve_rate, late.solve_rate - early.solve_rate as gain
from (
    select task_id, min(version) as first_version, max(version) as last_version
    from v_difficulty where run_id = :run group by task_id
) tried
join v_difficulty early on early.run_id = :run and early.task_id = tried.task_id
    and early.version = tried.first_version
join v_difficulty late on late.run_id = :run and late.task_id = tried.task_id
    and late.version = tried.last_version
where tried.first_version < tried.last_version
order by abs(late.solve_rate - early.solve_rate) desc, early.task_id
limit 30
