-- What did each cell earn, step by step?
-- The rows that each surviving learner step trained on, by role and task type.
select step, role, task_type, num_rollouts, mean_reward, min_reward, max_reward, mean_tokens
from v_cell_rewards
where run_id = :run
order by step, role, task_type
