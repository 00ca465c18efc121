"""Every setting of a run, as small frozen sections.

Units are in the names. A misspelt key is an error that names the nearest valid
one; cross-field checks verify and never change a value. Sections with many settings
have a module each (`azr.config_learner`, `azr.config_serve`, ...); `azr.config_files`
reads the TOML presets and applies overrides.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from azr.config_extensions import CompositesSection, IntrinsicSection
from azr.config_learner import LearnerSection
from azr.config_monitor import MonitorSection
from azr.config_section import Positive, Seconds, Section
from azr.config_serve import ServeSection
from azr.eviction import Eviction, TaskFilter
from azr.normal_form import DuplicateBy, SameProgram
from azr.task_types import MAIN_TYPES, PAIR_TYPES
from azr.types import TaskType

FamilyName = Literal["compact", "r1"]
ParsingName = Literal["strict", "paper"]


class RunSection(Section):
    """What is trained, and for how long."""

    model: str = "tiny"
    """`tiny` for the model in the package, a Hugging Face folder, or a hub id such as
    `Qwen/Qwen2.5-7B`."""
    revision: str = ""
    """Of a hub id: a branch, a tag or a commit. A run records the commit that it found."""
    removed_tokens: tuple[str, ...] = ()
    """Added tokens that the tokenizer forgets, because their embeddings were never trained:
    such a text is then spelled with ordinary tokens."""
    steps: Positive = 200
    """Learner steps of the whole run; resuming continues up to this number."""
    minutes: Annotated[float, Field(ge=0)] = 0.0
    """Minutes of self-play after which the run ends, if its steps are not done before;
    0 = no limit. Starting up and held-out evaluation do not count; a resumed run goes on
    counting. A step that has begun is finished."""
    seed: int = 0
    """Root of every random choice outside the engine's own sampling."""


class PromptSection(Section):
    """How the six prompts are worded and how their answers are read."""

    family: FamilyName = "compact"
    """`compact` is the tiny model's own, without instructions; `r1` asks in full sentences,
    in a conversation of plain text, whose template may be changed."""
    templates: str = ""
    """A folder whose texts replace those of the family (`azr prompts templates`)."""
    outer: Literal["r1", "none"] = "r1"
    """What r1 puts around each question: the R1-style conversation, or nothing but the
    opened think part."""
    swapped_criteria: bool = False
    """r1: deduction's and abduction's proposers are asked for each other's difficulty,
    as by the official prompts."""
    parsing: ParsingName = "strict"
    """How responses are read: the contract to the letter, or `paper`, the official code's
    tolerant ladder (`azr.parsing`)."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end a response, kept in it; for models that talk on after an answer:
    ["</answer>"]. Every response also ends at the model's own end of text."""
    max_prompt_tokens: Positive = 384
    """Longer prompts are built with fewer references."""
    max_response_tokens: Positive = 192
    """Sampling stops here; a truncated response has a bad format."""


class SelfPlaySection(Section):
    """The algorithm: Absolute Zero, with its paper/code forks as switches."""

    propose: bool = True
    """Off: nobody proposes. Once the buffers are seeded, solvers attempt their tasks
    again and again, and a batch has no propose cells."""
    seed_file: str = ""
    """A JSON-lines seed file (`azr tasks generate`, `azr tasks export`) whose tasks start
    the buffers, once the jail has validated them, instead of the model's own."""
    task_types: tuple[TaskType, ...] = MAIN_TYPES
    """What is played: only these types are seeded, proposed and solved, and a batch has
    only their cells. Induction is proposed from programs of deduction's and abduction's
    buffers, so it needs one of them beside it. `error`, off by default, is to name the
    exception that a program raises (docs/fidelity.md)."""
    references: Annotated[int, Field(ge=0)] = 6
    """K: tasks shown to a proposer, drawn without replacement."""
    reference_sampling: Literal["uniform", "recency"] = "uniform"
    """How they are drawn: all alike, or with weights step + 1, by the step that proposed a
    task (seeds: 0). The paper saw the latter collapse."""
    induction_pairs: Annotated[int, Field(ge=2)] = 10
    """N: input/output pairs of an induction task; the first N // 2 are shown."""
    attempts: Positive = 8
    """G: solver attempts that measure a proposed task's solve rate."""
    seed_batches: Positive = 4
    """Each buffer starts with this many times `learner.batch_rollouts` tasks."""
    solver_reuse: Literal["all", "one"] = "all"
    """Train on the attempts that measured a task (`all`), or, as the paper does,
    sample one more attempt a task for training (`one`)."""
    solve_tasks: Literal["same_step", "lagged"] = "same_step"
    """What solvers train on: the tasks that the step itself proposed (paper), or those of
    the step before (official code). Either way the rest of the cell is drawn from the whole
    buffer. `lagged` needs `solver_reuse = "one"`: no attempt that measures is trained on."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Nobody proposes in so many first steps: solvers attempt the seeds."""
    boundary_reward: Annotated[float, Field(ge=-1, le=0)] = 0.0
    """A proposer's reward at solve rate 0 or 1: paper 0, official code -0.5."""
    measure_format: bool = True
    """Attempts that measure a solve rate must keep the format to count as solved;
    the official code does not ask this of them."""
    single_function: bool = False
    """Reject programs with more than one `def`, as the official code does."""
    propose_weight: Annotated[float, Field(ge=0)] = 1.0
    """lambda: weight of the proposer's loss beside the solver's."""
    reject_duplicates: bool = True
    """A task that repeats one in its buffer is invalid (verdict `duplicate`)."""
    duplicate_by: DuplicateBy = "task"
    """What makes a deduction or abduction task a repetition: its program with its inputs,
    or the program alone. An induction task always has a program of the other buffers."""
    same_program: SameProgram = "tokens"
    """What repeats a program: equal text, equal tokens (whatever the comments and the
    layout), or tokens equal up to renaming."""
    reject_reference_programs: bool = False
    """A deduction or abduction task must not reuse a program that its proposer was
    shown (verdict `not_novel`)."""
    reject_message_code: bool = False
    """An induction message must not contain code of its program (`leaked_message`)."""
    reject_repeated_inputs: bool = False
    """A hidden induction input must not be among the shown ones (`repeated_input`)."""
    reject_constant_outputs: bool = False
    """The outputs of an induction task must not all be equal (`constant_output`)."""
    reject_written_errors: bool = False
    """An error task's program must not say `raise`, `assert`, `try` or `except`, so that it
    fails by what it computes (`banned_construct`); an option of the official code."""
    buffer_capacity: Annotated[int, Field(ge=0)] = 0
    """Tasks of a buffer that may be drawn; 0 = all. The official code: 16384."""
    eviction: Eviction = "newest"
    """Which tasks a full buffer keeps (`azr.eviction`). The official code: oldest."""
    task_filter: TaskFilter = "all"
    """Which measured tasks stay in their buffer: all, those not always solved, or those
    solved sometimes (`azr.eviction`). Others are withdrawn, and still earn their reward."""

    @field_validator("task_types")
    @classmethod
    def _can_be_played(
        cls, types: tuple[TaskType, ...], info: ValidationInfo
    ) -> tuple[TaskType, ...]:
        names = ", ".join(TaskType)
        if not types:
            raise ValueError(f"name at least one task type of {names}")
        if len(set(types)) < len(types):
            raise ValueError("name each task type once")
        proposed = info.data.get("propose", True) or not info.data.get("seed_file")
        if TaskType.INDUCTION in types and set(types).isdisjoint(PAIR_TYPES) and proposed:
            raise ValueError(
                "induction is proposed from the programs of deduction and abduction tasks;"
                " add one of these types"
            )
        return types

    @model_validator(mode="after")
    def _draws_go_together(self) -> Self:
        if self.solve_tasks == "lagged" and self.solver_reuse != "one":
            raise ValueError('solve_tasks = "lagged" needs solver_reuse = "one"')
        in_order = self.reference_sampling == "uniform" and self.task_filter == "all"
        if self.eviction == "reservoir" and not in_order:
            raise ValueError(
                'eviction = "reservoir" draws uniformly from all tasks: it goes with'
                ' reference_sampling = "uniform" and task_filter = "all"'
            )
        return self


class SandboxSection(Section):
    """Limits of the jail. A job is one program with one or more calls."""

    isolation: Literal["jail", "process"] = "jail"
    """`process` is weaker, for machines that forbid namespaces: the same limits and
    seccomp filters, and Landlock if the kernel has it, in a process without a jail.
    docs/sandbox.md says what that gives up."""
    workers: Positive = 2
    """Jails of each hash seed on a node."""
    wall_seconds: Seconds = 3.0
    cpu_seconds: Positive = 2
    memory_mib: Positive = 512
    max_output_chars: Positive = 4096
    """A longer value is rejected, never cut."""
    max_program_chars: Positive = 32768
    max_failures: Positive = 3
    """Infrastructure failures of one rollout before it is dropped."""


class EngineSection(Section):
    """vLLM, and how weights reach it."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Equal to the learner's on CPU: they then agree to 1e-6 instead of 1e-2."""
    max_sequences: Positive = 32
    """Requests that vLLM runs at once."""
    kv_cache_mib: Positive = 256
    max_model_len_tokens: Positive = 576
    tensor_parallel: Positive = 1
    """GPUs that hold one copy of a replica's weights; a node's other GPUs hold more copies."""
    weight_backend: Literal["auto", "gloo", "nccl", "ipc"] = "auto"
    """`auto`: gloo on CPU; on CUDA ipc when learner and replica share a GPU, else nccl."""
    kv_on_update: Literal["keep", "recompute"] = "keep"
    """Running requests keep their KV cache over a weight switch, or recompute it."""
    canary_tolerance_nats: Annotated[float, Field(gt=0)] = 1e-3
    """Largest mean |trainer - replica| log-prob at lag 0; use 0.02 for bfloat16."""
    update_timeout_seconds: Seconds = 60.0
    request_timeout_seconds: Seconds = 300.0


class ActorSection(Section):
    """Concurrency of a node."""

    propose_workers: Positive = 12
    solve_workers: Positive = 24
    execute_workers: Positive = 4
    lease_seconds: Seconds = 120.0
    """A crashed actor's work returns after this long."""


class EvaluationSection(Section):
    """Held-out accuracy before and after a run (`azr eval` measures any checkpoint)."""

    problems_per_type: Annotated[int, Field(ge=0)] = 0
    """Problems of each task type from each split of the held-out suite, answered
    greedily; 0 measures nothing. The suite has 100 of each, in compact prompts."""
    suite_every_steps: Annotated[int, Field(ge=0)] = 0
    """Measure so many-th versions while the run goes on, in a process of its own with the
    lowest priority; 0 = never. A multiple of `learner.checkpoint_every_steps`."""
    suite: str = "held-out"
    """On what: `held-out`, or benchmarks as for `azr eval --suite`."""
    suite_limit: Annotated[int, Field(ge=0)] = 10
    """Only so many questions of each benchmark, or of each split and type; 0 = all."""
    suite_data: str = ""
    """Folder of the benchmarks' files. Empty: as for `azr eval`."""
    suite_gpus: str = ""
    """CUDA_VISIBLE_DEVICES of that process: a GPU that the run does not use."""
    suite_timeout_seconds: Seconds = 3600.0


class StoreSection(Section):
    """Where history lives."""

    url: str = ""
    """Empty: SQLite in the run directory. Several nodes need postgresql://USER@HOST/NAME."""
    run_name: str = ""
    """Which run of a shared database this is. Empty: the latest, or the only one."""
    outage_seconds: Seconds = 120.0
    """How long a database server may be away before the run gives up."""
    logprob_dtype: Literal["float32", "float16"] = "float32"


class ClusterSection(Section):
    """How the nodes of a run are watched, and started again."""

    heartbeat_seconds: Seconds = 2.0
    """How often a node says that it lives, and hears whether it was given up."""
    silent_seconds: Seconds = 30.0
    """A node that answers nothing for so long is given up: its work returns, and a new one
    is started in its place."""
    restart_limit: Positive = 5
    """Restarts of one node, or of one part of it, within the window; one more ends the run."""
    restart_window_seconds: Seconds = 600.0
    restart_pause_seconds: Seconds = 1.0
    """Before the first restart; doubles with every further one in the window."""
    longest_pause_seconds: Seconds = 60.0
    drain_seconds: Seconds = 120.0
    """How long a draining node may take, its checkpoint included, before it is killed."""


class RunConfig(Section):
    """A whole run; `azr run CONFIG` resolves a preset and overrides into one."""

    run: RunSection = RunSection()
    prompts: PromptSection = PromptSection()
    selfplay: SelfPlaySection = SelfPlaySection()
    intrinsic: IntrinsicSection = IntrinsicSection()
    composites: CompositesSection = CompositesSection()
    sandbox: SandboxSection = SandboxSection()
    learner: LearnerSection = LearnerSection()
    engine: EngineSection = EngineSection()
    actors: ActorSection = ActorSection()
    evaluation: EvaluationSection = EvaluationSection()
    store: StoreSection = StoreSection()
    cluster: ClusterSection = ClusterSection()
    monitor: MonitorSection = MonitorSection()
    serve: ServeSection = ServeSection()

    @model_validator(mode="after")
    def _measured_versions_are_durable(self) -> Self:
        measured, kept = self.evaluation.suite_every_steps, self.learner.checkpoint_every_steps
        if measured % kept:
            message = (
                f"evaluation.suite_every_steps = {measured} is no multiple of"
                f" learner.checkpoint_every_steps = {kept}: only checkpoints can be measured"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        need = self.prompts.max_prompt_tokens + self.prompts.max_response_tokens
        if need > self.engine.max_model_len_tokens:
            message = (
                f"prompts.max_prompt_tokens + prompts.max_response_tokens = {need} exceeds"
                f" engine.max_model_len_tokens = {self.engine.max_model_len_tokens}"
            )
            raise ValueError(message)
        return self
