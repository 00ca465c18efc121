"""The seams between the decisions and the machinery, as Protocols.

The core and the actors are handed these; `azr.engine`, `azr.sandbox`,
`azr.store` and `azr.learner` implement them, `azr.testing` scripts them. Ports
are batched where one caller has many questions, so that the core never needs
a task group.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from azr.membership import ReplicaProof
from azr.monitor import ThoughtFlag
from azr.types import (
    Admission,
    Batch,
    Cell,
    Completion,
    Judgement,
    Measurement,
    Outcome,
    PolicyVersion,
    Rejection,
    Rollout,
    SamplingRequest,
    StepResult,
    TaskDraft,
    TaskType,
)


class Engine(Protocol):
    """One language model that samples; its weights change while it does."""

    async def sample(self, requests: Sequence[SamplingRequest]) -> list[Completion]:
        """Sample every request at its temperature; results in request order.

        Cancelling the caller aborts the requests. Raises EngineError when the
        engine is dead, and waits while the replica is not eligible to serve.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Prompt length in tokens, for length limits."""
        ...


class Sandbox(Protocol):
    """A jailed interpreter. Programs are arbitrary; results are values."""

    async def run(
        self, program: str, calls: Sequence[str], *, stop_at_first_failure: bool = False
    ) -> tuple[Outcome, ...]:
        """Call `f` of `program` once per argument text; one outcome per call.

        Every call sees fresh globals and freshly parsed arguments. The task
        policy (allowed imports and constructs) applies. Raises SandboxError for
        infrastructure failures only.
        """
        ...

    async def validate(
        self, program: str, calls: Sequence[str], *, failing: bool = False
    ) -> tuple[Outcome, ...]:
        """Like `run`, twice in one process and once in another jail with another
        hash seed: outcomes that differ become NONDETERMINISTIC.

        `failing` is for programs that are meant to raise: without it, the other jail
        is only asked about calls that returned."""
        ...

    async def parse_literals(self, texts: Sequence[str]) -> tuple[Outcome, ...]:
        """Parse Python literals (deduction answers) into canonical values."""
        ...


class Learner(Protocol):
    """The trainable copy of the policy."""

    async def train(
        self, batch: Batch, advantages: Sequence[float], *, rate_factor: float = 1.0
    ) -> StepResult:
        """One optimizer step; one advantage per trajectory, shared by its tokens.

        `rate_factor` times `learner.learning_rate` is this step's rate.
        """
        ...

    async def checkpoint(self, version: PolicyVersion) -> str:
        """Write a durable checkpoint (weights in Hugging Face format, optimizer,
        RNG, manifest) and return its path. Atomic: a crash leaves none or all."""
        ...

    async def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probs of tokens 1.. of each sequence under the current weights (the canary)."""
        ...


class WeightChannel(Protocol):
    """Brings the learner's weights to every replica, in flight."""

    @property
    def names(self) -> set[str]:
        """Replicas that a publication goes to."""
        ...

    async def publish(
        self, version: PolicyVersion, *, only: Collection[str] = ()
    ) -> Mapping[str, float]:
        """Send the learner's current weights to every replica as `version` and
        prove each (fingerprint, lag-0 canary). Generation pauses only to swap.
        With `only`, to the replicas of these names.

        Returns measurements in seconds and nats. Raises WeightSyncError if no
        replica is left eligible; a replica that failed serves nothing.
        """
        ...


class Roll(Protocol):
    """Who samples for the run, as far as the learner's node can know."""

    async def reconcile(self) -> set[str]:
        """Have the weight channel admit who has come and dismiss who has gone; the names
        that were admitted, and have yet to be brought to the learner's version."""
        ...

    async def record(self, version: PolicyVersion) -> None:
        """Write down what every replica is worth since the publication of `version`."""
        ...


class Store(Protocol):
    """The one bus between actors: SQL queues that lose nothing.

    A rollout is GENERATED -> JUDGED -> READY -> CLAIMED -> TRAINED, or DROPPED
    with a reason from anywhere. Work is leased: an owner that dies returns it.
    Every method is one short, shielded transaction. `tests/store` is the contract.
    """

    async def admit_proposals(
        self,
        task_type: TaskType,
        *,
        owner: str,
        at_most: int,
        outstanding_limit: int,
        version: PolicyVersion,
    ) -> list[Admission]:
        """Lease expired propose admissions first, then create new ones.

        New ones only while the cell's outstanding rows (admissions not yet
        sampled plus rollouts GENERATED, JUDGED, READY or CLAIMED) stay below
        `outstanding_limit`, and only if the learner is not beyond `version`, for which
        the limit was computed. References are K tasks of the type's buffer with
        `visible_from <= version`, drawn by
        `draw_without_replacement(pool, K, derive_seed(seed, "references", type, slot))`
        over ordinals; induction draws one program over the concatenated
        deduction and abduction buffers.
        """
        ...

    async def lease_attempts(self, *, owner: str, at_most: int) -> list[Admission]:
        """Lease solve admissions, oldest first, expired leases included."""
        ...

    async def order_replays(
        self, task_type: TaskType, *, outstanding_limit: int, version: PolicyVersion
    ) -> int:
        """Admit attempts at buffered tasks, in whole groups, until so many training rows
        of the solve cell are outstanding; returns how many. Nothing once the learner
        moved beyond `version`."""
        ...

    async def put_rollout(self, admission: Admission, completion: Completion) -> int:
        """Commit what was sampled as GENERATED and close the admission; idempotent.

        Tokens of weights that were undone since count as stale as they are far from
        the surviving ones (`azr.staleness.counted_version`)."""
        ...

    async def put_seed_rollout(
        self, completion: Completion, task_type: TaskType, judgement: Judgement, verdict: str = ""
    ) -> int:
        """Record a proposal of the seeding phase, DROPPED as SEEDING."""
        ...

    async def lease_rollouts(self, *, owner: str, at_most: int) -> list[Rollout]:
        """Lease GENERATED rollouts for examination, oldest first."""
        ...

    async def reject_proposal(
        self, rollout_id: int, judgement: Judgement, rejection: Rejection | None, reward: float
    ) -> None:
        """GENERATED -> READY with a final reward, plus the attempts that
        `azr.quota.plan_attempts` then calls for (replay)."""
        ...

    async def accept_proposal(self, rollout_id: int, draft: TaskDraft) -> bool:
        """GENERATED -> JUDGED: insert the task (visible from the next version) and
        its planned attempts. False, changing nothing, if the buffer already holds
        the same task (only with `selfplay.reject_duplicates`; `duplicate_by`)."""
        ...

    async def judge_attempt(
        self, rollout_id: int, judgement: Judgement, *, verdict: str, reward: float, solved: bool
    ) -> None:
        """GENERATED -> READY (or DROPPED as MEASURED_ONLY); counts towards the
        task's and the measured proposal's solve rate."""
        ...

    async def measured_proposals(self, *, at_most: int) -> list[Measurement]:
        """JUDGED proposals all of whose measuring attempts are in."""
        ...

    async def settle_proposal(self, rollout_id: int, *, solve_rate: float, reward: float) -> None:
        """JUDGED -> READY; a second call changes nothing."""
        ...

    async def fail_rollout(self, rollout_id: int) -> None:
        """The infrastructure failed on it: return it, or drop it as SANDBOX_FAILED
        after `sandbox.max_failures`; an attempt so dropped leaves its group."""
        ...

    async def claim_batch(self, *, version: PolicyVersion) -> Batch | None:
        """Drop READY rows older than the bound as STALE; then claim a batch
        (`azr.quota.batch_rows` of each cell, oldest first) or nothing at all.

        This, `commit_step` and `mark_durable` raise FencedError once another learner
        has gone back to a checkpoint."""
        ...

    async def commit_step(
        self, batch: Batch, result: StepResult, advantages: Sequence[float]
    ) -> None:
        """One fully synchronous transaction: rows TRAINED, step, policy version, metrics."""
        ...

    async def mark_durable(self, version: PolicyVersion, path: str) -> None: ...

    async def record_proof(self, proof: ReplicaProof) -> None: ...

    async def record_event(self, kind: str, **facts: object) -> None: ...

    async def flag_thoughts(self, rollout_id: int, flags: Sequence[ThoughtFlag]) -> None:
        """Record what the monitor found in a rollout; idempotent."""
        ...

    async def record_metrics(self, step: int, metrics: Mapping[str, float]) -> None: ...

    async def release(self, owner: str) -> None:
        """Give back everything that `owner` holds."""
        ...

    async def renew(self, owner: str) -> None:
        """Extend every lease of `owner` (heartbeat)."""
        ...

    async def outstanding(self) -> Mapping[Cell, int]:
        """Per cell, rows between admission and training."""
        ...

    async def buffer_sizes(self) -> Mapping[TaskType, int]: ...

    async def add_seed_tasks(self, drafts: Sequence[TaskDraft]) -> int:
        """Insert seed tasks (visible from version 0); returns how many were new."""
        ...
