"""Between vLLM's values and ours: what is asked of it, and what it returned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from vllm import RequestOutput, SamplingParams
from vllm.outputs import CompletionOutput
from vllm.sampling_params import RequestOutputKind

from azr.engine.weight_label import labelled_span
from azr.errors import EngineError
from azr.types import Completion, FinishReason, SamplingRequest, VersionSpan

type Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the engine made of one sampling request; T tokens."""

    prompt_token_ids: Sequence[int]
    token_ids: Sequence[int]
    """[T]"""
    logprobs: Sequence[float]
    """[T] nats, of the sampled tokens; empty if they were not asked for."""
    version_spans: tuple[VersionSpan, ...]
    finish_reason: str | None
    """vLLM's word: `stop`, `length`, or why it ended the request early."""


def training_parameters(request: SamplingRequest) -> SamplingParams:
    """Sample from the policy itself.

    There is nothing to configure: any truncation, penalty or temperature would
    make the recorded log-probs those of another distribution than the one the
    learner differentiates. A stop text changes no probability: it ends the episode.
    Raises ValueError for a request at another temperature.
    """
    if request.temperature != 1.0 or request.top_p != 1.0:
        message = (
            "training samples at temperature and top-p 1, not"
            f" {request.temperature} and {request.top_p}"
        )
        raise ValueError(message)
    return SamplingParams(
        temperature=1.0,
        top_p=1.0,
        top_k=-1,
        min_p=0.0,
        repetition_penalty=1.0,
        max_tokens=request.max_tokens,
        seed=request.seed,
        logprobs=0,
        stop=list(request.stop),
        detokenize=bool(request.stop),
        skip_special_tokens=False,  # a stop text may be one
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def evaluation_parameters(request: SamplingRequest) -> SamplingParams:
    """Sample at the request's temperature, without the log-probs that training needs."""
    return SamplingParams(
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_tokens,
        seed=request.seed,
        stop=list(request.stop),
        detokenize=bool(request.stop),
        skip_special_tokens=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def request_parameters(request: SamplingRequest) -> SamplingParams:
    """Those of training for a request at temperature and top-p 1, else those of evaluation."""
    trains = request.temperature == 1.0 and request.top_p == 1.0
    return (training_parameters if trains else evaluation_parameters)(request)


def scoring_parameters() -> SamplingParams:
    """Score a prompt; the one token that vLLM insists on sampling is thrown away."""
    return SamplingParams(
        temperature=1.0,
        max_tokens=1,
        prompt_logprobs=0,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def to_completion(
    sampled: Sampled, *, eos_token_ids: Collection[int], decode: Decode
) -> Completion:
    """The completion that a finished sampling request gave.

    Raises:
        EngineError: vLLM ended the request for a reason of its own.
    """
    if sampled.finish_reason not in ("stop", "length"):
        raise EngineError(f"vLLM ended a request early: {sampled.finish_reason}")
    token_ids = tuple(sampled.token_ids)
    finish = FinishReason(sampled.finish_reason)
    ended = finish is FinishReason.STOP and token_ids[-1] in eos_token_ids
    return Completion(
        prompt_token_ids=tuple(sampled.prompt_token_ids),
        token_ids=token_ids,
        # Rounding may put the logarithm of a probability of 1 a hair above zero.
        behaviour_logprobs=tuple(min(value, 0.0) for value in sampled.logprobs),
        version_spans=sampled.version_spans,
        text=decode(token_ids[:-1] if ended else token_ids),
        finish_reason=finish,
    )


def to_sampled(output: RequestOutput) -> Sampled:
    """What AsyncLLM returned, as the values that are used of it."""
    sampled = output.outputs[0]
    spans = sampled.weight_versions or []
    return Sampled(
        prompt_token_ids=output.prompt_token_ids or (),
        token_ids=sampled.token_ids,
        logprobs=_sampled_logprobs(sampled),
        version_spans=tuple(labelled_span(span.version, span.start, span.end) for span in spans),
        finish_reason=sampled.finish_reason,
    )


def prompt_scores(output: RequestOutput) -> list[float]:
    """Log-probs of prompt tokens 1.. of a finished scoring request."""
    token_ids = output.prompt_token_ids or []
    rows = output.prompt_logprobs or []
    return [
        row[token].logprob
        for token, row in zip(token_ids[1:], rows[1:], strict=True)
        if row is not None
    ]


def _sampled_logprobs(sampled: CompletionOutput) -> tuple[float, ...]:
    if sampled.logprobs is None:  # an evaluation request did not ask for them
        return ()
    rows = sampled.logprobs
    return tuple(row[token].logprob for token, row in zip(sampled.token_ids, rows, strict=True))
