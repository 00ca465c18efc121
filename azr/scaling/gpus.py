"""How fast GPUs sample, train and take new weights: a roofline with stated efficiencies."""

from __future__ import annotations

from dataclasses import dataclass

from azr.config import EngineSection
from azr.errors import ConfigError
from azr.scaling.inputs import GIB, Gpus, Model
from azr.scaling.work import Work

MIB = 1 << 20
FLOPS_PER_SAMPLED_TOKEN = 2
FLOPS_PER_TRAINED_TOKEN = 6
"""Of each parameter; what gradient checkpointing adds is in the MFU."""
CHECKPOINT_BYTES_PER_PARAMETER = 12
"""float32 weights and two moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """One copy of the weights: `engine.tensor_parallel` GPUs."""

    sequences: float
    """That decode at once: `engine.max_sequences`, or what the KV cache holds."""
    decode_tokens_per_second: float
    prefill_tokens_per_second: float

    def seconds(self, work: Work) -> float:
        """All of a step's sampling on this copy alone."""
        return (
            work.sampled_tokens / self.decode_tokens_per_second
            + work.prompt_tokens / self.prefill_tokens_per_second
        )


def sampler(model: Model, gpus: Gpus, engine: EngineSection, work: Work) -> Sampler:
    """Decoding reads all weights and every sequence's KV cache, a token each.

    t = overhead + max((W + b c k) / (n B e), 2 P b / (n F))
    with b sequences of c tokens of k bytes, n GPUs of bandwidth B and peak F.
    Raises ConfigError where not one sequence fits.
    """
    width = engine.tensor_parallel
    sequence_bytes = work.mean_context_tokens * model.kv_bytes_per_token
    weights = model.parameters * model.weight_bytes
    # Each GPU has its share of the weights, and a cache for its share of the KV heads.
    spare_bytes = max(0.0, gpus.gpu_memory_gib * GIB - weights / width)
    cache_bytes = width * min(engine.kv_cache_mib * MIB, spare_bytes)
    sequences = min(float(engine.max_sequences), cache_bytes / sequence_bytes)
    bandwidth = width * gpus.memory_bytes_per_second * gpus.memory_efficiency
    flops = FLOPS_PER_SAMPLED_TOKEN * model.parameters
    seconds = gpus.decode_overhead_seconds + max(
        (weights + sequences * sequence_bytes) / bandwidth,
        flops * sequences / (width * gpus.peak_flops),
    )
    if sequences < 1:
        raise ConfigError(
            f"a GPU of {gpus.gpu_memory_gib:g} GiB has no room for {model.name} and one sequence",
            hint="Raise engine.tensor_parallel, engine.kv_cache_mib, or --input gpu_memory_gib.",
        )
    return Sampler(
        sequences=sequences,
        decode_tokens_per_second=sequences / seconds,
        prefill_tokens_per_second=width * gpus.peak_flops * gpus.prefill_mfu / flops,
    )


def fits(model: Model, gpus: Gpus, *, ranks: int) -> bool:
    """Whether training state fits when it is sharded over so many GPUs."""
    needed = model.parameters * gpus.training_bytes_per_parameter
    return needed <= ranks * gpus.gpu_memory_gib * GIB * gpus.training_memory_share


def training_seconds(model: Model, gpus: Gpus, work: Work, *, ranks: int) -> float:
    """Forward and backward passes of one step."""
    rate = ranks * gpus.peak_flops * gpus.learner_mfu / (FLOPS_PER_TRAINED_TOKEN * model.parameters)
    return work.trained_tokens / rate


def broadcast_seconds(model: Model, gpus: Gpus) -> float:
    """A pipelined broadcast takes as long for many receivers as for one."""
    return model.parameters * model.weight_bytes / gpus.broadcast_bytes_per_second


def pause_seconds(model: Model, gpus: Gpus, *, width: int) -> float:
    """While a replica takes its share of a staged update, it samples nothing."""
    return model.parameters * model.weight_bytes / width / gpus.load_bytes_per_second


def checkpoint_seconds(model: Model, gpus: Gpus, *, every_steps: int) -> float:
    """Writing checkpoints, a step's share."""
    size = model.parameters * CHECKPOINT_BYTES_PER_PARAMETER
    return size / gpus.checkpoint_bytes_per_second / every_steps
