-- How many bytes does a rollout's payload take?
-- Means per rollout, over those whose tokens have not been pruned. Ids are int32 under zstd,
-- log-probs raw; text is counted in characters.
select r.role, r.task_type, count(*) as num_rollouts,
    avg(r.num_prompt_tokens) as prompt_tokens, avg(r.num_tokens) as response_tokens,
    avg(length(p.prompt_token_ids)) as prompt_id_bytes, avg(length(p.token_ids)) as id_bytes,
    avg(length(p.behaviour_logprobs)) as logprob_bytes, avg(length(p.text)) as text_chars,
    avg(length(p.prompt_token_ids) + length(p.token_ids) + length(p.behaviour_logprobs)
        + length(p.text)) as payload_bytes
from rollout r join rollout_payload p on p.rollout_id = r.rollout_id
where r.run_id = :run and length(p.token_ids) > 0
group by r.role, r.task_type
order by r.role, r.task_type
