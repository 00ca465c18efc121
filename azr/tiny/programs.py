"""Random programs of the synthetic language, their traces forwards and backwards.

A program is a chain: each statement transforms the one current value. A trace
repeats the statements it passes and notes the value after each (` # value`), so
that every line needs only the program's line and the value above it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from azr.tiny.operations import (
    INT,
    JOININGS,
    LIST,
    OPERATIONS,
    STR,
    Datum,
    Joining,
    Operation,
    draw_datum,
    is_small,
    kind_of,
)

INDENT = "    "
FRESH_NAMES = ("c", "d", "e", "g", "h")
type Line = tuple[str, str]
"""A statement's text with its indentation, and the note of a trace on it."""


class Stuck(Exception):  # noqa: N818 -- a dead end of the search, not an error
    """A draw or an inversion that leads nowhere; draw again."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on the current value; `joining` takes the second argument too."""

    operation: Operation | Joining
    constant: object
    source: str
    target: str

    @property
    def expression(self) -> str:
        return self.operation.template.format(v=self.source, c=constant_text(self.constant))

    @property
    def text(self) -> str:
        return f"{self.target} = {self.expression}"

    def apply(self, value: Datum, second: Datum | None) -> Datum:
        joins = isinstance(self.operation, Joining)
        try:
            result = self.operation.apply(value, second if joins else self.constant)
        except (IndexError, ValueError) as error:  # an empty value has no first or largest item
            raise Stuck from error
        if not is_small(result):
            raise Stuck
        return result

    def undo(self, output: Datum) -> Datum:
        """One input that gives this output."""
        if isinstance(self.operation, Joining):
            raise Stuck
        try:
            value = self.operation.undo(output, self.constant)
        except (IndexError, TypeError) as error:  # an output that this step never gives
            raise Stuck from error
        if value is None or not is_small(value) or kind_of(value) != self.operation.takes:
            raise Stuck
        if self.apply(value, None) != output:
            raise Stuck
        return value


@dataclass(frozen=True, slots=True)
class Condition:
    """`{v} > limit` on an int, `len({v}) > limit` on the others."""

    limit: int

    def text(self, source: str, kind: str) -> str:
        return f"{source} > {self.limit}" if kind == INT else f"len({source}) > {self.limit}"

    def holds(self, value: Datum) -> bool:
        return (value if isinstance(value, int) else len(value)) > self.limit


@dataclass(frozen=True, slots=True)
class Statement:
    """A step, alone or under a condition or in a loop."""

    step: Step
    condition: Condition | None = None
    times: int = 0
    """Iterations, when it is a loop."""
    returned: bool = False
    """The step's expression is returned instead of assigned."""

    @property
    def head(self) -> str:
        """The line that opens the block, or nothing."""
        if self.condition:
            kind = getattr(self.step.operation, "takes", INT)
            return f"{INDENT}if {self.condition.text(self.step.source, kind)}:"
        return f"{INDENT}for i in range({self.times}):" if self.times else ""

    @property
    def body(self) -> str:
        if self.returned:
            return f"{INDENT}return {self.step.expression}"
        return f"{INDENT * 2 if self.head else INDENT}{self.step.text}"

    def forward(self, value: Datum, second: Datum | None) -> tuple[list[Line], Datum]:
        """What a trace says about it, and the value after it."""
        lines: list[Line] = []
        if self.condition:
            holds = self.condition.holds(value)
            lines.append((self.head, repr(holds)))
            if not holds:
                return lines, value
        for _ in range(max(1, self.times)):
            value = self.step.apply(value, second)
            lines.append((self.body, repr(value)))
        return lines, value

    def backward(self, output: Datum) -> tuple[list[Line], Datum]:
        """The same from its output to an input. Raises Stuck where the simple rule fails."""
        if self.condition and not self.condition.holds(output):
            return [(self.head, "False")], output
        lines: list[Line] = []
        value = output
        for _ in range(max(1, self.times)):
            value = self.step.undo(value)
            lines.append((self.body, repr(value)))
        if self.condition:
            if not self.condition.holds(value):
                raise Stuck
            lines.append((self.head, "True"))
        return lines, value


@dataclass(frozen=True, slots=True)
class Program:
    """A chain of statements over `a`, and `b` if there are two kinds."""

    kinds: tuple[str, ...]
    statements: tuple[Statement, ...]

    @property
    def text(self) -> str:
        lines = [f"def f({', '.join('ab'[: len(self.kinds)])}):"]
        for statement in self.statements:
            lines += [line for line in (statement.head, statement.body) if line]
        if not self.statements or not self.statements[-1].returned:
            lines.append(f"{INDENT}return {self.result}")
        return "\n".join(lines)

    @property
    def result(self) -> str:
        return self.statements[-1].step.target if self.statements else "a"

    @property
    def words(self) -> tuple[str, ...]:
        """What each statement does, in one or two words."""
        return tuple(_word(statement) for statement in self.statements)

    def forward(self, inputs: tuple[Datum, ...]) -> tuple[list[Line], Datum]:
        """Trace lines and the output."""
        value, second = inputs[0], inputs[1] if len(inputs) > 1 else None
        lines: list[Line] = []
        for statement in self.statements:
            new, value = statement.forward(value, second)
            lines += new
        return lines, value

    def backward(self, output: Datum) -> tuple[list[Line], tuple[Datum, ...]]:
        """Trace lines from the output up, and inputs that give it."""
        value, rest = output, ()
        lines: list[Line] = []
        for statement in reversed(self.statements):
            if isinstance(statement.step.operation, Joining):
                value, second = _split(statement.step, statement.step.operation, value)
                rest = (second,)
                lines.append((statement.body, f"{value!r}, {second!r}"))
            else:
                new, value = statement.backward(value)
                lines += new
        return lines, (value, *rest)


def constant_text(constant: object) -> str:
    """A constant as it stands in the source; a pair as two arguments."""
    return ", ".join(map(repr, constant)) if isinstance(constant, tuple) else repr(constant)


def _split(step: Step, joining: Joining, output: Datum) -> tuple[Datum, Datum]:
    try:
        first, second = joining.undo(output)
    except IndexError as error:
        raise Stuck from error
    if step.apply(first, second) != output:
        raise Stuck
    return first, second


def _word(statement: Statement) -> str:
    word = statement.step.operation.word
    if statement.condition:
        return f"maybe {word}"
    return f"loop {word}" if statement.times else word


@dataclass(frozen=True, slots=True)
class Drawn:
    """A program with the inputs it was drawn around and what they give."""

    program: Program
    inputs: tuple[Datum, ...]
    lines: list[Line]
    output: Datum


IDENTITY = Program(("str",), ())


def draw_program(rng: random.Random) -> Drawn:
    """A program of one to four statements that runs on the inputs it comes with."""
    while True:
        try:
            return _draw_program(rng)
        except Stuck:
            continue


def draw_inputs(rng: random.Random, program: Program) -> tuple[Datum, ...]:
    """Inputs of the right kinds; the program may still fail on them."""
    return tuple(draw_datum(rng, kind) for kind in program.kinds)


def _draw_program(rng: random.Random) -> Drawn:
    length = rng.choices((1, 2, 3, 4), (40, 35, 17, 8))[0]
    joining = rng.choice(JOININGS) if rng.random() < 0.25 else None
    kinds = joining.takes if joining else (rng.choices((INT, STR, LIST), (4, 3, 3))[0],)
    inputs = tuple(draw_datum(rng, kind) for kind in kinds)
    if joining and joining.word == "copies":
        inputs = (inputs[0], rng.randint(1, 3))
    joins_at = rng.randrange(length) if joining else -1
    renames = rng.random() < 0.3
    value, name = inputs[0], "a"
    statements: list[Statement] = []
    for index in range(length):
        target = FRESH_NAMES[index] if renames else name
        if joining and index == joins_at:
            if kind_of(value) != joining.takes[0]:
                raise Stuck
            statement = Statement(Step(joining, None, name, target))
        else:
            statement = _draw_statement(rng, value, name, target)
        _, value = statement.forward(value, inputs[-1])
        name = statement.step.target
        statements.append(statement)
    statements[-1] = _perhaps_returned(rng, statements[-1])
    program = Program(kinds, tuple(statements))
    return Drawn(program, inputs, *program.forward(inputs))


def _draw_statement(rng: random.Random, value: Datum, name: str, target: str) -> Statement:
    choices = OPERATIONS[kind_of(value)]
    operation = rng.choices(choices, [choice.weight for choice in choices])[0]
    constant = operation.draw(rng, value)
    roll = rng.random()
    if operation.takes == operation.gives and roll < 0.15:
        step = Step(operation, constant, name, name)
        if roll < 0.1:
            size = value if isinstance(value, int) else len(value)
            return Statement(step, Condition(max(0, size + rng.randint(-3, 2))))
        return Statement(step, times=rng.randint(2, 3))
    return Statement(Step(operation, constant, name, target))


def _perhaps_returned(rng: random.Random, last: Statement) -> Statement:
    if last.head or rng.random() < 0.6:
        return last
    return Statement(last.step, returned=True)
