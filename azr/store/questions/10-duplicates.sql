-- How often does the proposer repeat itself?
-- By policy version: valid programs that their buffer knew already, beside those that were new.
select version, task_type,
    sum(case when verdict = 'duplicate' then 1 else 0 end) as num_duplicates,
    sum(case when judgement = 'valid' then 1 else 0 end) as num_new,
    sum(case when verdict = 'duplicate' then 1.0 else 0.0 end)
        / sum(case when verdict = 'duplicate' or judgement = 'valid' then 1 else 0 end)
        as duplicate_share
from v_task_history
where run_id = :run and purpose <> 'seed' and (verdict = 'duplicate' or judgement = 'valid')
group by version, task_type
order by version, task_type
