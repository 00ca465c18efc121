"""The vocabulary: every noun the other modules exchange.

Values only, all frozen: nothing here samples, executes, stores or learns. Read
this file first; the words are the field's (rollout, policy version, staleness,
behaviour log-probs, solve rate) and keep one meaning everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

type PolicyVersion = int
"""Optimizer steps behind a set of weights; the base model is version 0."""

type Lineage = int
"""How often, before a version was made, a learner had gone back to a checkpoint: version 7
of lineage 0 and version 7 of lineage 1 are different weights, if lineage 1 began earlier."""


class TaskType(StrEnum):
    """What is hidden from the solver of a triplet (program, input, output)."""

    DEDUCTION = "deduction"
    """Given the program and an input, predict the output."""
    ABDUCTION = "abduction"
    """Given the program and an output, predict an input that yields it."""
    INDUCTION = "induction"
    """Given input/output pairs and a message, write the program."""
    ERROR = "error"
    """Given a program and an input on which it fails, name the class of the exception."""


class Role(StrEnum):
    """Which side of self-play sampled a rollout."""

    PROPOSE = "propose"
    SOLVE = "solve"


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A (role, task type) pair: the unit of TRR++ normalisation and of batch quotas."""

    role: Role
    task_type: TaskType

    def __str__(self) -> str:
        return f"{self.role}/{self.task_type}"


CELLS: tuple[Cell, ...] = tuple(Cell(role, task_type) for role in Role for task_type in TaskType)
"""All cells, in the order in which a batch lists them."""


class Verdict(StrEnum):
    """What the sandbox observed of one call, one literal or one program."""

    OK = "ok"
    SYNTAX_ERROR = "syntax_error"
    RUNTIME_ERROR = "runtime_error"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "oom"
    BANNED_IMPORT = "banned_import"
    BANNED_CONSTRUCT = "banned_construct"
    NONDETERMINISTIC = "nondeterministic"
    OUTPUT_TOO_LARGE = "output_too_large"
    UNSERIALISABLE = "unserialisable"
    BAD_INPUT = "bad_input"
    BAD_LITERAL = "bad_literal"
    DUPLICATE = "duplicate"
    """A valid task that repeats one in its buffer (decided by the store, not the jail)."""
    NOT_NOVEL = "not_novel"
    LEAKED_MESSAGE = "leaked_message"
    REPEATED_INPUT = "repeated_input"
    CONSTANT_OUTPUT = "constant_output"
    """Refused by a gate (`azr.gates`), not by the jail."""
    NOT_COMPOSED = "not_composed"
    """Does not build on the functions that it was given (`azr.composition`)."""
    NO_ERROR = "no_error"
    """Proposed as a program that fails, but it returned (`azr.raised`)."""
    KILLED = "killed"
    NOT_RUN = "not_run"


class Judgement(StrEnum):
    """The end of a rollout's examination: why it earned what it earned."""

    VALID = "valid"
    """A proposal whose task entered the buffer."""
    INVALID = "invalid"
    """A proposal that parsed but whose task did not validate; see the verdict."""
    CORRECT = "correct"
    WRONG = "wrong"
    BAD_FORMAT = "bad_format"
    """The think/answer contract or the expected fences were missing."""


class DropReason(StrEnum):
    """Why a rollout will never be trained on. Every drop has exactly one."""

    STALE = "stale"
    """Older than `learner.max_staleness` when a batch was claimed."""
    MEASURED_ONLY = "measured_only"
    """Sampled to measure a solve rate, beyond what the batch quota trains on."""
    TASK_LOST = "task_lost"
    """Its task could not be settled: a sibling attempt failed for good."""
    SANDBOX_FAILED = "sandbox_failed"
    """The infrastructure, not the program, failed more often than allowed."""
    SEEDING = "seeding"
    """Sampled to fill the buffers before the first step; never trained on."""


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Value:
    """A Python value in canonical form: what a program returned or a literal meant.

    `canonical` is compact tagged JSON (see `azr.values`). Comparison happens on
    this form, on the host; nothing is evaluated. Values compare with
    `azr.values.equal`, not with `==`, which is byte equality (the strict form).
    """

    canonical: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one call or one literal in the jail."""

    verdict: Verdict
    value: Value | None = None
    """Set exactly when `verdict` is OK."""
    detail: str = ""
    """Exception type, banned name or signal; short, never program output."""
    cpu_seconds: float = field(default=0.0, compare=False)
    """Processor time of the runs behind this outcome, as process 1 of the jail measured it."""


@dataclass(frozen=True, slots=True)
class Example:
    """One input/output pair of a program."""

    arguments: str
    """The text between the parentheses of `f(...)`: literals only."""
    output: Value
    """What the call returned; of an error task, the name of the class of what it raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDraft:
    """A validated triplet before the store gave it an id."""

    task_type: TaskType
    program: str
    examples: tuple[Example, ...]
    """One pair; for induction N pairs, of which the first N // 2 are shown."""
    message: str = ""
    """Induction only: the proposer's hint to the solver."""

    @property
    def shown(self) -> tuple[Example, ...]:
        return self.examples[: len(self.examples) // 2]

    @property
    def hidden(self) -> tuple[Example, ...]:
        return self.examples[len(self.examples) // 2 :]

    def with_id(self, task_id: int) -> Task:
        """The task that this draft becomes in a buffer."""
        return Task(
            task_id=task_id,
            task_type=self.task_type,
            program=self.program,
            examples=self.examples,
            message=self.message,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(TaskDraft):
    """A validated triplet in a buffer: work for solvers and a reference for proposers."""

    task_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A parsed proposal, not yet validated."""

    program: str
    arguments: tuple[str, ...]
    """One argument text; for induction N of them."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A parsed solver response: a literal, an argument list or a program, as text."""

    text: str


@dataclass(frozen=True, slots=True)
class FormatError:
    """A response that does not keep the contract. Data, never an exception."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A parsed proposal that did not validate."""

    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VersionSpan:
    """Tokens [start, end) of a completion were sampled by `version` of `lineage`."""

    version: PolicyVersion
    start: int
    end: int
    lineage: Lineage = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRequest:
    """One prompt to sample without penalties."""

    prompt: str
    max_tokens: int
    seed: int | None = None
    """Set in synchronous runs, where it makes the run reproducible, and in evaluation."""
    stop: tuple[str, ...] = ()
    """Texts that end the response, which then ends with the token that completes one."""
    temperature: float = 1.0
    """Evaluation only: 0 is greedy. Self-play samples at 1, from the policy itself; a
    completion of another temperature has no behaviour log-probs, so none can train on it."""
    top_p: float = 1.0
    """Evaluation only, as another temperature: the share of probability that is sampled from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the engine sampled for one prompt.

    T is the number of sampled tokens. Log-probabilities are in nats, under the
    *behaviour* policy: the weights and KV cache that produced the tokens.
    """

    prompt_token_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    """[T] sampled ids, EOS included when it was sampled."""
    behaviour_logprobs: tuple[float, ...]
    """[T] log pi_behaviour(token_t | prefix), each <= 0; empty unless the temperature was 1."""
    version_spans: tuple[VersionSpan, ...]
    """Consecutive, covering [0, T): weights may change in flight."""
    text: str
    """The decoded response, without the prompt and without EOS."""
    finish_reason: FinishReason

    @property
    def oldest_version(self) -> PolicyVersion:
        """Weights behind the oldest token; staleness is counted from here."""
        return min(span.version for span in self.version_spans)

    @property
    def newest_version(self) -> PolicyVersion:
        return max(span.version for span in self.version_spans)


class Purpose(StrEnum):
    """What an admitted rollout is for."""

    TRAIN = "train"
    """Trained on; in the solve role it may also count towards a solve rate."""
    MEASURE = "measure"
    """Counts towards a solve rate only."""
    SEED = "seed"
    """Fills the buffers before the first step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Permission to sample one rollout, granted by the pacing rule.

    Admissions are rows: a crash returns the lease, and the slot is sampled again
    with the same prompt. `slot` counts admissions of its kind per task type.
    """

    admission_id: int
    cell: Cell
    slot: int
    version: PolicyVersion
    """Learner version when admitted."""
    seed: int
    purpose: Purpose
    measures: int | None = None
    """Solve: the proposal rollout whose solve rate this attempt counts towards."""
    references: tuple[Task, ...] = ()
    """Propose: the K references (for induction, the one program to describe)."""
    composites: tuple[Task, ...] = ()
    """Propose: tasks whose programs the proposed one must build on (`azr.composition`)."""
    task: Task | None = None
    """Solve: the task to attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A sampled completion with what it was asked to do."""

    rollout_id: int
    admission: Admission
    completion: Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One training row: tokens, behaviour log-probs and a final reward."""

    rollout_id: int
    cell: Cell
    prompt_token_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    behaviour_logprobs: tuple[float, ...]
    reward: float
    staleness: int
    """Learner version at the claim minus the oldest token's version."""
    group: int
    """Task id (solve) or rollout id (propose): rows of one group share a baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The rows of each played cell (`azr.quota.batch_rows`), claimed for one optimizer step."""

    batch_id: int
    version: PolicyVersion
    """Learner version at the claim; training it makes `version + 1`."""
    trajectories: tuple[Trajectory, ...]
    """Ordered by cell, then by slot and attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one optimizer step reports."""

    version: PolicyVersion
    """The policy version it produced."""
    loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    """Named in `azr.metrics`; includes staleness-bucketed shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedTask:
    """What a proposal proposed, for rewards that look at it (`azr.intrinsic`)."""

    task: TaskDraft
    references: tuple[Task, ...] = ()
    """What its proposer was shown."""
    seen_inputs: tuple[int, ...] = ()
    """How often each example's input occurred in earlier tasks of the buffer."""
    seen_outputs: tuple[int, ...] = ()
    seen: int = 0
    """Inputs of earlier tasks, which is also the number of their outputs."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A proposal all of whose measuring attempts are judged."""

    rollout_id: int
    cell: Cell
    num_solved: int
    num_attempts: int
    proposed: ProposedTask | None = None
    """Set where a reward asks for it (`[intrinsic]`)."""

    @property
    def solve_rate(self) -> float:
        return self.num_solved / self.num_attempts
