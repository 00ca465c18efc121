"""A `Policies` without a model, for the laws of the door."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from azr import config_files
from azr.config import RunConfig
from azr.config_serve import ServeSection
from azr.errors import EngineError
from azr.ports import Sandbox
from azr.serve.app import Inside
from azr.serve.door import Door
from azr.serve.policy import Ask, Head, PolicyFacts, Sampled, Whole
from azr.serve.tasks import PastTasks
from azr.serve.verbs import Verbs
from azr.types import (
    Completion,
    FinishReason,
    Outcome,
    SamplingRequest,
    Verdict,
    VersionSpan,
)


def completion(text: str) -> Completion:
    """What a policy of version 5 said."""
    return Completion(
        prompt_token_ids=(1, 2, 3),
        token_ids=(4, 5),
        behaviour_logprobs=(-0.5, -0.25),
        version_spans=(VersionSpan(5, 0, 2),),
        text=text,
        finish_reason=FinishReason.STOP,
    )


@dataclass(eq=False)
class Echo:
    """Repeats what it is asked; waits first, if it is told to."""

    opens: anyio.Event | None = None
    """Nothing is answered before it is set."""
    fails_after: int | None = None
    """A stream breaks after so many events; 0: before its head."""
    says: Callable[[SamplingRequest], str] = str
    asked: list[Ask] = field(default_factory=list)
    aborted: int = 0

    async def whole(self, ask: Ask) -> Whole:
        self.asked.append(ask)
        await self._opened()
        if self.fails_after == 0:
            raise EngineError("the engine is gone")
        head = Head(replica="echo", version=5)
        return Whole(head=head, body=json.dumps(dict(ask.fields)).encode(), num_tokens=2)

    async def stream(self, ask: Ask) -> AsyncGenerator[Head | bytes]:
        self.asked.append(ask)
        await self._opened()
        if self.fails_after == 0:
            raise EngineError("the engine is gone")
        yield Head(media_type="text/event-stream", replica="echo", version=5)
        for number in range(3):
            if number == self.fails_after:
                raise EngineError("the engine is gone")
            yield b"data: %d\n\n" % number

    async def sample(self, request: SamplingRequest, model: str) -> Sampled:
        del model
        await self._opened()
        return Sampled(completion(self.says(request)), "echo")

    async def facts(self) -> PolicyFacts:
        if self.fails_after == 0:
            raise EngineError("the engine is gone")
        return PolicyFacts(version=5, kept=(0, 5), pins=True, replicas={"echo": 5})

    async def _opened(self) -> None:
        if self.opens is None:
            return
        try:
            await self.opens.wait()
        except anyio.get_cancelled_exc_class():
            self.aborted += 1
            raise


class NoJail:
    """A sandbox that runs nothing: for tests that are not about verdicts."""

    async def run(
        self, program: str, calls: Sequence[str], *, stop_at_first_failure: bool = False
    ) -> tuple[Outcome, ...]:
        del program, stop_at_first_failure
        return (Outcome(Verdict.NOT_RUN),) * len(calls)

    async def validate(
        self, program: str, calls: Sequence[str], *, failing: bool = False
    ) -> tuple[Outcome, ...]:
        del failing
        return await self.run(program, calls)

    async def parse_literals(self, texts: Sequence[str]) -> tuple[Outcome, ...]:
        return (Outcome(Verdict.NOT_RUN),) * len(texts)


def config(**serve: Any) -> RunConfig:  # noqa: ANN401
    tiny = config_files.load("tiny-cpu")
    return tiny.model_copy(update={"serve": ServeSection(**serve)})


def inside(
    policies: Echo,
    *,
    sandbox: Sandbox | None = None,
    past: PastTasks | None = None,
    **serve: Any,  # noqa: ANN401
) -> Inside:
    """What an application answers from."""
    settings = config(**serve)
    verbs = Verbs(
        policies=policies,
        sandbox=sandbox or NoJail(),
        config=settings,
        fits=lambda prompt: len(prompt) < 2000,
        past=past,
    )
    return Inside(policies=policies, door=Door(settings.serve), verbs=verbs, past=past, name="echo")
