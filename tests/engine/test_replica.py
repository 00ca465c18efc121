"""What a replica promises to whoever samples from it, on real vLLM."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

import anyio
import pytest

from azr.engine.replica import VllmReplica
from azr.errors import EngineError
from azr.types import Completion, FinishReason, SamplingRequest, VersionSpan
from tests.engine.engine_host import Bench, EngineHost, run_config, until

pytestmark = pytest.mark.timeout(300)  # vLLM starts once; slowly on a busy machine

PROMPT = "def f(x):\n    return x"


def requests(count: int, *, max_tokens: int = 24, seed: int | None = None) -> list[SamplingRequest]:
    return [
        SamplingRequest(
            prompt=PROMPT + " + 1" * index,
            max_tokens=max_tokens,
            seed=None if seed is None else seed + index,
        )
        for index in range(count)
    ]


async def sample_and_score(
    bench: Bench, count: int, max_tokens: int
) -> tuple[list[Completion], list[list[float]]]:
    completions = await bench.replica.sample(requests(count, max_tokens=max_tokens))
    return completions, await bench.scores(completions, bench.replica.version)


@pytest.fixture(scope="module")
def sampled(engine_host: EngineHost) -> tuple[list[Completion], list[list[float]]]:
    return engine_host.run(sample_and_score, 16, 150)


def test_recorded_logprobs_equal_teacher_forcing(
    sampled: tuple[list[Completion], list[list[float]]],
) -> None:
    for completion, scores in zip(*sampled, strict=True):
        assert completion.behaviour_logprobs == pytest.approx(scores, abs=1e-4)
        assert max(completion.behaviour_logprobs) <= 0.0


def test_version_spans_cover_every_sampled_token(
    sampled: tuple[list[Completion], list[list[float]]],
) -> None:
    for completion in sampled[0]:
        assert completion.version_spans == (VersionSpan(0, 0, len(completion.token_ids)),)


def test_a_response_ends_at_eos_or_at_its_limit(
    sampled: tuple[list[Completion], list[list[float]]],
) -> None:
    completions, _ = sampled
    stopped = [c for c in completions if c.finish_reason is FinishReason.STOP]
    assert stopped
    assert all(c.token_ids[-1] == 1 and not c.text.endswith("<eos>") for c in stopped)
    cut = [c for c in completions if c.finish_reason is FinishReason.LENGTH]
    assert all(len(c.token_ids) == 150 and 1 not in c.token_ids for c in cut)


def test_special_tokens_stay_in_the_text(
    sampled: tuple[list[Completion], list[list[float]]],
) -> None:
    with_role = [c for c in sampled[0] if 2 in c.token_ids]
    assert with_role
    assert all(c.text.count("<|role|>") == c.token_ids.count(2) for c in with_role)


async def sample_with_seed(bench: Bench, seed: int, company: int) -> list[tuple[int, ...]]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.replica.sample, requests(company, max_tokens=60))
        completions = await bench.replica.sample(requests(3, seed=seed))
        tasks.cancel_scope.cancel()
    return [completion.token_ids for completion in completions]


def test_a_seed_fixes_the_sample_whatever_else_is_in_flight(engine_host: EngineHost) -> None:
    alone = engine_host.run(sample_with_seed, 5, 0)
    assert engine_host.run(sample_with_seed, 5, 13) == alone
    assert engine_host.run(sample_with_seed, 6, 0) != alone


ROLE = "<|role|>"
NEVER = "no such text"


@dataclass(frozen=True)
class Stopped:
    """A response sampled three times with one seed."""

    whole: Completion
    """Without stop texts."""
    stop: str
    """A part of its text."""
    num_tokens: int
    """Of the shortest beginning of it whose text has the stop text."""
    cut: Completion
    """With the stop text, beside one that never comes."""
    scores: list[float]
    """Of `cut`, by teacher forcing."""
    text: str
    """What the tokens of `cut` say."""
    untouched: Completion
    """With a stop text that never comes."""


async def sample_with_stops(bench: Bench, count: int) -> list[Stopped]:
    decode = bench.replica._decode
    asked = requests(count, max_tokens=100, seed=40)
    wholes = await bench.replica.sample(asked)
    stops = [stop_within(whole.text) for whole in wholes]
    cuts = await bench.replica.sample(
        [replace(each, stop=(NEVER, *stop)) for each, stop in zip(asked, stops, strict=True)]
    )
    untouched = await bench.replica.sample([replace(each, stop=(NEVER,)) for each in asked])
    scores = await bench.scores(cuts, bench.replica.version)
    await until(lambda: bench.core.scheduler.get_num_unfinished_requests() == 0)
    return [
        Stopped(
            whole=whole,
            stop=stop[0],
            num_tokens=next(n for n in range(101) if stop[0] in decode(whole.token_ids[:n])),
            cut=cut,
            scores=score,
            text=decode(cut.token_ids),
            untouched=same,
        )
        for whole, stop, cut, score, same in zip(
            wholes, stops, cuts, scores, untouched, strict=True
        )
        if stop
    ]


def stop_within(text: str) -> tuple[str, ...]:
    """A special token, or two characters of the middle; none of a text that has neither."""
    pairs = re.findall("[!-~]{2}", text)
    if ROLE in text:
        return (ROLE,)
    return (pairs[len(pairs) // 2],) if pairs else ()


@pytest.fixture(scope="module")
def stopped(engine_host: EngineHost) -> list[Stopped]:
    return engine_host.run(sample_with_stops, 12)


def test_a_stop_text_ends_a_response_with_the_token_that_completes_it(
    stopped: list[Stopped],
) -> None:
    assert {found.stop == ROLE for found in stopped} == {True, False}
    for found in stopped:
        assert found.cut.token_ids == found.whole.token_ids[: found.num_tokens]
        assert found.cut.finish_reason is FinishReason.STOP
        assert found.stop in found.cut.text
        assert found.cut.text == found.text


def test_the_logprobs_and_spans_of_a_stopped_response_are_those_of_its_tokens(
    stopped: list[Stopped],
) -> None:
    for found in stopped:
        begun = found.whole.behaviour_logprobs[: found.num_tokens]
        assert found.cut.behaviour_logprobs == pytest.approx(begun, abs=1e-4)
        assert found.cut.behaviour_logprobs == pytest.approx(found.scores, abs=1e-4)
        assert found.cut.version_spans == (VersionSpan(0, 0, found.num_tokens),)


def test_a_stop_text_that_never_comes_changes_nothing(stopped: list[Stopped]) -> None:
    for found in stopped:
        assert found.untouched.token_ids == found.whole.token_ids
        assert found.untouched.text == found.whole.text
        assert found.untouched.finish_reason is found.whole.finish_reason


async def sample_both_ways(bench: Bench) -> tuple[list[Any], list[Any]]:
    """The same seeded requests by the direct line, and by AsyncLLM's sockets."""
    from azr.engine.completion import to_sampled, training_parameters

    session = bench.replica._session
    prompt = bench.replica._encoded(PROMPT)
    direct, socket = [], []
    for request in requests(4, max_tokens=40, seed=5):
        ours = await session.sample(prompt, training_parameters(request), salt="direct")
        theirs = await session.request(prompt, training_parameters(request), salt="socket")
        direct.append(asdict(ours))
        socket.append(asdict(to_sampled(theirs)))
    return direct, socket


def test_the_direct_line_returns_what_the_sockets_would(engine_host: EngineHost) -> None:
    for ours, theirs in zip(*engine_host.run(sample_both_ways), strict=True):
        assert ours.pop("logprobs") == pytest.approx(theirs.pop("logprobs"), abs=1e-6)
        assert list(ours.pop("token_ids")) == list(theirs.pop("token_ids"))
        assert list(ours.pop("prompt_token_ids")) == list(theirs.pop("prompt_token_ids"))
        assert ours == theirs


async def seed_long_prompts(bench: Bench) -> int:
    long = [SamplingRequest(prompt="x" * 150, max_tokens=2, seed=i) for i in range(48)]
    return len(await bench.replica.sample(long))


def test_more_seeded_prompts_than_fit_at_once_are_never_split(engine_host: EngineHost) -> None:
    assert engine_host.run(seed_long_prompts) == 48


async def cancel_in_flight(bench: Bench) -> tuple[int, int, int]:
    before = bench.replica.activity.busy_seconds
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.replica.sample, requests(8, max_tokens=150))
        await until(lambda: bench.replica.activity.in_flight == 8)
        in_flight = bench.replica.activity.in_flight
        tasks.cancel_scope.cancel()
    await bench.replica.sample(requests(1, max_tokens=1))
    assert bench.replica.activity.busy_seconds > before
    unfinished = bench.core.scheduler.get_num_unfinished_requests()
    return in_flight, bench.replica.activity.in_flight, unfinished


def test_cancelling_the_caller_aborts_its_requests(engine_host: EngineHost) -> None:
    assert engine_host.run(cancel_in_flight) == (8, 0, 0)


async def refuse_and_go_on(bench: Bench) -> tuple[str, int]:
    too_long = SamplingRequest(prompt="x" * 400, max_tokens=4)
    with pytest.raises(EngineError) as refused:
        await bench.replica.sample([too_long, *requests(2)])
    return str(refused.value), len(await bench.replica.sample(requests(2)))


def test_a_refused_request_fails_alone(engine_host: EngineHost) -> None:
    message, served = engine_host.run(refuse_and_go_on)
    assert "refused" in message
    assert served == 2


async def wait_too_long(bench: Bench) -> str:
    async with anyio.create_task_group() as background:
        impatient = VllmReplica(
            bench.replica._engine,
            bench.replica.facts,
            run_config({"request_timeout_seconds": 0.05}),
            name="impatient",
            version=bench.replica.version,
            background=background,
        )
        with pytest.raises(EngineError) as late:
            await impatient.sample(requests(4, max_tokens=150))
    return str(late.value)


def test_a_request_has_a_deadline(engine_host: EngineHost) -> None:
    assert "took longer than 0.05 s" in engine_host.run(wait_too_long)


async def die_in_flight(bench: Bench) -> list[str]:
    from vllm.v1.engine import EngineCoreRequestType

    errors: list[str] = []

    async def expect_failure() -> None:
        try:
            await bench.replica.sample(requests(4, max_tokens=150))
        except EngineError as error:
            errors.append(str(error))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(expect_failure)
            tasks.start_soon(expect_failure)
            await until(lambda: bench.replica.activity.in_flight == 8)
            bench.core.input_queue.put((EngineCoreRequestType.EXECUTOR_FAILED, b""))
    for call in (bench.replica.fingerprint, bench.replica.begin_receive):
        with pytest.raises(EngineError):
            await call()
    await expect_failure()
    return errors


def test_engine_death_fails_every_caller_at_once(engine_host: EngineHost) -> None:
    errors = engine_host.run(die_in_flight)
    assert len(errors) == 3
    assert all("died" in error for error in errors)
