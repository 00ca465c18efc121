"""Brings the learner's weights to every replica, in flight, and proves them.

For each version: every replica starts to receive in the background, the learner
broadcasts once, each replica swaps in a pause of milliseconds and must then show,
on fixed token sequences, the log-probs that the learner computes (the lag-0
canary). The canary separates a replica whose weights are wrong from rollouts that
are merely stale; without it both look like off-policy data.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import anyio

from azr.config import EngineSection
from azr.engine.canary import mean_difference
from azr.engine.concurrently import concurrently
from azr.engine.weight_group import WeightGroup, farewell
from azr.engine.weight_ports import LearnerLink, WeightReplica
from azr.errors import EngineError, WeightSyncError
from azr.membership import ReplicaProof, ReplicaState
from azr.types import PolicyVersion

log = logging.getLogger(__name__)

type RecordProof = Callable[[ReplicaProof], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Switch:
    """What one replica did with one broadcast."""

    replica: WeightReplica
    pause_seconds: float
    proof: ReplicaProof


class GlooWeightChannel:
    """`azr.ports.WeightChannel` over gloo, for replicas on CPU."""

    def __init__(
        self,
        learner: LearnerLink,
        replicas: Sequence[WeightReplica],
        *,
        engine: EngineSection,
        canary: Sequence[Sequence[int]],
        record: RecordProof,
        lineage: int = 0,
    ) -> None:
        """`canary` are token sequences; `record` stores every proof, accepted or not.

        `lineage` counts how often the run went back to a checkpoint; replicas keep it
        beside the versions that come through this channel.
        """
        self._learner = learner
        self._group = WeightGroup(
            learner,
            replicas,
            engine=engine,
            lineage=lineage,
        )
        self._tolerance_nats = engine.canary_tolerance_nats
        self._canary = canary
        self._record = record
        self._standings: dict[str, ReplicaState] = {
            replica.name: ReplicaState.STARTING for replica in replicas
        }

    def admit(self, replica: WeightReplica) -> None:
        """Count a replica in from the next publication on."""
        self._group.admit(replica)
        self._standings[replica.name] = ReplicaState.STARTING

    def dismiss(self, name: str, cause: str) -> None:
        """Count a replica out whose node is known to be gone."""
        self._group.dismiss(name, cause)
        if name in self._standings:
            self._standings[name] = ReplicaState.DEAD

    @property
    def names(self) -> set[str]:
        """Replicas that the next publication goes to."""
        return {replica.name for replica in self._group.replicas}

    async def publish(
        self, version: PolicyVersion, *, only: Collection[str] = ()
    ) -> Mapping[str, float]:
        """See `azr.ports.WeightChannel`; with `only`, to the replicas of these names.

        A replica whose proof fails gets everything once more, then serves nothing
        until a later version proves it. One that could not receive is also retried,
        and then serves on with its old weights.

        Returns:
            `seconds`, `send_seconds`, `sent_mib`, the worst replica's `pause_seconds`
            and `canary_nats`, and how many replicas `proved` the version or were `resent`.

        Raises:
            WeightSyncError: no replica proved this version.
            LearnerError: the learner's process is gone.
        """
        started = anyio.current_time()
        addressed = [r for r in self._group.replicas if not only or r.name in only]
        switches: list[_Switch] = []
        proved: dict[str, _Switch] = {}
        behind: list[WeightReplica] = []
        try:
            sent, switches = await self._update(addressed, version)
            proved = _accepted(switches)
            behind = [r for r in addressed if r in self._group.replicas and r.name not in proved]
            if behind:
                again = await self._again(behind, version)
                switches += again
                proved |= _accepted(again)
        finally:
            suspects = {s.replica.name: s.replica for s in switches if s.replica.name not in proved}
            for suspect in suspects.values():
                await farewell(suspect.refuse, f"policy v{version} was not proved")
            self._take_stock(addressed, proved.keys(), suspects.keys())
        if not proved:
            raise WeightSyncError(f"no replica proved policy v{version}")
        return {
            "seconds": anyio.current_time() - started,
            "send_seconds": float(sent["send_seconds"]),
            "sent_mib": float(sent["sent_mib"]),
            "pause_seconds": max(switch.pause_seconds for switch in switches),
            "canary_nats": max(switch.proof.canary_nats for switch in switches),
            "proved": float(len(proved)),
            "resent": float(len(behind)),
        }

    @property
    def standings(self) -> Mapping[str, ReplicaState]:
        """Of every replica that was ever admitted, after the latest publication."""
        return dict(self._standings)

    def cause(self, name: str) -> str:
        """Why a dead replica is dead; empty for others."""
        return self._group.lost.get(name, "")

    def _take_stock(
        self, addressed: Sequence[WeightReplica], proved: Collection[str], suspects: Collection[str]
    ) -> None:
        for replica in addressed:
            # What served before a failed broadcast serves on; what never did, does not yet.
            old = self._standings[replica.name]
            serves = old not in (ReplicaState.STARTING, ReplicaState.SUSPECT)
            state = ReplicaState.STALE if serves else old
            if replica.name in proved:
                state = ReplicaState.HEALTHY
            elif replica.name in suspects:
                state = ReplicaState.SUSPECT
            self._standings[replica.name] = state
        self._standings |= dict.fromkeys(self._group.lost, ReplicaState.DEAD)

    async def _update(
        self, replicas: Sequence[WeightReplica], version: PolicyVersion
    ) -> tuple[Mapping[str, float | str], list[_Switch]]:
        """One broadcast to `replicas`; its measurements, and who switched."""
        sent, members = await self._group.broadcast(replicas)
        expected = await self._learner.logprobs(self._canary)

        async def switch(replica: WeightReplica) -> _Switch | None:
            try:
                pause_seconds = await replica.commit(version)
                proof = await self._prove(replica, version, expected)
            except WeightSyncError as error:
                log.warning(
                    "replica keeps its old weights",
                    extra={"replica": replica.name, "cause": str(error)},
                )
                return None
            except EngineError as error:
                await self._group.lose(replica, error)
                return None
            return _Switch(replica, pause_seconds, proof)

        switches = await concurrently(switch, members)
        return sent, [switch for switch in switches if switch is not None]

    async def _again(
        self, behind: Sequence[WeightReplica], version: PolicyVersion
    ) -> list[_Switch]:
        """A second broadcast, to those that need it; if it fails, the others serve on."""
        try:
            _, switches = await self._update(behind, version)
        except WeightSyncError as error:
            log.warning("replicas were left behind", extra={"cause": str(error)})
            return []
        return switches

    async def _prove(
        self, replica: WeightReplica, version: PolicyVersion, expected: list[list[float]]
    ) -> ReplicaProof:
        """Compare a replica with the learner, record it, and let it serve if it agrees."""
        fingerprint = await replica.fingerprint()
        nats = mean_difference(expected, await replica.prompt_logprobs(self._canary))
        proof = ReplicaProof(
            replica=replica.name,
            version=version,
            fingerprint=fingerprint,
            canary_nats=nats,
            accepted=nats <= self._tolerance_nats,
        )
        await self._record(proof)
        if proof.accepted:
            await replica.accept()
        return proof


def _accepted(switches: Sequence[_Switch]) -> dict[str, _Switch]:
    return {switch.replica.name: switch for switch in switches if switch.proof.accepted}
