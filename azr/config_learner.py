"""Settings of the learner: its batches, optimizer and objective, and its training processes."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from azr.config_section import Positive, Seconds, Section

OptimizerName = Literal["adamw", "sgd"]
LoraTarget = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LossName = Literal["dppo_tv", "ppo_clip", "tis", "cispo", "decoupled_ppo", "gspo"]
LossMean = Literal["token", "sequence", "micro_batch"]


class LearnerSection(Section):
    """Batches, optimizer and objective."""

    batch_rollouts: Positive = 64
    """B: rollouts in one step of each of the six cells, or of those that are played
    (`selfplay.task_types`)."""
    solve_rollouts: Annotated[int, Field(ge=0)] = 0
    """S: rows of each solve cell in one step; 0 = as many as `batch_rollouts`. With
    `selfplay.attempts` times that, every attempt at every valid task trains."""
    max_staleness: Annotated[int, Field(ge=0)] = 4
    """Versions that the oldest token of a row may lag at the claim; 0 = synchronous."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    vector_rate_factor: Annotated[float, Field(gt=0)] = 1.0
    """Times the learning rate, for biases and norms: batches agree more about them."""
    anneal_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The last share of the run, by steps or by minutes, over which the rate falls linearly
    to a twentieth. 0 keeps it."""
    optimizer: OptimizerName = "adamw"
    """The paper's AdamW, or SGD with momentum, which wants a rate some thousand times
    larger and takes less noise from small batches."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD."""
    adam_betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    loss: LossName = "dppo_tv"
    loss_mean: LossMean = "token"
    """Average over all response tokens, per sequence first (paper Eq. 9), or over the tokens
    of every `mean_rows` rows first (official code)."""
    mean_rows: Positive = 16
    """Consecutive rows of a batch that `loss_mean = "micro_batch"` averages first. It has
    nothing to do with how many rows are computed at once."""
    clip_low: Annotated[float, Field(gt=0)] = 0.2
    clip_high: Annotated[float, Field(gt=0)] = 0.2
    """PPO-clip, decoupled PPO and GSPO; CISPO and TIS use `ratio_cap`."""
    tv_delta: Annotated[float, Field(gt=0)] = 0.15
    """DPPO-Binary-TV: mask a token whose probability moved further than this."""
    ratio_cap: Annotated[float, Field(gt=1)] = 10.0
    """Cap of the importance ratio where one is used as a weight; PPO-clip's dual clip c
    (official code: 3)."""
    entropy_coefficient: Annotated[float, Field(ge=0)] = 0.0
    whitening: Literal["sequence", "token"] = "sequence"
    """TRR++ statistics over sequences (paper) or response tokens (official code)."""
    baseline: Literal["cell", "task"] = "cell"
    """What a solver's reward is compared with: the mean of its cell (TRR++), or that of
    the other attempts at its task in the batch, so that the advantage says which attempt
    was better and not which task was easier (`azr.advantages`)."""
    skip_zero_advantage: bool = False
    """Spare rows whose advantage is exactly 0 the forward and backward pass. They have no
    policy gradient, but this also leaves out their share of the entropy bonus and of
    DPPO's pull towards the behaviour policy; other rows' weights stay as they were."""
    micro_batch_tokens: Positive = 4096
    """Tokens of one packed forward and backward pass."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the forward and backward pass; master weights are float32."""
    gradient_checkpointing: bool = False
    threads: Positive = 1
    """Of each training process, on the processor."""
    ranks: Positive = 1
    """Training processes on the learner's node, one a GPU; they share every batch."""
    sharding: Literal["none", "ddp", "fsdp2"] = "ddp"
    """What several ranks hold: `ddp` all of the model each, `fsdp2` a part of it each.
    One rank holds everything, whatever is said here; `none` says that it must be one."""
    reduce_gradients: Literal["last", "each"] = "last"
    """fsdp2: add up the ranks' gradients after a step's last micro-batch, which keeps the
    whole model's gradient on every GPU until then, or after each of them."""
    lora_rank: Annotated[int, Field(ge=0)] = 0
    """0 trains every weight. Otherwise low-rank adapters of this rank are trained beside
    frozen weights, and the replicas get the two merged (docs/models.md)."""
    lora_alpha: Positive = 32
    """What an adapter adds is scaled by this over its rank."""
    lora_targets: tuple[LoraTarget, ...] = get_args(LoraTarget)
    """The matrices of each layer that get an adapter."""
    checkpoint_every_steps: Positive = 5
    keep_checkpoints: Annotated[int, Field(ge=2)] = 3
    step_timeout_seconds: Seconds = 600.0

    @model_validator(mode="after")
    def _ranks_are_split(self) -> Self:
        if self.ranks > 1 and self.sharding == "none":
            message = f'learner.ranks = {self.ranks} needs learner.sharding = "ddp" or "fsdp2"'
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _adapters_are_whole(self) -> Self:
        if self.lora_rank and self.ranks > 1 and self.sharding == "fsdp2":
            raise ValueError(
                'learner.lora_rank needs whole weights on each rank: learner.sharding = "ddp"'
            )
        if self.lora_rank and len(set(self.lora_targets)) < max(1, len(self.lora_targets)):
            raise ValueError("name each matrix of learner.lora_targets once, and at least one")
        return self
