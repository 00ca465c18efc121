"""Weights that change in flight, on real vLLM and a real sender in another process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio
import pytest

from azr.engine.gate import Eligibility
from azr.engine.replica import VllmReplica
from azr.errors import EngineError, LearnerError, WeightSyncError
from azr.membership import ReplicaProof
from azr.types import Completion, SamplingRequest
from tests.engine.engine_host import Bench, EngineHost, LearnerProcess, until

pytestmark = pytest.mark.timeout(300)  # vLLM starts once; slowly on a busy machine

FLIGHT = [SamplingRequest(prompt="def f(x):" + " " * i, max_tokens=150) for i in range(12)]


async def in_flight(bench: Bench, work: Callable[[], Awaitable[None]]) -> list[Completion]:
    """Do `work` once every request of FLIGHT is running; what they sampled."""
    completions: list[Completion] = []

    async def sample() -> None:
        completions.extend(await bench.replica.sample(FLIGHT))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sample)
        await until(lambda: len(bench.core.scheduler.running) == len(FLIGHT))
        await work()
    return completions


async def publish_in_flight(
    bench: Bench,
) -> tuple[list[int], list[Completion], dict[int, list[list[float]]], dict[str, float]]:
    """The two versions, what was in flight, its scores by version, and measurements."""
    versions = [bench.replica.version, await bench.step()]
    measured: dict[str, float] = {}

    async def publish() -> None:
        measured.update(await bench.channel().publish(versions[1]))

    completions = await in_flight(bench, publish)
    scores = {version: await bench.scores(completions, version) for version in versions}
    return versions, completions, scores, measured


def test_requests_in_flight_carry_the_version_of_every_token(engine_host: EngineHost) -> None:
    versions, completions, _, measured = engine_host.run(publish_in_flight)
    spans = [completion.version_spans for completion in completions]
    assert any([span.version for span in each] == versions for each in spans)
    for completion in completions:
        edges = [0, *(span.end for span in completion.version_spans)]
        assert [span.start for span in completion.version_spans] == edges[:-1]
        assert edges[-1] == len(completion.token_ids) == len(completion.behaviour_logprobs)
    assert measured["canary_nats"] < 1e-3
    assert measured["proved"] == 1
    assert measured["pause_seconds"] < measured["seconds"]


async def publish_and_sample_again(bench: Bench) -> tuple[Completion, list[float]]:
    prompt = [SamplingRequest(prompt="y" * 150, max_tokens=4)]
    await bench.replica.sample(prompt)  # fills the prefix cache with the old weights
    version = await bench.step()
    await bench.channel().publish(version)
    completions = await bench.replica.sample(prompt)
    return completions[0], (await bench.scores(completions, version))[0]


def test_a_known_prompt_is_computed_with_the_new_weights(engine_host: EngineHost) -> None:
    completion, expected = engine_host.run(publish_and_sample_again)
    assert completion.behaviour_logprobs == pytest.approx(expected, abs=1e-4)


async def break_the_replica(bench: Bench) -> tuple[list[ReplicaProof], str, int, int]:
    """Damage what no broadcast repairs, publish in flight, sample; mend and publish."""
    rope = bench.model.model.layers[0].self_attn.rotary_emb.cos_sin_cache
    intact = rope.clone()
    tokens_before = bench.replica.activity.sampled_tokens

    async def publish_damaged() -> None:
        rope.mul_(0.5)
        with pytest.raises(WeightSyncError):
            await bench.channel().publish(await bench.step())

    with pytest.RaisesGroup(EngineError) as failed:
        await in_flight(bench, publish_damaged)
    assert bench.replica.eligibility is Eligibility.CLOSED
    refused = bench.proofs.copy()
    with anyio.move_on_after(0.5):
        await bench.replica.sample(FLIGHT[:2])
    num_served = bench.replica.activity.sampled_tokens - tokens_before
    rope.copy_(intact)
    await bench.channel().publish(await bench.step())
    mended = await bench.replica.sample(FLIGHT[:2])
    return refused, str(failed.value.exceptions[0]), num_served, len(mended)


def test_a_replica_with_wrong_weights_is_refused_and_serves_nothing(
    engine_host: EngineHost,
) -> None:
    refused, error, num_served, num_mended = engine_host.run(break_the_replica)
    assert len(refused) == 2, "one publish and one full resend"
    assert not any(proof.accepted for proof in refused)
    assert min(proof.canary_nats for proof in refused) > 1e-3
    assert "serves nothing" in error
    assert num_served == 0
    assert num_mended == 2


class DamagedOnce:
    """A replica whose final norm is overwritten right after its first swap."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._damaged = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._bench.replica, name)

    async def commit(self, version: int) -> float:
        pause_seconds = await self._bench.replica.commit(version)
        if not self._damaged:
            self._damaged = True
            self._bench.model.model.norm.weight.data.mul_(1.5)
        return pause_seconds


async def damage_once(bench: Bench) -> tuple[list[ReplicaProof], dict[str, float], int]:
    damaged: VllmReplica = DamagedOnce(bench)  # ty: ignore[invalid-assignment]
    measured: dict[str, float] = {}

    async def publish() -> None:
        measured.update(await bench.channel(damaged).publish(await bench.step()))

    released = await in_flight(bench, publish)
    return bench.proofs, measured, len(released)


def test_a_resend_mends_a_damaged_swap_and_releases_what_was_held(
    engine_host: EngineHost,
) -> None:
    proofs, measured, released = engine_host.run(damage_once)
    assert [proof.accepted for proof in proofs] == [False, True]
    assert proofs[0].fingerprint != proofs[1].fingerprint
    assert measured["resent"] == 1
    assert released == len(FLIGHT)


class DiesWhileSending:
    """A learner whose process vanishes after the first bucket of a broadcast."""

    def __init__(self, learner: LearnerProcess) -> None:
        self._learner = learner

    def __getattr__(self, name: str) -> object:
        return getattr(self._learner, name)

    async def send_weights(self, epoch: int, dtype: str) -> Mapping[str, float | str]:
        return await self._learner.ask("die_while_sending", epoch, dtype)


async def lose_the_learner(bench: Bench) -> tuple[bool, bool, float]:
    version, fingerprint = bench.replica.version, await bench.replica.fingerprint()
    first = bench.learner
    bench.learner = DiesWhileSending(first)  # ty: ignore[invalid-assignment]

    async def publish() -> None:
        with pytest.raises(LearnerError):
            await bench.channel().publish(version + 1)

    served = await in_flight(bench, publish)
    first.close()
    served += await bench.replica.sample(FLIGHT[:2])
    versions = {span.version for completion in served for span in completion.version_spans}
    unchanged = await bench.replica.fingerprint() == fingerprint

    bench.learner = LearnerProcess(bench.model_path, bench.config.engine.update_timeout_seconds)
    measured = await bench.channel().publish(await bench.step())
    return unchanged, versions == {version}, measured["canary_nats"]


def test_a_sender_that_dies_leaves_the_old_weights_in_service(engine_host: EngineHost) -> None:
    unchanged, only_old_versions, canary_after = engine_host.run(lose_the_learner)
    assert unchanged
    assert only_old_versions
    assert canary_after < 1e-3, "the next learner can publish"


def test_recomputed_caches_make_every_span_that_of_its_own_version(
    engine_host: EngineHost,
) -> None:
    _, completions, scores, _ = engine_host.opened(kv_on_update="recompute").run(publish_in_flight)
    assert any(len(completion.version_spans) == 2 for completion in completions)
    for index, completion in enumerate(completions):
        for span in completion.version_spans:
            expected = scores[span.version][index][span.start : span.end]
            recorded = completion.behaviour_logprobs[span.start : span.end]
            assert recorded == pytest.approx(expected, abs=1e-4)


async def publish_twice(bench: Bench) -> list[ReplicaProof]:
    channel = bench.channel()
    for _ in range(2):
        await channel.publish(await bench.step())
    return bench.proofs


def test_bfloat16_replicas_agree_with_the_learner_within_their_rounding(
    engine_host: EngineHost,
) -> None:
    host = engine_host.opened(dtype="bfloat16", canary_tolerance_nats=0.02)
    proofs = host.run(publish_twice)
    assert [proof.accepted for proof in proofs] == [True, True]
    assert max(proof.canary_nats for proof in proofs) < 0.02
    assert proofs[0].fingerprint != proofs[1].fingerprint
