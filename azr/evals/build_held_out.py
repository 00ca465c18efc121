"""`python -m azr.evals.build_held_out [FILE]`: make the held-out suite, always the same.

1. Replay the stream of the first base, which was pretrained before any program was
   reserved, and keep the normal form of every program in it.
2. Draw candidates: for `in-distribution` from the pretraining generator, of the
   reserved class only; for `harder` from `azr.evals.structures`.
3. Leave out what the stream contains, what the suite has already (up to renaming), and
   problems that give themselves away: an input returned unchanged, an empty or
   constant output, a hidden pair among the shown ones.
4. Have the jail produce each output, and confirm it under its second hash seed.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread
from transformers import PreTrainedTokenizerBase

from azr.config import RunConfig, SandboxSection, SelfPlaySection
from azr.evals.problems import SUITE_FILE, Problem, Split, Suite, to_lines
from azr.evals.structures import STRUCTURES, HardProgram, draw_hard_program, draw_input
from azr.gates import refusal
from azr.normal_form import program_form
from azr.ports import Sandbox
from azr.prompts import CompactPrompts, fence
from azr.sandbox import SandboxPool
from azr.seeds import derive_seed
from azr.task_types import MAIN_TYPES
from azr.tiny.batches import chunk_seed
from azr.tiny.pretrain import Recipe
from azr.tiny.reserved import is_reserved
from azr.tiny.samples import draw_task, generate_samples
from azr.tiny.vocabulary import build_tokenizer
from azr.types import Proposal, Rejection, TaskDraft, TaskType
from azr.validation import task_from
from azr.values import literal

SEED = 0
PER_TYPE = 100
"""Problems of each split and task type."""
INDUCTION_PAIRS = 6
PRETRAINING_SEED, PRETRAINING_TOKENS = 0, 6_000_000
"""Of the first base. Later ones never see a reserved program."""
MAX_PROGRAM_TOKENS = 96
"""So that a response has room to think before it repeats the program."""
MAX_OUTPUT_CHARS = 40
PATIENCE = 5000
"""Candidates after which the next structure has its turn: one with few forms may be spent."""
MAX_PROMPT_TOKENS = RunConfig().prompts.max_prompt_tokens
_EMPTY = ("[]", "''", "{}")
_GATES = SelfPlaySection(
    reject_message_code=True, reject_repeated_inputs=True, reject_constant_outputs=True
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A problem to be, before the jail has seen it."""

    structure: str
    proposal: Proposal


@dataclass(kw_only=True)
class Builder:
    """Draws, filters and validates until every group is full."""

    sandbox: Sandbox
    pretrained: frozenset[str]
    """Normal forms of the programs that the shipped weights have seen."""
    seed: int = SEED
    per_type: int = PER_TYPE
    taken: set[str] = field(default_factory=set)
    counts: dict[Split, Counter[str]] = field(
        default_factory=lambda: {split: Counter() for split in Split}
    )

    _tokenizer: PreTrainedTokenizerBase = field(default_factory=build_tokenizer)

    async def build(self) -> Suite:
        problems: list[Problem] = []
        for split, task_type in itertools.product(Split, MAIN_TYPES):
            problems += await self._group(split, task_type, first_id=len(problems))
        provenance = {
            "seed": self.seed,
            "pretraining_seed": PRETRAINING_SEED,
            "pretraining_tokens": PRETRAINING_TOKENS,
            "pretraining_programs": len(self.pretrained),
            "candidates": {str(split): dict(counts) for split, counts in self.counts.items()},
        }
        return Suite(name="held-out", version=1, provenance=provenance, problems=tuple(problems))

    async def _group(self, split: Split, task_type: TaskType, *, first_id: int) -> list[Problem]:
        rng = random.Random(derive_seed(self.seed, "held-out", split, task_type))  # noqa: S311
        found: list[Problem] = []
        for candidate in _candidates(rng, split, task_type, found):
            draft = await self._examined(split, task_type, candidate)
            if isinstance(draft, str):
                self.counts[split][draft] += 1
                continue
            self.counts[split]["kept"] += 1
            self.taken.add(program_form(draft.program, "renamed"))
            problem = Problem(
                problem_id=f"{split}/{task_type}/{len(found):03}",
                split=split,
                structure=candidate.structure,
                task=draft.with_id(first_id + len(found)),
            )
            found.append(problem)
            if len(found) == self.per_type:
                break
        return found

    async def _examined(
        self, split: Split, task_type: TaskType, candidate: Candidate
    ) -> TaskDraft | str:
        """The task, or why the candidate is left out."""
        proposal = candidate.proposal
        if split is Split.IN_DISTRIBUTION and not is_reserved(proposal.program):
            return "not reserved"
        form = program_form(proposal.program, "renamed")
        if form in self.taken:
            return "in the suite already"
        if form in self.pretrained:
            return "seen in pretraining"
        outcomes = await self.sandbox.validate(proposal.program, proposal.arguments)
        draft = task_from(task_type, proposal, outcomes)
        if isinstance(draft, Rejection):
            return f"jail: {draft.verdict}"
        if self._is_too_long(draft):
            return "too long"
        if any(literal(pair.output) == pair.arguments for pair in draft.examples):
            return "an input is returned unchanged"
        if task_type is not TaskType.INDUCTION and literal(draft.examples[0].output) in _EMPTY:
            return "an empty output"
        refused = refusal(draft, (), _GATES)
        return draft if refused is None else f"gate: {refused.verdict}"

    def _is_too_long(self, draft: TaskDraft) -> bool:
        return (
            any(len(literal(pair.output)) > MAX_OUTPUT_CHARS for pair in draft.examples)
            or self._count(fence("python", draft.program)) > MAX_PROGRAM_TOKENS
            or self._count(CompactPrompts().solve(draft)) > MAX_PROMPT_TOKENS
        )

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text)["input_ids"])


def _candidates(
    rng: random.Random, split: Split, task_type: TaskType, found: Sequence[Problem]
) -> Iterator[Candidate]:
    """Endless; in the harder split each structure has its turn until one of it is found."""
    if split is Split.IN_DISTRIBUTION:
        while True:
            proposal = draw_task(rng, task_type, num_pairs=INDUCTION_PAIRS)
            count = proposal.program.count(" = ") + proposal.program.count("    return ")
            count -= proposal.program.splitlines()[-1].removeprefix("    return ").isidentifier()
            yield Candidate(f"{count} statements" if count > 1 else "1 statement", proposal)
    names = list(STRUCTURES)
    for attempt in itertools.count():
        turn = len(found) + attempt // PATIENCE
        program = draw_hard_program(rng, names[turn % len(names)])
        wanted = INDUCTION_PAIRS if task_type is TaskType.INDUCTION else 1
        yield Candidate(program.structure, _posed(rng, program, wanted))


def _posed(rng: random.Random, program: HardProgram, wanted: int) -> Proposal:
    """The program with distinct inputs; how many there are is bounded by the kind."""
    inputs: dict[str, None] = {}
    while len(inputs) < wanted:
        inputs[draw_input(rng, program.kind)] = None
    message = program.message if wanted > 1 else ""
    return Proposal(program=program.text, arguments=tuple(inputs), message=message)


def pretraining_forms(tokens: int, seed: int = PRETRAINING_SEED) -> frozenset[str]:
    """Normal forms of all programs in the first chunks of the stream that hold `tokens`.

    As the first base saw them: none reserved, every trace whole. A minute for six million.
    """
    tokenizer, recipe = build_tokenizer(), Recipe()
    programs: set[str] = set()
    seen = 0
    for chunk in itertools.count():
        stream = generate_samples(chunk_seed(seed, chunk), reserve=False, work={"all": 1.0})
        samples = list(itertools.islice(stream, recipe.chunk_samples))
        texts = [text for sample in samples for text in (sample.prompt, sample.response)]
        seen += sum(map(len, tokenizer(texts)["input_ids"])) + len(samples)  # and their EOS
        programs.update(program for sample in samples for program in sample.programs)
        if seen >= tokens:
            break
    return frozenset(program_form(program, "renamed") for program in programs)


async def build_suite(*, tokens: int = PRETRAINING_TOKENS, per_type: int = PER_TYPE) -> Suite:
    """The suite; with the defaults, the one that ships."""
    pretrained = await anyio.to_thread.run_sync(pretraining_forms, tokens)
    async with SandboxPool.open(SandboxSection(workers=1)) as sandbox:
        return await Builder(sandbox=sandbox, pretrained=pretrained, per_type=per_type).build()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m azr.evals.build_held_out", description=__doc__)
    default = Path(__file__).with_name(SUITE_FILE)
    parser.add_argument("file", type=Path, nargs="?", default=default)
    file = parser.parse_args().file
    suite = anyio.run(build_suite)
    file.write_text(to_lines(suite), encoding="utf-8")
    sys.stdout.write(f"{file}: {len(suite.problems)} problems\n{suite.provenance}\n")


if __name__ == "__main__":
    main()
