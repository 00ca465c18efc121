-- What did a learner step train on?
-- Its rows, the ones that moved the weights most first.
-- param step (a learner step) = select max(version) from learner_step where run_id = :run and state = 'live'
select m.position, r.rollout_id, r.role, r.task_type, r.reward, m.advantage, m.staleness,
    r.oldest_version, r.newest_version, r.num_tokens, coalesce(r.task_id, made.task_id) as task_id
from learner_step s
join batch_row m on m.batch_id = s.batch_id
join rollout r on r.rollout_id = m.rollout_id
left join task made on made.proposal_id = r.rollout_id
where s.run_id = :run and s.state = 'live' and s.version = :step
order by abs(m.advantage) desc, m.position
