"""Who is sent what, when replicas and broadcasts fail: the channel over scripted ends.

The real ends are in `test_weights`; here every order of failures can be had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import pytest

from actors.remote_replica import RemoteReplica
from azr.config import EngineSection
from azr.engine.weight_channel import GlooWeightChannel
from azr.errors import EngineError, LearnerError, WeightSyncError
from azr.membership import ReplicaProof, ReplicaState

CANARY = [[1, 2, 3]]
DEFAULT = EngineSection()


@dataclass
class ScriptedLearner:
    """Holds one number for weights; broadcasts fail as many times as told."""

    weights: float = -1.0
    failures: list[Exception] = field(default_factory=list)
    groups: list[tuple[int, int]] = field(default_factory=list)
    num_sends: int = 0

    async def rendezvous_info(self) -> Mapping[str, str | int]:
        return {"host": "127.0.0.1", "port": 1}

    async def open_weight_group(self, world_size: int, epoch: int) -> None:
        self.groups.append((world_size, epoch))

    async def send_weights(self, epoch: int, dtype: str) -> Mapping[str, float | str]:
        assert (epoch, dtype) == (self.groups[-1][1], "float32")
        self.num_sends += 1
        if self.failures:
            raise self.failures.pop(0)
        return {"send_seconds": 0.1, "sent_mib": 1.0, "fingerprint": "f"}

    async def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[self.weights] * (len(sequence) - 1) for sequence in sequences]


@dataclass
class ScriptedReplica:
    """Loads the learner's number, off by `errors` in turn; dies in the call named `dies_in`,
    and never answers the one named `hangs_in`."""

    name: str
    learner: ScriptedLearner
    errors: list[float] = field(default_factory=list)
    dies_in: str = ""
    hangs_in: str = ""
    rank: int = 0
    workers: int = 1
    weights: float = 0.0
    calls: list[str] = field(default_factory=list)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.dies_in:
            raise EngineError(f"{self.name} died")

    async def num_workers(self) -> int:
        self._note("num_workers")
        return self.workers

    async def init_transfer(self, info: Mapping[str, str | int | float]) -> None:
        self._note("init_transfer")
        self.rank = int(info["rank_offset"])

    async def begin_receive(self) -> None:
        self._note("begin_receive")

    async def deliver(self, payload: str) -> None:
        raise AssertionError(payload)

    async def abort_receive(self) -> None:
        self._note("abort_receive")
        if self.hangs_in == "abort_receive":
            await anyio.sleep_forever()

    async def commit(self, version: int) -> float:
        self._note("commit")
        self.weights = self.learner.weights + (self.errors.pop(0) if self.errors else 0.0)
        return 0.01 * version

    async def fingerprint(self) -> str:
        return f"{self.weights}"

    async def prompt_logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[self.weights] * (len(sequence) - 1) for sequence in sequences]

    async def accept(self) -> None:
        self._note("accept")

    async def refuse(self, reason: str) -> None:
        assert reason
        self._note("refuse")


@dataclass
class Ends:
    learner: ScriptedLearner
    replicas: list[ScriptedReplica]
    proofs: list[ReplicaProof]
    channel: GlooWeightChannel


def ends(*, engine: EngineSection = DEFAULT, **scripts: dict[str, object]) -> Ends:
    learner = ScriptedLearner()
    replicas = [ScriptedReplica(name, learner, **script) for name, script in scripts.items()]  # ty: ignore[invalid-argument-type]
    proofs: list[ReplicaProof] = []

    async def record(proof: ReplicaProof) -> None:
        proofs.append(proof)

    channel = GlooWeightChannel(learner, replicas, engine=engine, canary=CANARY, record=record)
    return Ends(learner, replicas, proofs, channel)


async def test_a_group_is_formed_once_and_used_for_every_version() -> None:
    e = ends(a={}, b={})
    for version in (1, 2, 3):
        measured = await e.channel.publish(version)
        assert measured["proved"] == 2
    assert [size for size, _ in e.learner.groups] == [3]
    assert [replica.rank for replica in e.replicas] == [1, 2]
    assert [(p.replica, p.version) for p in e.proofs] == [(n, v) for v in (1, 2, 3) for n in "ab"]


@pytest.mark.parametrize("call", ["init_transfer", "begin_receive", "commit"])
async def test_a_replica_that_dies_is_left_out_and_the_others_are_updated(call: str) -> None:
    e = ends(a={"dies_in": call}, b={})
    for version in (1, 2):
        assert (await e.channel.publish(version))["proved"] == 1
    dead, alive = e.replicas
    assert dead.calls.count(call) == 1
    assert dead.calls[-1] == "refuse"
    assert (alive.rank, e.learner.groups[-1][0]) == (1, 2)
    assert {proof.replica for proof in e.proofs if proof.accepted} == {"b"}


async def test_a_failed_broadcast_is_called_off_and_tried_again_in_a_new_group() -> None:
    e = ends(a={}, b={})
    e.learner.failures = [WeightSyncError("connection reset")]
    assert (await e.channel.publish(1))["proved"] == 2
    (_, first), (_, second) = e.learner.groups
    assert first != second
    for replica in e.replicas:
        assert replica.calls.index("abort_receive") < replica.calls.index("commit")


@pytest.mark.parametrize(
    "failures",
    [[WeightSyncError("reset"), WeightSyncError("reset")], [LearnerError("the learner died")]],
)
async def test_without_a_broadcast_nothing_is_committed_and_nobody_is_closed(
    failures: list[Exception],
) -> None:
    e = ends(a={})
    expected = type(failures[-1])
    e.learner.failures = failures
    with pytest.raises(expected):
        await e.channel.publish(1)
    assert not {"commit", "refuse"} & set(e.replicas[0].calls)
    assert e.replicas[0].calls[-1] == "abort_receive"


async def test_only_the_replica_that_failed_its_proof_is_sent_everything_again() -> None:
    e = ends(a={"errors": [0.5]}, b={})
    measured = await e.channel.publish(1)
    assert (measured["proved"], measured["resent"]) == (2, 1)
    assert [replica.calls.count("commit") for replica in e.replicas] == [2, 1]
    assert [size for size, _ in e.learner.groups] == [3, 2]
    assert measured["canary_nats"] == pytest.approx(0.5)


async def test_a_replica_that_fails_twice_is_closed_until_a_later_version_proves_it() -> None:
    e = ends(a={"errors": [0.5, float("nan")]}, b={})
    assert (await e.channel.publish(1))["proved"] == 1
    assert e.replicas[0].calls[-1] == "refuse"
    assert (await e.channel.publish(2))["proved"] == 2
    assert e.replicas[0].calls[-1] == "accept"


async def test_a_failed_resend_still_closes_the_replica_that_was_not_proved() -> None:
    e = ends(a={"errors": [0.5]})
    e.learner.weights = -2.0
    original = e.learner.send_weights

    async def fail_after_the_first(epoch: int, dtype: str) -> Mapping[str, float | str]:
        if e.learner.num_sends:
            raise LearnerError("the learner died")
        return await original(epoch, dtype)

    e.learner.send_weights = fail_after_the_first
    with pytest.raises(LearnerError):
        await e.channel.publish(1)
    assert e.replicas[0].calls[-1] == "refuse"


async def test_no_proof_at_all_is_an_error() -> None:
    e = ends(a={"errors": [0.5, 0.5]}, b={"dies_in": "commit"})
    with pytest.raises(WeightSyncError, match="no replica proved policy v1"):
        await e.channel.publish(1)


async def test_whoever_is_admitted_is_brought_to_the_version_alone_and_then_updated_with_all() -> (
    None
):
    e = ends(a={})
    await e.channel.publish(1)
    late = ScriptedReplica("b", e.learner)
    e.channel.admit(late)
    assert e.channel.standings == {"a": ReplicaState.HEALTHY, "b": ReplicaState.STARTING}
    assert (await e.channel.publish(1, only={"b"}))["proved"] == 1
    assert e.replicas[0].calls.count("commit") == 1
    assert (await e.channel.publish(2))["proved"] == 2
    assert set(e.channel.standings.values()) == {ReplicaState.HEALTHY}


async def test_a_new_incarnation_takes_the_place_of_the_one_that_was_lost() -> None:
    e = ends(a={}, b={"dies_in": "begin_receive"})
    await e.channel.publish(1)
    assert e.channel.standings["b"] is ReplicaState.DEAD
    assert e.channel.cause("b") == "b died"
    again = ScriptedReplica("b", e.learner)
    e.channel.admit(again)
    await e.channel.publish(2)
    assert e.channel.standings["b"] is ReplicaState.HEALTHY
    assert again.calls.count("commit") == 1


async def test_a_replica_whose_node_is_gone_is_asked_nothing_more() -> None:
    e = ends(a={}, b={})
    await e.channel.publish(1)
    calls = list(e.replicas[1].calls)
    e.channel.dismiss("b", "its node has gone")
    assert (await e.channel.publish(2))["proved"] == 1
    assert e.replicas[1].calls == calls
    assert e.channel.standings["b"] is ReplicaState.DEAD


async def test_standings_tell_who_serves_what() -> None:
    e = ends(a={}, b={"errors": [0.5, 0.5]})
    await e.channel.publish(1)
    assert e.channel.standings == {"a": ReplicaState.HEALTHY, "b": ReplicaState.SUSPECT}
    e.learner.failures = [WeightSyncError("reset"), WeightSyncError("reset")]
    with pytest.raises(WeightSyncError):
        await e.channel.publish(2)
    assert e.channel.standings == {"a": ReplicaState.STALE, "b": ReplicaState.SUSPECT}
    await e.channel.publish(2)
    assert set(e.channel.standings.values()) == {ReplicaState.HEALTHY}


async def test_a_replica_with_several_workers_takes_as_many_ranks() -> None:
    e = ends(a={"workers": 4}, b={}, c={"workers": 2})
    await e.channel.publish(1)
    assert [replica.rank for replica in e.replicas] == [1, 5, 6]
    assert e.learner.groups[-1][0] == 8


async def test_a_lineage_travels_with_the_group() -> None:
    e = ends(a={})
    infos: list[Mapping[str, str | int | float]] = []

    async def init_transfer(info: Mapping[str, str | int | float]) -> None:
        infos.append(info)

    e.replicas[0].init_transfer = init_transfer

    async def record(proof: ReplicaProof) -> None:
        e.proofs.append(proof)

    channel = GlooWeightChannel(
        e.learner, e.replicas, engine=EngineSection(), canary=CANARY, record=record, lineage=3
    )
    await channel.publish(1)
    assert infos[0]["lineage"] == 3


async def test_who_does_not_answer_when_a_broadcast_is_called_off_is_left_out_of_the_next() -> None:
    engine = EngineSection(update_timeout_seconds=0.4)
    e = ends(engine=engine, a={"hangs_in": "abort_receive"}, b={})
    e.learner.failures = [WeightSyncError("a replica is late")]
    assert (await e.channel.publish(1))["proved"] == 1
    stopped, other = e.replicas
    assert stopped.calls[-3:] == ["begin_receive", "abort_receive", "refuse"]
    assert e.channel.standings == {"a": ReplicaState.DEAD, "b": ReplicaState.HEALTHY}
    assert "did not answer within 0.1 s" in e.channel.cause("a")
    assert other.calls[-1] == "accept"


@pytest.mark.parametrize("call", ["init_transfer", "begin_receive", "commit", "fingerprint"])
async def test_a_node_that_stops_is_given_up_at_its_deadline_while_the_others_serve(
    call: str,
) -> None:
    e = ends(b={})
    stopped, other = ScriptedReplica("a", e.learner), e.replicas[0]

    async def reach(method: str, *arguments: object) -> object:
        if method == call:
            await anyio.sleep_forever()
        return await getattr(stopped, method)(*arguments)

    e.channel.admit(RemoteReplica("a", "node-a", reach, update_seconds=0.2))
    assert (await e.channel.publish(1))["proved"] == 1
    assert other.calls[-1] == "accept"
    assert e.channel.standings == {"a": ReplicaState.DEAD, "b": ReplicaState.HEALTHY}
    assert f"did not answer {call} within 0.2 s" in e.channel.cause("a")
    e.channel.admit(stopped)  # it goes on
    assert (await e.channel.publish(2))["proved"] == 2
