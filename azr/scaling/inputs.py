"""Every number that the model is told, with its unit and where it comes from.

Three kinds of source: *measured* (a page of docs/ has the command and what it printed),
*published* (somebody else measured it) and *assumed* (nobody did; change it with --input).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from azr.errors import ConfigError

GIB = 1 << 30
SANDBOX_BENCH = "measured: docs/results/sandbox-bench.md"
PROTOTYPE = "measured: docs/scaling.md, prototypes"
LENGTHS = "measured: docs/scaling.md, lengths"
DATA_SHEET = "published: NVIDIA H100 SXM data sheet"


def given(value: float, unit: str, source: str) -> Any:  # noqa: ANN401 -- a dataclass field
    """A field with a default, its unit and its source."""
    return field(default=value, metadata={"unit": unit, "source": source})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Mean tokens of prompts and responses, and how many proposals become tasks."""

    propose_prompt_tokens: float = given(2500, "tokens", "assumed: 6 references of 400 tokens")
    propose_response_tokens: float = given(1000, "tokens", "assumed")
    solve_prompt_tokens: float = given(700, "tokens", "assumed")
    solve_response_tokens: float = given(
        2000, "tokens", "assumed: the paper's plots reach 4k (abduction) and 2k (induction)"
    )
    valid_share: float = given(0.75, "1", "assumed")
    timeout_share: float = given(
        558 / 100_000, "1", "measured: docs/results/sandbox-soak.md, timeouts"
    )
    zero_advantage_share: float = given(
        0.5, "1", "measured: docs/scaling.md, rows; counts with learner.skip_zero_advantage"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """A machine with GPUs, and what software gets out of it."""

    gpus_per_node: int = given(8, "GPUs", "assumed: one machine, one node")
    gpu_memory_gib: float = given(80, "GiB", DATA_SHEET)
    peak_flops: float = given(989e12, "FLOP/s", DATA_SHEET + ", bf16 dense")
    memory_bytes_per_second: float = given(3.35e12, "B/s", DATA_SHEET)
    memory_efficiency: float = given(0.6, "1", "assumed: share of it in decoding")
    prefill_mfu: float = given(0.4, "1", "assumed: share of the peak in prefill")
    decode_overhead_seconds: float = given(3e-3, "s", "assumed: scheduler and sampler, a step")
    learner_mfu: float = given(
        0.139, "1", "published: prime-rl BENCHMARKS.md, 4B on 8 H100, 16k context"
    )
    training_bytes_per_parameter: float = given(
        16, "B", "float32 weights, gradients and two moments"
    )
    training_memory_share: float = given(0.8, "1", "assumed: the rest is activations")
    broadcast_bytes_per_second: float = given(
        8.25e9, "B/s", "published: verl checkpoint engine, 30B over NCCL to 32 H100"
    )
    load_bytes_per_second: float = given(20e9, "B/s", "assumed: a staged update into a replica")
    checkpoint_bytes_per_second: float = given(2e9, "B/s", "assumed: a shared file system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jails:
    """One core that executes programs."""

    executions_per_second: float = given(289, "1/s", SANDBOX_BENCH + ", one run through the pool")
    validation_executions_per_second: float = given(
        396, "1/s", SANDBOX_BENCH + ", full validation through the pool"
    )
    executions_per_validation: int = given(3, "executions", SANDBOX_BENCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What a statement costs, from the caller's side."""

    call_seconds: float = given(8e-4, "s", PROTOTYPE + ": handing a job to the writer's thread")
    statement_seconds: float = given(
        1 / 1032 / 3, "s", PROTOTYPE + ": PostgreSQL, 2 inserts and a commit, 1032 a second"
    )
    row_seconds: float = given(
        1 / 4042 / 2, "s", PROTOTYPE + ": PostgreSQL, batches of 64, 4042 pairs of rows a second"
    )
    round_trip_seconds: float = given(2e-4, "s", "assumed: network to the server, a statement")
    server_cores: float = given(16, "cores", "assumed")
    row_bytes: float = given(1000, "B", "measured: docs/history.md, 1470 less the payload's 480")
    response_token_bytes: float = given(
        8.4, "B", PROTOTYPE + ": ids under zstd 1.43, float32 log-prob 4, text 2.9"
    )
    prompt_token_bytes: float = given(1.43, "B", PROTOTYPE + ": ids under zstd")


POSTGRES = Database()
SQLITE = replace(POSTGRES, statement_seconds=1 / 4411 / 2, row_seconds=1 / 13802 / 2)
"""SQLAlchemy on one file: 4411 pairs of inserts a second alone, 13802 in batches of 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Laptop:
    """Two cores without a GPU, and the tiny model."""

    cores: int = given(2, "cores", "the machine of docs/results/")
    sampled_tokens_per_second: float = given(
        1996, "tokens/s", PROTOTYPE + ": the engine alone on one core, float32"
    )
    trained_tokens_per_second: float = given(
        8 * 228 * 1.91, "tokens/s", PROTOTYPE + ": the learner alone on one core"
    )


TINY_LENGTHS = Lengths(
    propose_prompt_tokens=72.4,
    propose_response_tokens=31.3,
    solve_prompt_tokens=27.8,
    solve_response_tokens=18.7,
    valid_share=0.97,
)
"""Measured: docs/scaling.md. Of the present tiny preset."""
EARLIER_TINY_LENGTHS = Lengths(
    propose_prompt_tokens=76.2,
    propose_response_tokens=33.0,
    solve_prompt_tokens=28.5,
    solve_response_tokens=35.1,
    valid_share=0.91,
)
"""Measured: docs/scaling.md. Of the preset that docs/results/pipeline-bench.md played."""


@dataclass(frozen=True, slots=True)
class Model:
    """A policy's size. Published: Qwen2.5's model cards and configs."""

    name: str
    parameters: float
    kv_bytes_per_token: float
    """Two vectors a layer, in bfloat16: 4 x layers x KV heads x head size."""
    weight_bytes: int = 2
    """Of a parameter in a replica and on its way there: bfloat16."""


MODELS = {
    "7B": Model("7B", 7.6e9, 4 * 28 * 4 * 128),
    "14B": Model("14B", 14.8e9, 4 * 48 * 8 * 128),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All of them."""

    lengths: Lengths = Lengths()
    gpus: Gpus = Gpus()
    jails: Jails = Jails()
    database: Database = POSTGRES

    def each(self) -> Iterator[tuple[str, float, str, str]]:
        """Name, value, unit and source of every input."""
        for section in self._sections().values():
            for one in fields(section):
                value = getattr(section, one.name)
                source = one.metadata["source"]
                if value != one.default:
                    source = "given with --input"
                yield one.name, value, one.metadata["unit"], source

    def changed(self, overrides: Mapping[str, float]) -> Inputs:
        """These inputs, some of them replaced. Raises ConfigError for an unknown name."""
        sections = self._sections()
        known = {one.name for part in sections.values() for one in fields(part)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ConfigError(
                f"--input {unknown[0]}: there is no such input",
                hint="`azr bench scaling --sources` lists them.",
            )
        changed = {
            place: replace(
                part,
                **{
                    one.name: _checked(one, overrides[one.name])
                    for one in fields(part)
                    if one.name in overrides
                },
            )
            for place, part in sections.items()
        }
        return replace(self, **changed)

    def _sections(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


def _checked(one: Field[Any], value: float) -> float:
    """A value that the input can have: shares up to 1, anything else above 0."""
    is_share = one.metadata["unit"] == "1"
    if not (0 <= value <= 1 if is_share else value > 0):
        wanted = "between 0 and 1" if is_share else "more than 0"
        raise ConfigError(f"--input {one.name}={value:g} must be {wanted}")
    if one.type != "int":
        return value
    if value != int(value):
        raise ConfigError(f"--input {one.name}={value:g} must be a whole number")
    return int(value)
