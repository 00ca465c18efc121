"""A replica as vLLM's serving classes want an engine: every request notes who answered it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from vllm import RequestOutput, SamplingParams
from vllm.engine.protocol import EngineClient
from vllm.inputs import EngineInput

from azr.engine.replica import VllmReplica
from azr.engine.weight_label import labelled_span
from azr.serve.allowance import Allowance
from azr.serve.share import Share
from azr.types import PolicyVersion, VersionSpan


@dataclass(slots=True, eq=False)
class Record:
    """Who sampled one answer."""

    spans: list[tuple[int, VersionSpan]] = field(default_factory=list)
    """Choice and span, of the choices that are finished."""
    num_tokens: int = 0
    num_prompts: int = 0

    @property
    def version(self) -> PolicyVersion | None:
        """Behind the last token of what is finished."""
        if not self.spans:
            return None
        return max((span.lineage, span.version) for _, span in self.spans)[1]


_RECORD: ContextVar[Record] = ContextVar("record")


@contextmanager
def recording() -> Generator[Record]:
    """Requests that are made inside the block note here who answers them."""
    token = _RECORD.set(record := Record())
    try:
        yield record
    finally:
        _RECORD.reset(token)


class ServedEngine:
    """The part of `vllm.engine.protocol.EngineClient` that the serving classes use."""

    def __init__(self, replica: VllmReplica, share: Share, allowance: Allowance) -> None:
        self._replica = replica
        self._share = share
        self._allowance = allowance
        llm = replica.llm
        self.vllm_config = llm.vllm_config
        self.model_config = llm.model_config
        self.renderer = llm.renderer
        self.input_processor = llm.input_processor

    @property
    def as_client(self) -> EngineClient:
        """For vLLM's constructors."""
        return cast("EngineClient", self)

    @property
    def errored(self) -> bool:
        return self._replica.llm.errored

    @property
    def dead_error(self) -> BaseException:
        return self._replica.llm.dead_error

    def check_admission(self, n: int = 1, request_id: str | None = None) -> None:
        """The door and the share admit."""

    def generate(
        self,
        prompt: EngineInput,
        sampling_params: SamplingParams,
        request_id: str,
        **options: Any,  # noqa: ANN401 -- handed through
    ) -> AsyncGenerator[RequestOutput]:
        """As AsyncLLM's, with the replica's rules. Called where the request is made, so
        that its record is at hand."""
        record = _RECORD.get()
        record.num_prompts += 1
        first_choice = (record.num_prompts - 1) * sampling_params.n
        num_choices = sampling_params.n

        async def start(salt: str) -> AsyncGenerator[RequestOutput]:
            salted = cast("Any", {**prompt, "cache_salt": salt})
            sampled = self._replica.llm.generate(salted, sampling_params, request_id, **options)
            with self._allowance.sampling(num_choices):
                async with aclosing(sampled) as outputs:
                    async for output in outputs:
                        yield output

        return self._noted(start, record, first_choice, num_choices)

    async def _noted(
        self,
        start: Callable[[str], AsyncGenerator[RequestOutput]],
        record: Record,
        first_choice: int,
        num_choices: int,
    ) -> AsyncGenerator[RequestOutput]:
        await self._allowance.admitted()
        async with (
            self._share.taken(num_choices),
            aclosing(self._replica.outputs(start, num_sequences=num_choices)) as outputs,
        ):
            async for output in outputs:
                for choice in output.outputs:
                    for span in choice.weight_versions or ():
                        named = labelled_span(span.version, span.start, span.end)
                        record.spans.append((first_choice + choice.index, named))
                        record.num_tokens += span.end - span.start
                yield output
