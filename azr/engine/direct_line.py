"""Sampling requests straight into an engine core that lives in this process.

AsyncLLM speaks with its core over sockets: every step of every request is encoded,
sent, decoded, and turned into objects per token, although a rollout needs only its
last word. That costs the node's event loop as much as everything else it does. Here
a request goes into the core's own queue, the core's thread gathers its tokens, and
the loop hears once, when it has finished. Scheduler, worker and sampler are the same;
scoring, weight updates and the OpenAI protocol stay with AsyncLLM.

Two seams of vLLM 0.32 carry it: the core's input queue, and `client_index`, by which
the core sorts its outputs. AsyncLLM is client 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from vllm import SamplingParams
from vllm.inputs import TokensPrompt
from vllm.v1.engine import (
    EngineCoreOutput,
    EngineCoreOutputs,
    EngineCoreRequestType,
    FinishReason,
)
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.core import EngineCoreProc

from azr.engine.completion import Sampled
from azr.engine.weight_label import labelled_span

CLIENT_INDEX = 1
"""Ours among the core's clients; no socket belongs to it."""


@dataclass(slots=True, eq=False)
class _Growing:
    """A request in the core, and what it has sampled so far; the core's thread writes."""

    answer: asyncio.Future[Sampled]
    prompt_token_ids: Sequence[int]
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    labels: list[tuple[str | None, int]] = field(default_factory=list)
    """Weight labels, each with the index of the first token that it sampled."""
    finish_reason: FinishReason | None = None

    def take(self, output: EngineCoreOutput, label: str | None) -> None:
        """One step's tokens."""
        if output.new_token_ids and (not self.labels or self.labels[-1][0] != label):
            self.labels.append((label, len(self.token_ids)))
        self.token_ids += output.new_token_ids
        if output.new_logprobs is not None:
            # Column 0 is the sampled token; no others are asked for.
            self.logprobs += output.new_logprobs.logprobs[:, 0].tolist()
        self.finish_reason = output.finish_reason

    def end(self) -> None:
        """Answer the caller, in its event loop, unless it has left."""
        if self.answer.done():
            return
        ends = [start for _, start in self.labels[1:]] + [len(self.token_ids)]
        spans = zip(self.labels, ends, strict=False)
        self.answer.set_result(
            Sampled(
                prompt_token_ids=self.prompt_token_ids,
                token_ids=self.token_ids,
                logprobs=self.logprobs,
                version_spans=tuple(
                    labelled_span(label, start, end) for (label, start), end in spans
                ),
                finish_reason=str(self.finish_reason),
            )
        )


class DirectLine:
    """One event loop's way into the core of its process."""

    def __init__(self, core: EngineCoreProc) -> None:
        self._core = core
        self._growing: dict[str, _Growing] = {}
        self._numbers = itertools.count()

    async def request(
        self,
        llm: AsyncLLM,
        prompt_token_ids: Sequence[int],
        parameters: SamplingParams,
        *,
        salt: str,
    ) -> Sampled:
        """Run one request to its end, checked and completed as `llm` does it.

        A cancelled caller aborts it. Raises ValueError for what vLLM refuses.
        """
        name = f"direct-{next(self._numbers)}"
        parameters.skip_clone = True  # they are this request's own
        request = llm.input_processor.process_inputs(
            name,
            TokensPrompt(prompt_token_ids=list(prompt_token_ids), cache_salt=salt),
            parameters,
            supported_tasks=await llm.get_supported_tasks(),
        )
        request.client_index = CLIENT_INDEX
        growing = _Growing(asyncio.get_running_loop().create_future(), prompt_token_ids)
        self._growing[name] = growing
        try:
            work = self._core.preprocess_add_request(request)
            self._core.input_queue.put_nowait((EngineCoreRequestType.ADD, work))
            return await growing.answer
        finally:
            if self._growing.pop(name, None) is not None:
                # Twice, as AsyncLLM's aborts arrive: at once, and after the request itself.
                self._core.aborts_queue.put_nowait([name])
                self._core.input_queue.put_nowait((EngineCoreRequestType.ABORT, [name]))

    def take(self, outputs: EngineCoreOutputs) -> None:
        """What a step gave our requests. Called in the core's thread; wakes the loop once."""
        finished: list[_Growing] = []
        for output in outputs.outputs:
            growing = self._growing.get(output.request_id)
            if growing is None:
                continue  # aborted meanwhile
            growing.take(output, outputs.weight_version)
            if output.finish_reason is not None and self._growing.pop(output.request_id, None):
                finished.append(growing)
        if finished:
            # A loop that has closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                finished[0].answer.get_loop().call_soon_threadsafe(_end_all, finished)


def _end_all(finished: Sequence[_Growing]) -> None:
    for growing in finished:
        growing.end()
