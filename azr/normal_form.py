"""When two programs are the same task: normal forms of program and argument text.

Tokens, not trees: a tokenizer neither recurses nor evaluates, so hostile text costs
time proportional to its (bounded) length. Text that is no Python is its own form.
"""

from __future__ import annotations

import builtins
import io
import keyword
import tokenize
from collections.abc import Iterable, Iterator
from typing import Literal

from azr.types import TaskDraft, TaskType

SameProgram = Literal["text", "tokens", "renamed"]
DuplicateBy = Literal["task", "program"]

_KEPT_NAMES = frozenset(dir(builtins)) | frozenset(keyword.kwlist) | {"f", "match", "case"}
_LAYOUT = {
    tokenize.NEWLINE: "\n",
    tokenize.INDENT: "\x01",
    tokenize.DEDENT: "\x02",
}
_IGNORED = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)


def task_key(draft: TaskDraft, same: SameProgram, by: DuplicateBy = "task") -> tuple[str, ...]:
    """Equal exactly for drafts of one type that repeat each other.

    Same program and same inputs in order; by `program`, the inputs count for induction
    only, whose programs are given.
    """
    if by == "program" and draft.task_type is not TaskType.INDUCTION:
        return (program_form(draft.program, same),)
    inputs = (example.arguments for example in draft.examples)
    if same == "text":
        return (draft.program, *inputs)
    return (program_form(draft.program, same), *map(arguments_form, inputs))


def program_form(program: str, same: SameProgram) -> str:
    """Text that is equal for programs that count as the same (`selfplay.same_program`).

    `tokens` ignores comments, docstrings, blank lines, spacing and the width of
    indentation. `renamed` also replaces each name of the program's own (not `f`, not
    builtins, attributes or keyword arguments) by its rank of first appearance.
    """
    if same == "text":
        return program
    lines = logical_lines(program)
    if lines is None:
        return program
    words = [word for line in lines for word in line]
    return " ".join(_renamed(words) if same == "renamed" else words)


def arguments_form(arguments: str) -> str:
    """Argument text whatever its spacing."""
    lines = logical_lines(f"({arguments}\n)")
    return arguments if lines is None else " ".join(word for line in lines for word in line)


def logical_lines(program: str) -> list[list[str]] | None:
    """The tokens of each logical line; None if the text does not tokenize.

    Lines that are nothing but a string (docstrings) are left out.
    """
    lines: list[list[str]] = []
    layout: list[str] = []
    line: list[str] = []
    only_strings = True
    try:
        for kind, text in _tokens(program):
            if kind in (tokenize.INDENT, tokenize.DEDENT):
                layout.append(text)
            elif kind == tokenize.NEWLINE:
                if not only_strings:
                    lines.append([*layout, *line, text])
                    layout = []
                line, only_strings = [], True
            else:
                line.append(text)
                only_strings = only_strings and kind == tokenize.STRING
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return lines


def _tokens(program: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(program.rstrip() + "\n").readline):
        if token.type not in _IGNORED:
            # The text of an f-string is no name, whatever it spells.
            text = repr(token.string) if token.type == tokenize.FSTRING_MIDDLE else token.string
            yield token.type, _LAYOUT.get(token.type, text)


def _renamed(words: Iterable[str]) -> Iterator[str]:
    listed = list(words)
    own = {word for index, word in enumerate(listed) if _is_own_name(listed, index)}
    ranks: dict[str, str] = {}
    for index, word in enumerate(listed):
        if word in own and listed[index - 1 : index] != ["."]:
            word = ranks.setdefault(word, f"v{len(ranks)}")
        yield word


def _is_own_name(words: list[str], index: int) -> bool:
    """Whether this occurrence says that the program gave the name its meaning.

    A keyword argument (`key=` in a call) does not; the same spelling elsewhere may.
    """
    word = words[index]
    if not word.isidentifier() or word in _KEPT_NAMES:
        return False
    before = words[index - 1] if index else "\n"
    after = words[index + 1] if index + 1 < len(words) else "\n"
    if before in (".", "import", "from") or "import" in words[_line_start(words, index) : index]:
        return False
    is_keyword_argument = before in ("(", ",") and after == "="
    return not is_keyword_argument or "def" in words[_line_start(words, index) : index]


def _line_start(words: list[str], index: int) -> int:
    while index and words[index - 1] not in ("\n", "\x01", "\x02"):
        index -= 1
    return index
