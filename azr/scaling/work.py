"""What one learner step asks of everything else, whoever does it."""

from __future__ import annotations

from dataclasses import dataclass

from azr.config import RunConfig
from azr.quota import cell_rows, played_types
from azr.scaling.inputs import Jails, Lengths
from azr.types import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Means over many steps of a run that neither drops rows nor replays tasks at random."""

    proposals: float
    attempts: float
    trained_rows: float
    sampled_tokens: float
    """Of responses."""
    prompt_tokens: float
    """Of all prompts, as if no prefix were cached."""
    trained_tokens: float
    """Prompts and responses of the batch's rows."""
    mean_context_tokens: float
    """Half-way through a response, weighted by response tokens: what decoding reads."""
    executions: float
    jail_seconds: float
    """Processor time of all executions, programs that run into the limit included."""

    @property
    def rollouts(self) -> float:
        return self.proposals + self.attempts


def work_of(config: RunConfig, lengths: Lengths, jails: Jails) -> Work:
    """What a step of this run asks for.

    Of S training rows a solve cell needs, new tasks bring `attempts` each, and older
    tasks what is then missing; with reuse "one" every attempt that trains is one more.
    """
    types = len(played_types(config))
    propose_rows = types * cell_rows(config, Role.PROPOSE) if config.selfplay.propose else 0
    solve_rows = types * cell_rows(config, Role.SOLVE)
    measuring = propose_rows * lengths.valid_share * config.selfplay.attempts
    if config.selfplay.solver_reuse == "one":
        attempts = measuring + solve_rows
    else:
        attempts = max(measuring, solve_rows)
    propose, solve = lengths.propose_response_tokens, lengths.solve_response_tokens
    sampled = propose_rows * propose + attempts * solve
    propose_context = lengths.propose_prompt_tokens + propose / 2
    solve_context = lengths.solve_prompt_tokens + solve / 2
    context = propose_rows * propose * propose_context + attempts * solve * solve_context
    spared = lengths.zero_advantage_share if config.learner.skip_zero_advantage else 0.0
    executions = propose_rows * jails.executions_per_validation + attempts
    return Work(
        proposals=propose_rows,
        attempts=attempts,
        trained_rows=propose_rows + solve_rows,
        sampled_tokens=sampled,
        prompt_tokens=propose_rows * lengths.propose_prompt_tokens
        + attempts * lengths.solve_prompt_tokens,
        trained_tokens=(1 - spared)
        * (
            propose_rows * (lengths.propose_prompt_tokens + propose)
            + solve_rows * (lengths.solve_prompt_tokens + solve)
        ),
        mean_context_tokens=context / sampled,
        executions=executions,
        jail_seconds=propose_rows
        * jails.executions_per_validation
        / jails.validation_executions_per_second
        + attempts / jails.executions_per_second
        + executions * lengths.timeout_share * config.sandbox.cpu_seconds,
    )
