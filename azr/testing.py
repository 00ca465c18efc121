"""Scripted ports for unit tests of actors and of the core.

They answer from a function instead of a model, so that a test can say what is
sampled. Nothing here may stand in for a real part in a claim that the loop works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from azr.types import (
    Batch,
    Completion,
    FinishReason,
    PolicyVersion,
    SamplingRequest,
    StepResult,
    VersionSpan,
)

type Script = Callable[[SamplingRequest], str]
"""The response text to a request; pure, so that any order of calls gives the same run."""


@dataclass(kw_only=True)
class ScriptedEngine:
    """Samples what its script says; tokens are characters, log-probs are -0.5 each."""

    script: Script
    version: PolicyVersion = 0
    requests: list[SamplingRequest] = field(default_factory=list)

    async def sample(self, requests: Sequence[SamplingRequest]) -> list[Completion]:
        self.requests.extend(requests)
        return [self._complete(request) for request in requests]

    def count_tokens(self, text: str) -> int:
        return len(text)

    def _complete(self, request: SamplingRequest) -> Completion:
        text = self.script(request)
        token_ids = (*text.encode(), 0)
        return Completion(
            prompt_token_ids=tuple(request.prompt.encode()),
            token_ids=token_ids,
            behaviour_logprobs=(-0.5,) * len(token_ids),
            version_spans=(VersionSpan(self.version, 0, len(token_ids)),),
            text=text,
            finish_reason=FinishReason.STOP,
        )


@dataclass(kw_only=True)
class CountingLearner:
    """A learner whose loss is a checksum of its batch: equal batches, equal losses."""

    version: PolicyVersion = 0
    batches: list[Batch] = field(default_factory=list)

    async def train(
        self, batch: Batch, advantages: Sequence[float], *, rate_factor: float = 1.0
    ) -> StepResult:
        self.batches.append(batch)
        self.version = batch.version + 1
        loss = rate_factor * sum(
            advantage * len(row.token_ids) * (1 + position)
            for position, (row, advantage) in enumerate(
                zip(batch.trajectories, advantages, strict=True)
            )
        )
        return StepResult(version=self.version, loss=loss, metrics={})

    async def checkpoint(self, version: PolicyVersion) -> str:
        return f"v{version}"

    async def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[-0.5] * (len(sequence) - 1) for sequence in sequences]
