"""What counts as a failure: one table of thresholds, each with its reason.

A rule compares a measure, pooled over the last `WINDOW_STEPS` learner steps, with an
absolute limit and with the run's own beginning (its first `BASELINE_STEPS` steps).
Whichever is stricter counts. Figures of a healthy run in the reasons are from 30 steps
of the tiny model, 16 rows a cell; docs/failure-modes.md says how to read a finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from azr.diagnosis.measures import RUN, cell_name
from azr.task_types import MAIN_TYPES
from azr.types import Role, TaskType

WINDOW_STEPS = 5
"""Steps that are pooled: one step of 16 rows a cell is mostly noise."""
BASELINE_STEPS = 5
"""The run's own beginning, as near to the base model as a window can be."""
MIN_COUNT = 15
"""Things that a pooled value must be over, in the window and in the baseline."""
RELEASE = 0.1
"""A finding ends once the measure is back by this share of the threshold, so that a
value that hovers around it does not begin and end a finding every step."""

PROPOSERS = tuple(cell_name(Role.PROPOSE, task_type) for task_type in TaskType)
PROGRAM_PROPOSERS = tuple(
    cell_name(Role.PROPOSE, task_type)
    for task_type in TaskType
    if task_type is not TaskType.INDUCTION
)
VALUE_PROPOSERS = tuple(cell_name(Role.PROPOSE, task_type) for task_type in MAIN_TYPES)
"""Of tasks that return a value; those that raise can only raise so many classes."""
SOLVERS = tuple(cell_name(Role.SOLVE, task_type) for task_type in TaskType)
ALL_CELLS = (*PROPOSERS, *SOLVERS)


class Side(StrEnum):
    """On which side of its threshold a measure is a failure."""

    ABOVE = "above"
    BELOW = "below"


class Severity(StrEnum):
    """How much a finding matters."""

    WARNING = "warning"
    """Learning is in danger: act, or stop the run."""
    NOTICE = "notice"
    """A drift that is worth a look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a measure is a failure, and what to do about it."""

    name: str
    measure: str
    scopes: tuple[str, ...]
    side: Side
    severity: Severity = Severity.WARNING
    limit: float | None = None
    """Absolute."""
    ratio: float | None = None
    """Times the baseline."""
    shift: float | None = None
    """Added to the baseline."""
    reason: str
    """Of the thresholds."""
    meaning: str
    advice: str

    def threshold(self, baseline: float | None) -> float | None:
        """The strictest of the limits that are known; None without one."""
        known = [] if self.limit is None else [self.limit]
        if baseline is not None and self.ratio is not None:
            known.append(baseline * self.ratio)
        if baseline is not None and self.shift is not None:
            known.append(baseline + self.shift)
        if not known:
            return None
        return min(known) if self.side is Side.ABOVE else max(known)

    def is_past(self, value: float, threshold: float) -> bool:
        """Whether a value is a failure."""
        return value > threshold if self.side is Side.ABOVE else value < threshold

    def is_over(self, value: float, threshold: float) -> bool:
        """Whether a value ends a failure: back beyond the threshold by `RELEASE` of it."""
        margin = RELEASE * abs(threshold)
        if self.side is Side.ABOVE:
            return value <= threshold - margin
        return value >= threshold + margin


RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            name="diversity_collapse",
            measure="distinct",
            scopes=PROPOSERS,
            side=Side.BELOW,
            limit=0.3,
            ratio=0.6,
            reason="healthy: 0.87 to 1.00 of a step's programs differ; at 0.3 a batch of 16 "
            "holds five programs",
            meaning="the proposer writes the same few programs again and again",
            advice="raise learner.entropy_coefficient or lower learner.learning_rate; check "
            "that selfplay.duplicate_by is `program` and same_program `renamed`",
        ),
        Rule(
            name="repeated_proposals",
            measure="repeats_older",
            scopes=PROGRAM_PROPOSERS,
            side=Side.ABOVE,
            severity=Severity.NOTICE,
            limit=0.6,
            reason="healthy: 0.12 rising to 0.31, because the past grows; beyond 0.6 most "
            "proposals bring no new program",
            meaning="most programs are ones that an earlier step already had, up to names",
            advice="set selfplay.duplicate_by to `program` and same_program to `renamed`, or "
            "start from a base with a wider range of programs",
        ),
        Rule(
            name="copied_references",
            measure="repeats_reference",
            scopes=PROGRAM_PROPOSERS,
            side=Side.ABOVE,
            limit=0.2,
            reason="healthy: 0.00 to 0.01; a copy of a hard reference earns its reward again",
            meaning="the proposer hands back programs that it was shown",
            advice="set selfplay.reject_reference_programs",
        ),
        Rule(
            name="near_copies",
            measure="nearest_reference",
            scopes=PROGRAM_PROPOSERS,
            side=Side.BELOW,
            severity=Severity.NOTICE,
            limit=0.1,
            ratio=0.5,
            reason="healthy: 0.38 to 0.43; half of that means that most of a proposal is "
            "the reference",
            meaning="programs differ from a reference by a few nodes of syntax",
            advice="set selfplay.reject_reference_programs and show more references",
        ),
        Rule(
            name="tasks_trivial",
            measure="solved_by_all",
            scopes=PROPOSERS,
            side=Side.ABOVE,
            limit=0.8,
            reason="healthy: 0.26 to 0.55 with 4 attempts; such tasks earn a proposer nothing "
            "and carry no signal for the solver",
            meaning="nearly every task is solved by every attempt",
            advice="more selfplay.attempts tell 0.9 from 1.0; check the rewards of the "
            "proposer; a larger learner.learning_rate may be needed to follow",
        ),
        Rule(
            name="tasks_impossible",
            measure="solved_by_none",
            scopes=PROPOSERS,
            side=Side.ABOVE,
            limit=0.8,
            reason="healthy: 0.13 to 0.46 with 4 attempts; tasks that nobody solves teach nobody",
            meaning="nearly no task is ever solved",
            advice="look at `azr tasks list --order hardest`; the base may be too weak for its "
            "own proposals: more pretraining, or more selfplay.attempts",
        ),
        Rule(
            name="tasks_become_easy",
            measure="solved_by_all",
            scopes=PROPOSERS,
            side=Side.ABOVE,
            severity=Severity.NOTICE,
            shift=0.3,
            reason="healthy: within 0.18 of the beginning; some rise is the solver's learning",
            meaning="many more tasks than at the beginning are solved by every attempt",
            advice="the proposer does not follow the solver: compare proposer and solver reward",
        ),
        Rule(
            name="tasks_become_hard",
            measure="solved_by_none",
            scopes=PROPOSERS,
            side=Side.ABOVE,
            severity=Severity.NOTICE,
            shift=0.3,
            reason="healthy: within 0.22 of the beginning",
            meaning="many more tasks than at the beginning are solved by no attempt",
            advice="either tasks became harder or the solver worse: held-out accuracy tells which",
        ),
        Rule(
            name="answers_given_away",
            measure="gives_away",
            scopes=PROPOSERS,
            side=Side.ABOVE,
            limit=0.1,
            reason="healthy: 0.00; one task in ten is no coincidence of a literal",
            meaning="comments, docstrings or messages hold what the solver has to find",
            advice="for messages set selfplay.reject_message_code; for comments look at "
            "`azr tasks list --text '#'`",
        ),
        Rule(
            name="trivial_programs",
            measure="trivial_program",
            scopes=PROPOSERS,
            side=Side.ABOVE,
            limit=0.3,
            reason="healthy: 0.00 to 0.07",
            meaning="programs that return an argument unchanged or ignore their arguments",
            advice="for induction set selfplay.reject_constant_outputs; seed the buffers with "
            "richer programs (`azr tasks import`)",
        ),
        Rule(
            name="outputs_alike",
            measure="distinct_outputs",
            scopes=VALUE_PROPOSERS,
            side=Side.BELOW,
            severity=Severity.NOTICE,
            limit=0.25,
            ratio=0.5,
            reason="healthy: 0.87 to 1.00; at 0.25 four tasks of sixteen outputs differ, and "
            "guessing pays",
            meaning="tasks return the same few values, such as True, 0 or an empty list",
            advice="look at `azr tasks list`; a solver that answers without reading the "
            "program will show as same_answer",
        ),
        Rule(
            name="programs_shrink",
            measure="halstead_volume",
            scopes=PROGRAM_PROPOSERS,
            side=Side.BELOW,
            severity=Severity.NOTICE,
            ratio=0.5,
            reason="healthy: within 16 % of the beginning",
            meaning="programs become shorter and simpler than at the beginning",
            advice="easy programs are the way to a valid proposal: check the proposer's reward "
            "and solved_by_all",
        ),
        Rule(
            name="validity_collapse",
            measure="valid",
            scopes=PROPOSERS,
            side=Side.BELOW,
            limit=0.1,
            ratio=0.6,
            reason="healthy: 0.89 to 1.00",
            meaning="few proposals become tasks any more",
            advice="`azr sql --question why-proposals-fail` says what the jail found; lower "
            "learner.learning_rate",
        ),
        Rule(
            name="format_lost",
            measure="bad_format",
            scopes=ALL_CELLS,
            side=Side.ABOVE,
            limit=0.5,
            shift=0.2,
            reason="healthy: 0.00 to 0.09; a base that begins badly should become better",
            meaning="responses break the think/answer contract",
            advice="look at texts with `azr why ROLLOUT`; lower learner.learning_rate, or "
            "raise prompts.max_response_tokens if they are truncated",
        ),
        Rule(
            name="truncation",
            measure="truncated",
            scopes=ALL_CELLS,
            side=Side.ABOVE,
            limit=0.15,
            reason="healthy: 0.00; a truncated response is a bad format, whatever it says",
            meaning="responses reach the length limit",
            advice="raise prompts.max_response_tokens; if length grows without end, see "
            "length_blow_up",
        ),
        Rule(
            name="length_blow_up",
            measure="tokens",
            scopes=ALL_CELLS,
            side=Side.ABOVE,
            severity=Severity.NOTICE,
            ratio=2.0,
            reason="healthy: within 25 % of the beginning; longer thinking is welcome while "
            "accuracy rises with it",
            meaning="responses are twice as long as at the beginning",
            advice="compare with the cell's reward; learner.loss_mean = sequence weighs long "
            "responses less",
        ),
        Rule(
            name="thinking_vanishes",
            measure="tokens",
            scopes=SOLVERS,
            side=Side.BELOW,
            severity=Severity.NOTICE,
            ratio=0.5,
            reason="healthy: within 25 % of the beginning; the answer alone is the shorter half",
            meaning="solvers answer with half the tokens: the think part is being dropped",
            advice="compare with the cell's reward and with held-out accuracy",
        ),
        Rule(
            name="entropy_collapse",
            measure="entropy",
            scopes=(RUN,),
            side=Side.BELOW,
            ratio=0.4,
            reason="healthy: within 4 % of the beginning; a policy without entropy samples the "
            "same attempt every time, so no group has signal",
            meaning="the policy has become nearly deterministic",
            advice="raise learner.entropy_coefficient, lower learner.learning_rate or "
            "learner.max_staleness",
        ),
        Rule(
            name="entropy_blow_up",
            measure="entropy",
            scopes=(RUN,),
            side=Side.ABOVE,
            ratio=2.0,
            reason="healthy: within 4 % of the beginning; noise in the weights shows here first",
            meaning="the policy is dissolving into noise",
            advice="lower learner.learning_rate or learner.entropy_coefficient; look at "
            "logprob_gap and masked_share in metrics.jsonl",
        ),
        Rule(
            name="no_learning_signal",
            measure="reward_std",
            scopes=ALL_CELLS,
            side=Side.BELOW,
            limit=0.05,
            reason="healthy: 0.23 to 0.76; advantages are rewards over their deviation, and "
            "without any the cell's gradient is zero or noise",
            meaning="all rows of this cell earn the same, so it learns nothing",
            advice="see whether its tasks are all solved, never solved, or all invalid",
        ),
        Rule(
            name="one_answer_for_all",
            measure="same_answer",
            scopes=SOLVERS[:2],
            side=Side.ABOVE,
            limit=0.25,
            reason="healthy: 0.00 to 0.03 of the pairs of solved tasks share an answer; 0.25 "
            "is one answer to half of all tasks",
            meaning="different tasks are solved by the same answer: the tasks accept a constant",
            advice="look at `azr tasks list`; programs that ignore their input show as "
            "trivial_programs",
        ),
        Rule(
            name="lookup_tables",
            measure="lookup_table",
            scopes=(cell_name(Role.SOLVE, TaskType.INDUCTION),),
            side=Side.ABOVE,
            limit=0.1,
            reason="healthy: 0.00; hidden pairs refute a table unless they repeat shown ones",
            meaning="induction answers list the shown pairs instead of finding the rule",
            advice="set selfplay.reject_repeated_inputs, raise selfplay.induction_pairs",
        ),
    )
}
"""By name, in the order in which findings are listed."""
