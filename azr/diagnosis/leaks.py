"""Tasks that give their answer away, and answers that only look like solutions.

Each is a way in which self-play can earn reward without reasoning: the proposer tells
the solver the answer, or proposes what needs none; the solver tables what it was shown.
All are judged from text and syntax, so each can miss a clever case and none executes.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from azr.gates import is_constant, leaked_code
from azr.normal_form import logical_lines
from azr.program_measures import comments
from azr.types import Example, TaskDraft, TaskType
from azr.values import literal

SHORTEST_ANSWER_CHARS = 3
"""Within a longer text; a shorter one (`0`, `'a'`) is there by chance. Alone it counts."""
SHORTEST_BARE_CHARS = 4
"""Of a string that is told without its quotes."""


def gives_answer_away(task: TaskDraft, tree: ast.Module) -> bool:
    """Whether a comment, a docstring or the message holds what the solver has to find.

    Deduction hides the output, abduction the input, an error task the name of a class; an
    induction message must hold neither code of its program nor the output of a hidden pair.
    """
    if task.task_type is TaskType.INDUCTION:
        return bool(leaked_code(task)) or any(
            _says(task.message, literal(example.output)) for example in task.hidden
        )
    [example] = task.examples
    is_abduction = task.task_type is TaskType.ABDUCTION
    hidden = example.arguments if is_abduction else literal(example.output)
    return any(_says(text, hidden) for text in comments(task.program, tree))


def is_trivial(task: TaskDraft, tree: ast.Module) -> bool:
    """Whether the program returns its argument as it is, or never reads its arguments.

    An induction task is trivial also if all its outputs are equal.
    """
    function = _function_f(tree)
    if function is None:
        return False
    several = len(task.examples) > 1
    return (
        _returns_an_argument(function)
        or not _reads_arguments(function)
        or (several and is_constant(task))
    )


def is_lookup_table(answer: str, shown: Sequence[Example]) -> bool:
    """Whether an induction answer holds input and output of most of the shown pairs.

    At least two of them: one may be a special case that the program really has.
    """
    words = _words(answer)
    pairs = {(_words(example.arguments), _words(literal(example.output))) for example in shown}
    tabled = sum(_within(given, words) and _within(output, words) for given, output in pairs)
    return tabled >= max(2, len(pairs) / 2)


def _says(text: str, answer: str) -> bool:
    """Whether `answer`, a literal or argument text, is all of `text` or stands apart in it."""
    if not answer or not text:
        return False
    told, wanted = _words(text), _words(answer)
    if told == wanted:
        return True
    if len(answer) >= SHORTEST_ANSWER_CHARS and (_within(wanted, told) or _stands_in(answer, text)):
        return True
    bare = answer[1:-1] if answer[0] in ("'", '"') else ""
    return len(bare) >= SHORTEST_BARE_CHARS and _stands_in(bare, text)


def _stands_in(part: str, text: str) -> bool:
    """Whether `part` occurs in `text` with no letter or digit touching it."""
    at = text.find(part)
    while at >= 0:
        around = text[:at][-1:] + text[at + len(part) :][:1]
        if not any(char.isalnum() for char in around):
            return True
        at = text.find(part, at + 1)
    return False


def _function_f(tree: ast.Module) -> ast.FunctionDef | None:
    """The last function named f, which is the one that counts."""
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "f"]
    return found[-1] if found else None


def _parameters(function: ast.FunctionDef) -> set[str]:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {parameter.arg for parameter in named if parameter is not None}


def _returns_an_argument(function: ast.FunctionDef) -> bool:
    body = [node for node in function.body if not _is_docstring(node)]
    match body:
        case [ast.Return(value=ast.Name(id=name))]:
            return name in _parameters(function)
    return False


def _reads_arguments(function: ast.FunctionDef) -> bool:
    parameters = _parameters(function)
    return any(
        isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in parameters
        for statement in function.body
        for node in ast.walk(statement)
    )


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _words(text: str) -> tuple[str, ...]:
    """The tokens of a program or of a literal, whatever the layout; else the text itself."""
    lines = logical_lines(f"({text}\n)")  # in brackets, line ends and indents are no tokens
    if not lines:
        return (text,)
    return tuple(_quoted(word) for line in lines for word in line if word.isprintable())[1:-1]


def _quoted(word: str) -> str:
    """A plain string in single quotes, as literals of values are."""
    is_plain = word[:1] == '"' and not set(word[1:-1]) & {'"', "'", "\\"}
    return f"'{word[1:-1]}'" if is_plain and len(word) > 1 else word


def _within(part: Sequence[str], whole: Sequence[str]) -> bool:
    width = len(part)
    return any(whole[at : at + width] == part for at in range(len(whole) - width + 1))
