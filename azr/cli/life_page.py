"""A rollout's life as a page: one section for each thing that happened to it."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from azr.cli.output import table
from azr.config import RunConfig
from azr.types import DropReason, Judgement, Purpose, Role

if TYPE_CHECKING:
    from azr.store.history.life import AttemptFacts, BatchFacts, RolloutFacts, RolloutLife

INDENT = "    "
PURPOSES = {
    Purpose.TRAIN: "to be trained on",
    Purpose.MEASURE: "to measure a solve rate only",
    Purpose.SEED: "to fill the buffers before the first step",
}
ENDS = {
    "generated": "It waits to be examined.",
    "judged": "It waits for the attempts that measure its task; then its reward is known.",
    "ready": "Its reward is final; it waits for a batch.",
    "claimed": "A learner step holds it at this moment.",
    "trained": "The surviving weights learned from it, once.",
}


def life_page(life: RolloutLife, config: RunConfig, *, prompt: str) -> RenderableType:
    """The whole page; `prompt` is what the model read."""
    rollout = life.rollout
    title = f"rollout {rollout.rollout_id}: {rollout.role} {rollout.task_type}, {rollout.state}"
    return Group(
        Text(title, style="bold"),
        Text(end_of(life, config), style="bold"),
        *_section("admitted", *_admission(life)),
        *_section("prompt", f"{rollout.num_prompt_tokens} tokens", prompt),
        *_section("sampled", *_sampling(life), life.sampled.text),
        *_section("judged", *_judgement(life)),
        *_attempts(life),
        *_section("trained on", *(_batch(batch) for batch in life.batches)),
    )


def end_of(life: RolloutLife, config: RunConfig) -> str:
    """Where it stands, in a sentence; for a drop, its reason."""
    reason = life.rollout.drop_reason
    if reason is None:
        return ENDS[life.rollout.state]
    return f"Dropped {_moment(life.rollout.dropped_at)}: {explain_drop(life, reason, config)}"


def explain_drop(life: RolloutLife, reason: DropReason, config: RunConfig) -> str:
    """What a drop reason means for this rollout."""
    rollout = life.rollout
    match reason:
        case DropReason.STALE:
            return (
                f"stale. It counts as sampled by policy version {rollout.staleness_version}, and"
                " when a batch was claimed the learner was more than"
                f" {config.learner.max_staleness} versions further (learner.max_staleness)."
            )
        case DropReason.MEASURED_ONLY:
            return (
                f"measured_only. It was one of the attempts that measured proposal"
                f" {rollout.measures}, beyond those that batches have room for; its result"
                " counts in the solve rate."
            )
        case DropReason.TASK_LOST:
            return (
                "task_lost. Every attempt that was to measure its task failed for good, so its"
                " reward can never be known."
            )
        case DropReason.SANDBOX_FAILED:
            return (
                f"sandbox_failed. The jail's infrastructure, not the program, failed"
                f" {rollout.failures} times while examining it (sandbox.max_failures)."
            )
        case DropReason.SEEDING:
            return (
                "seeding. It was sampled to fill the buffers before the first step; such"
                " rollouts are never trained on, whatever they propose."
            )


def _section(name: str, *lines: str) -> list[RenderableType]:
    """A heading and indented lines; nothing at all without lines."""
    if not lines:
        return []
    return [
        Text(f"\n{name}", style="cyan"),
        *(_indented(line) for line in lines),
    ]


def _admission(life: RolloutLife) -> list[str]:
    rollout, admission = life.rollout, life.admission
    lines = [PURPOSES[rollout.purpose]]
    if admission is None:
        lines.append("without an admission: nobody paced the seeding")
    else:
        lines.append(
            f"admission {rollout.admission_id} (slot {admission.slot}) at learner version"
            f" {admission.version}, {_moment(admission.created_at)}"
        )
        if admission.references:
            shown = ", ".join(map(str, admission.references))
            lines.append(f"references: tasks {shown}")
    if rollout.task_id is not None:
        lines.append(f"attempts task {rollout.task_id}")
    if rollout.measures is not None:
        lines.append(f"counts towards the solve rate of proposal {rollout.measures}")
    return lines


def _sampling(life: RolloutLife) -> list[str]:
    rollout = life.rollout
    spans = ", ".join(
        f"tokens {span.start}-{span.end - 1} by version {span.version}"
        for span in life.sampled.version_spans
    )
    return [
        f"{rollout.num_tokens} tokens, finished by {rollout.finish_reason},"
        f" {_moment(rollout.generated_at)}",
        spans or "no tokens",
    ]


def _judgement(life: RolloutLife) -> list[str]:
    rollout = life.rollout
    if rollout.judgement is None:
        held = f"; {rollout.owner} examines it" if rollout.owner else ""
        failed = f"; {rollout.failures} failures so far" if rollout.failures else ""
        return [f"not yet{held}{failed}"]
    detail = f" ({rollout.detail})" if rollout.detail else ""
    verdict = f", verdict {rollout.verdict}{detail}" if rollout.verdict else ""
    lines = [f"{rollout.judgement}{verdict}, {_moment(rollout.judged_at)}"]
    if life.made_task is not None:
        lines.append(f"became task {life.made_task}")
    lines.append(_reward(rollout))
    return lines


def _reward(rollout: RolloutFacts) -> str:
    """The reward and what it was made of (`azr.rewards`)."""
    if rollout.purpose is Purpose.SEED:
        return "no reward: seeding is not training"
    if rollout.reward is None:
        return (
            f"reward: not yet; {rollout.num_measured or 0} of {rollout.num_expected or 0}"
            " measuring attempts are in"
        )
    head = f"reward {rollout.reward:+.3f}:"
    if rollout.role is Role.PROPOSE and rollout.solve_rate is not None:
        kind = "0 or 1 teaches nothing" if rollout.solve_rate in (0, 1) else "1 - solve rate"
        return (
            f"{head} {rollout.num_solved} of {rollout.num_measured} attempts solved its task,"
            f" solve rate {rollout.solve_rate:.3f} ({kind})"
        )
    parts = {
        Judgement.CORRECT: "the answer is right",
        Judgement.WRONG: "well formatted, but wrong",
        Judgement.BAD_FORMAT: "the format is bad",
        Judgement.INVALID: "the task did not validate",
        Judgement.VALID: "the task is valid",
    }
    return f"{head} {parts[rollout.judgement]}" if rollout.judgement else head


def _attempts(life: RolloutLife) -> list[RenderableType]:
    if not life.attempts:
        return []
    columns = ("rollout", "purpose", "state", "judgement", "verdict", "solved", "version")
    rows = [_attempt(attempt) for attempt in life.attempts]
    return [*_section("measured by", f"{len(rows)} attempts"), table(columns, rows)]


def _attempt(attempt: AttemptFacts) -> tuple[object, ...]:
    solved = None if attempt.solved is None else "yes" if attempt.solved else "no"
    return (
        attempt.rollout_id,
        attempt.purpose,
        attempt.state or "not sampled yet",
        attempt.judgement,
        attempt.verdict,
        solved,
        attempt.oldest_version,
    )


def _batch(batch: BatchFacts) -> str:
    head = (
        f"batch {batch.batch_id}, claimed at learner version {batch.version},"
        f" {_moment(batch.claimed_at)}"
    )
    if batch.step is None or batch.advantage is None:
        return f"{head}: {batch.state}, no step was committed"
    undone = "" if batch.live else "; rolled back, so the surviving weights do not know it"
    return (
        f"{head}: learner step {batch.step}, row {batch.position}, staleness {batch.staleness},"
        f" advantage {batch.advantage:+.4f}{undone}"
    )


def _moment(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _indented(text: str) -> Text:
    return Text(textwrap.indent(text, INDENT))
