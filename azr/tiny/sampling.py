"""A small batched sampler at temperature 1, for measuring a base without an engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from azr.types import Completion, FinishReason, VersionSpan


class TextSampler:
    """Samples from a Hugging Face folder in float32 on the CPU, batch by batch."""

    def __init__(self, folder: Path, *, seed: int = 0, batch_sequences: int = 128) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.batch_sequences = batch_sequences
        torch.manual_seed(seed)

    def count_tokens(self, text: str) -> int:
        return len(self.tokenizer(text)["input_ids"])

    def sample(self, prompts: Sequence[str], *, max_tokens: int) -> list[Completion]:
        """One completion per prompt, in order. Behaviour log-probs are not recorded."""
        by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        completions: dict[int, Completion] = {}
        for start in range(0, len(by_length), self.batch_sequences):
            chosen = by_length[start : start + self.batch_sequences]
            batch = self._sample_batch([prompts[i] for i in chosen], max_tokens)
            completions.update(zip(chosen, batch, strict=True))
        return [completions[i] for i in range(len(prompts))]

    @torch.inference_mode()
    def _sample_batch(self, prompts: list[str], max_tokens: int) -> list[Completion]:
        encoded = self.tokenizer(prompts, return_tensors="pt", padding=True)
        output = self.model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            max_new_tokens=max_tokens,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
        )
        width = encoded["input_ids"].shape[1]
        return [self._completion(row.tolist()) for row in output[:, width:]]

    def _completion(self, ids: list[int]) -> Completion:
        eos = self.tokenizer.eos_token_id
        stopped = eos in ids
        sampled = ids[: ids.index(eos) + 1] if stopped else ids
        return Completion(
            prompt_token_ids=(),
            token_ids=tuple(sampled),
            behaviour_logprobs=(),
            version_spans=(VersionSpan(0, 0, len(sampled)),),
            text=str(self.tokenizer.decode(sampled, skip_special_tokens=True)),
            finish_reason=FinishReason.STOP if stopped else FinishReason.LENGTH,
        )
