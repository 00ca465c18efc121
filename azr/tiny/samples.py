"""Training texts: the six compact prompts with responses that keep the contract.

A proposal's think part is a plan. A solution's is work shown: the trace forwards for
deduction, backwards for abduction, and on the first shown pair for induction. As in text
that people write, how much of the work is shown varies, and mostly it is none
(`SHOWN_WORK`). Every answer is right; which way serves a small model best is left for
reinforcement to find.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from azr.prompts import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN, fence
from azr.task_types import MAIN_CELLS
from azr.tiny.operations import INT, LIST, STR, Datum
from azr.tiny.programs import (
    IDENTITY,
    Drawn,
    Line,
    Program,
    Stuck,
    draw_inputs,
    draw_program,
)
from azr.tiny.reserved import is_reserved, programs_in
from azr.types import Cell, Proposal, Role, TaskType

type Work = Literal["none", "some", "all"]

MIXTURE: dict[Cell, float] = dict(
    zip(MAIN_CELLS, (0.08, 0.08, 0.09, 0.25, 0.25, 0.25), strict=True)
)
"""Share of the samples of each cell."""
SHOWN_WORK: dict[Work, float] = {"none": 0.55, "some": 0.2, "all": 0.25}
"""Share of the solutions with no trace, one with lines left out, and a whole one."""
MAX_REFERENCES = 6
HELLO = Drawn(IDENTITY, ("Hello world",), [], "Hello world")
"""The identity triplet, from which self-play starts."""


type _Text = tuple[str, list[str], str]
"""Body of the prompt, lines of the think part, answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training text, `prompt + response`; the end-of-sequence token follows."""

    cell: Cell
    prompt: str
    response: str

    @property
    def programs(self) -> list[str]:
        """Every program in it: shown, proposed or answered."""
        return programs_in(self.prompt + self.response)


def generate_samples(
    seed: int, *, reserve: bool = True, work: Mapping[Work, float] = SHOWN_WORK
) -> Iterator[Sample]:
    """An endless stream, the same for the same seed.

    `reserve` leaves out samples with a program that is kept for evaluation; `work` says
    how much of the work solutions show.
    """
    rng = random.Random(seed)  # noqa: S311
    while True:
        cell = rng.choices(MAIN_CELLS, [MIXTURE[cell] for cell in MAIN_CELLS])[0]
        sample = draw_sample(rng, cell, work)
        while reserve and any(map(is_reserved, sample.programs)):
            sample = draw_sample(rng, cell, work)
        yield sample


def draw_sample(rng: random.Random, cell: Cell, work: Mapping[Work, float] = SHOWN_WORK) -> Sample:
    """One sample of this cell."""
    draw = {
        (Role.PROPOSE, TaskType.DEDUCTION): _propose_pair,
        (Role.PROPOSE, TaskType.ABDUCTION): _propose_pair,
        (Role.PROPOSE, TaskType.INDUCTION): _propose_induction,
        (Role.SOLVE, TaskType.DEDUCTION): _solve_deduction,
        (Role.SOLVE, TaskType.ABDUCTION): _solve_abduction,
        (Role.SOLVE, TaskType.INDUCTION): _solve_induction,
    }[cell.role, cell.task_type]
    while True:
        try:
            body, lines, answer = draw(rng)
        except Stuck:
            continue
        think = "\n".join(lines if cell.role is Role.PROPOSE else _shown(rng, lines, work))
        prompt = f"{cell.role} {cell.task_type}{body}{THINK_OPEN}"
        return Sample(cell, prompt, f"{think}{THINK_CLOSE}{ANSWER_OPEN}{answer}{ANSWER_CLOSE}")


def draw_task(rng: random.Random, task_type: TaskType, *, num_pairs: int) -> Proposal:
    """A fresh task of the generator, as one would propose it."""
    return draw_worked_task(rng, task_type, num_pairs=num_pairs)[0]


def draw_worked_task(
    rng: random.Random, task_type: TaskType, *, num_pairs: int
) -> tuple[Proposal, tuple[str, ...]]:
    """A fresh task with its outputs, as the generator's own arithmetic gives them."""
    while True:
        drawn = draw_program(rng)
        if task_type is not TaskType.INDUCTION:
            arguments = (arguments_text(drawn.inputs),)
            return Proposal(program=drawn.program.text, arguments=arguments), (repr(drawn.output),)
        try:
            pairs = draw_pairs(rng, drawn, num_pairs)
        except Stuck:
            continue
        task = Proposal(
            program=drawn.program.text,
            arguments=tuple(arguments for arguments, _ in pairs),
            message=message_of(rng, drawn.program),
        )
        return task, tuple(output for _, output in pairs)


def arguments_text(inputs: Sequence[Datum]) -> str:
    """Inputs as they stand between the parentheses of a call."""
    return ", ".join(map(repr, inputs))


def draw_pairs(rng: random.Random, drawn: Drawn, count: int) -> list[tuple[str, str]]:
    """`count` distinct input/output pairs as text, on which the program runs.

    Raises Stuck if too few inputs suit the program.
    """
    pairs: dict[str, str] = {arguments_text(drawn.inputs): repr(drawn.output)}
    for _ in range(4 * count):
        inputs = draw_inputs(rng, drawn.program)
        try:
            _, output = drawn.program.forward(inputs)
        except Stuck:
            continue
        pairs[arguments_text(inputs)] = repr(output)
        if len(pairs) == count:
            shuffled = list(pairs.items())
            rng.shuffle(shuffled)
            return shuffled
    raise Stuck


def message_of(rng: random.Random, program: Program) -> str:
    """The operations in words, without constants, some of them left out."""
    if not program.statements:
        return "nothing"
    hidden = rng.random() < 0.3
    words = ["something" if hidden and rng.random() < 0.4 else word for word in program.words]
    return "first " + " then ".join(words)


def _pair_blocks(arguments: str, output: str) -> str:
    return fence("input", arguments) + fence("output", output)


def _trace(start: str, lines: list[Line]) -> list[str]:
    return [start, *(f"{text} # {note}" for text, note in lines)]


def _shown(rng: random.Random, trace: list[str], work: Mapping[Work, float]) -> list[str]:
    """As much of a trace as is shown this time."""
    amount = rng.choices(list(work), list(work.values()))[0] if len(work) > 1 else next(iter(work))
    if amount == "some":
        return [trace[0], *(line for line in trace[1:] if rng.random() < 0.5)]
    return trace if amount == "all" else []


def _plan(program: Program) -> str:
    return " ".join((*program.kinds, *program.words))


def _draw_references(rng: random.Random) -> list[Drawn]:
    roll = rng.random()
    if roll < 0.12:
        return [HELLO]
    count = rng.choices(range(MAX_REFERENCES + 1), (14, 24, 16, 12, 10, 8, 16))[0]
    return [HELLO if rng.random() < 0.05 else draw_program(rng) for _ in range(count)]


def _propose_pair(rng: random.Random) -> _Text:
    shown = "".join(
        fence("python", reference.program.text)
        + _pair_blocks(arguments_text(reference.inputs), repr(reference.output))
        for reference in _draw_references(rng)
    )
    new = draw_program(rng)
    answer = fence("python", new.program.text) + fence("input", arguments_text(new.inputs))
    return f"\n{shown}", [_plan(new.program)], answer


def _propose_induction(rng: random.Random) -> _Text:
    drawn = _draw_identity(rng) if rng.random() < 0.15 else draw_program(rng)
    count = rng.choices(range(4, 11), (10, 10, 40, 10, 10, 8, 12))[0]
    pairs = draw_pairs(rng, drawn, count)
    answer = "".join(fence("input", arguments) for arguments, _ in pairs)
    answer += fence("message", message_of(rng, drawn.program))
    return f" {count}\n{fence('python', drawn.program.text)}", [_plan(drawn.program)], answer


def _draw_identity(rng: random.Random) -> Drawn:
    program = Program((rng.choice((INT, STR, LIST)),), ())
    inputs = draw_inputs(rng, program)
    return Drawn(program, inputs, [], inputs[0])


def _draw_any(rng: random.Random) -> Drawn:
    return _draw_identity(rng) if rng.random() < 0.03 else draw_program(rng)


def _solve_deduction(rng: random.Random) -> _Text:
    drawn = _draw_any(rng)
    arguments = arguments_text(drawn.inputs)
    shown = f"\n{fence('python', drawn.program.text)}{fence('input', arguments)}"
    return shown, _trace(arguments, drawn.lines), fence("output", repr(drawn.output))


def _solve_abduction(rng: random.Random) -> _Text:
    drawn = _draw_any(rng)
    lines, inputs = drawn.program.backward(drawn.output)
    shown = f"\n{fence('python', drawn.program.text)}{fence('output', repr(drawn.output))}"
    return shown, _trace(repr(drawn.output), lines), fence("input", arguments_text(inputs))


def _solve_induction(rng: random.Random) -> _Text:
    drawn = _draw_any(rng)
    pairs = draw_pairs(rng, drawn, rng.choice((2, 3, 3, 3, 4, 5)))
    inputs, lines = drawn.inputs, drawn.lines
    first = (arguments_text(inputs), repr(drawn.output))
    pairs = [first, *(pair for pair in pairs if pair != first)]
    shown = "".join(_pair_blocks(*pair) for pair in pairs)
    shown += fence("message", message_of(rng, drawn.program))
    return f"\n{shown}", _trace(first[0], lines), fence("python", drawn.program.text)
