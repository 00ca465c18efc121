"""Programs beyond the pretraining language: the harder split.

Pretraining knows chains of one to four statements over one current value, each
perhaps under an `if` or in a `for`. Each structure here adds one thing to that: more
statements, an `else`, a second live value, a `while`, a loop over items, nesting,
a dictionary, a helper function, recursion, expressions within expressions. The
operations inside are mostly known ones, so that what is measured is the structure.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from azr.tiny.operations import INT, LIST, OPERATIONS, STR, Operation, draw_datum
from azr.tiny.programs import FRESH_NAMES, constant_text

REPEATING = "repeating"
"""Inputs of few distinct items: a string of `abc` or a list of 1 to 3."""


@dataclass(frozen=True, slots=True)
class HardProgram:
    """Source text, what inputs it takes, and a hint for induction."""

    structure: str
    text: str
    kind: str
    """`int`, `str`, `list` or `repeating`."""
    message: str


def draw_input(rng: random.Random, kind: str) -> str:
    """The argument text of one call; the program may fail on it."""
    if kind != REPEATING:
        return repr(draw_datum(rng, kind))
    length = rng.randint(2, 6)
    if rng.random() < 0.5:
        return repr("".join(rng.choice("abc") for _ in range(length)))
    return repr([rng.randint(1, 3) for _ in range(length)])


def draw_hard_program(rng: random.Random, structure: str) -> HardProgram:
    """A program of this structure; nothing says yet that it runs or is interesting."""
    lines, kind, message = STRUCTURES[structure](rng)
    return HardProgram(structure, "\n".join(lines), kind, message)


type _Drawn = tuple[list[str], str, str]
"""Lines, kind of input, message."""


def _operation(rng: random.Random, takes: str, gives: str | None = None) -> tuple[Operation, str]:
    """An operation and the text of a constant for it."""
    choices = [op for op in OPERATIONS[takes] if gives is None or op.gives == gives]
    operation = rng.choice(choices)
    return operation, constant_text(operation.draw(rng, draw_datum(rng, takes)))


def _endo(rng: random.Random, kind: str, name: str = "a") -> tuple[str, str]:
    """An expression of `name` that keeps its kind, and its word."""
    operation, constant = _operation(rng, kind, kind)
    return operation.template.format(v=name, c=constant), operation.word


def _kind(rng: random.Random) -> str:
    return rng.choice((INT, STR, LIST))


def _test(rng: random.Random, kind: str, name: str = "a") -> str:
    if kind == INT:
        return rng.choice((f"{name} > {rng.randint(2, 12)}", f"{name} % 2 == 0"))
    return f"len({name}) > {rng.randint(1, 3)}"


def _long_chain(rng: random.Random) -> _Drawn:
    kind = now = _kind(rng)
    lines, words, name = ["def f(a):"], [], "a"
    renames = rng.random() < 0.3
    for index in range(rng.randint(5, 6)):
        operation, constant = _operation(rng, now)
        target = FRESH_NAMES[index % len(FRESH_NAMES)] if renames else "a"
        lines.append(f"    {target} = {operation.template.format(v=name, c=constant)}")
        words.append(operation.word)
        now, name = operation.gives, target
    return [*lines, f"    return {name}"], kind, "first " + " then ".join(words)


def _composed(rng: random.Random) -> _Drawn:
    kind = now = _kind(rng)
    expression, words = "a", []
    for _ in range(rng.randint(2, 3)):
        operation, constant = _operation(rng, now)
        expression = operation.template.format(v=_wrapped(expression), c=constant)
        words.append(operation.word)
        now = operation.gives
    message = "first " + " then ".join(words)
    return ["def f(a):", f"    return {expression}"], kind, message


def _if_else(rng: random.Random) -> _Drawn:
    kind = _kind(rng)
    (first, word), (second, other) = _endo(rng, kind), _endo(rng, kind)
    lines = [
        "def f(a):",
        f"    if {_test(rng, kind)}:",
        f"        a = {first}",
        "    else:",
        f"        a = {second}",
        "    return a",
    ]
    return lines, kind, f"first maybe {word} then maybe {other}"


def _early_return(rng: random.Random) -> _Drawn:
    kind = _kind(rng)
    (first, word), (second, other) = _endo(rng, kind), _endo(rng, kind)
    step, third = _endo(rng, kind)
    lines = [
        "def f(a):",
        f"    a = {step}",
        f"    if {_test(rng, kind)}:",
        f"        return {first}",
        f"    return {second}",
    ]
    return lines, kind, f"first {third} then maybe {word} then maybe {other}"


def _two_values(rng: random.Random) -> _Drawn:
    kind = _kind(rng)
    (first, word), (second, other) = _endo(rng, kind), _endo(rng, kind)
    sign = rng.choice((" + ", " - ")) if kind == INT else " + "
    lines = ["def f(a):", f"    c = {first}", f"    d = {second}", f"    return c{sign}d"]
    joined = {" + ": "plus" if kind == INT else "join", " - ": "minus"}[sign]
    return lines, kind, f"first {word} then {other} then {joined}"


def _while_loop(rng: random.Random) -> _Drawn:
    if rng.random() < 0.5:
        limit, step = rng.randint(1, 9), rng.randint(2, 9)
        lines = ["def f(a):", f"    while a > {limit}:", f"        a = a - {step}", "    return a"]
        return lines, INT, "first loop subtract"
    if rng.random() < 0.5:
        by = rng.randint(2, 4)
        lines = [
            *("def f(a):", "    c = 0", "    while a > 0:"),
            *(f"        a = a - {by}", "        c = c + 1", "    return c"),
        ]
        return lines, INT, "first loop subtract then count"
    kind, cut, word = rng.choice(
        ((STR, "[1:]", "behead"), (STR, "[:-1]", "curtail"), (LIST, "[1:]", "behead"))
    )
    expression, other = _endo(rng, kind)
    lines = [
        *("def f(a):", f"    a = {expression}", f"    while len(a) > {rng.randint(1, 3)}:"),
        *(f"        a = a{cut}", "    return a"),
    ]
    return lines, kind, f"first {other} then loop {word}"


def _branch_in_loop(rng: random.Random) -> _Drawn:
    (first, word), (second, other) = _endo(rng, INT), _endo(rng, INT)
    lines = [
        *("def f(a):", f"    for i in range({rng.randint(2, 3)}):"),
        *(f"        if {_test(rng, INT)}:", f"            a = {first}"),
        *("        else:", f"            a = {second}", "    return a"),
    ]
    return lines, INT, f"first loop maybe {word} then maybe {other}"


def _nested_loop(rng: random.Random) -> _Drawn:
    kind = rng.choice((INT, STR, LIST))
    (first, word), (second, other) = _endo(rng, kind), _endo(rng, kind)
    lines = [
        *("def f(a):", "    for i in range(2):", f"        a = {first}"),
        *("        for j in range(2):", f"            a = {second}"),
        "    return a",
    ]
    return lines, kind, f"first loop {word} then loop {other}"


def _accumulate(rng: random.Random) -> _Drawn:
    term, word = _endo(rng, INT, "x")
    limit = rng.randint(1, 6)
    guarded = rng.random() < 0.5
    body = (
        [f"        if x > {limit}:", f"            c = c + {_wrapped(term)}"]
        if guarded
        else [f"        c = c + {_wrapped(term)}"]
    )
    lines = ["def f(a):", "    c = 0", "    for x in a:", *body, "    return c"]
    return lines, LIST, f"first loop {'maybe ' if guarded else ''}{word} then sum"


def _build_text(rng: random.Random) -> _Drawn:
    piece, word = _endo(rng, STR, "x")
    body = rng.choice(
        (
            [f"        c = {_wrapped(piece)} + c"],
            [f"        c = c + {piece}"],
            ["        if x > 'c':", f"            c = c + {piece}"],
            ["        if x not in c:", f"            c = c + {piece}"],
        )
    )
    lines = ["def f(a):", "    c = ''", "    for x in a:", *body, "    return c"]
    return lines, STR, f"first loop {word} then join"


def _build_list(rng: random.Random) -> _Drawn:
    term, word = _endo(rng, INT, "x")
    other, also = _endo(rng, INT, "x")
    if rng.random() < 0.5:
        body = [f"        c = c + [{term}]"]
        message = f"first loop {word} then append"
    else:
        body = [
            *(f"        if {_test(rng, INT, 'x')}:", f"            c = c + [{term}]"),
            *("        else:", f"            c = c + [{other}]"),
        ]
        message = f"first loop maybe {word} then maybe {also} then append"
    lines = ["def f(a):", "    c = []", "    for x in a:", *body, "    return c"]
    return lines, LIST, message


def _comprehension(rng: random.Random) -> _Drawn:
    term, word = _endo(rng, INT, "x")
    test = rng.choice(("x % 2 == 0", f"x > {rng.randint(2, 6)}", f"x < {rng.randint(3, 7)}"))
    made = f"[{_wrapped(term)} + {rng.randint(1, 5)} for x in a if {test}]"
    outer, last = rng.choice((("{}", "add"), ("sum({})", "sum"), ("sorted({})[::-1]", "sort")))
    lines = ["def f(a):", f"    return {outer.format(made)}"]
    return lines, LIST, f"first keep then {word} then {last}"


def _count_items(rng: random.Random) -> _Drawn:
    result, word = rng.choice(
        (
            ("c", "count"),
            ("max(c.values())", "count then largest"),
            ("len(c)", "count then length"),
            ("sorted(c)", "count then sort"),
            ("[c[x] for x in a]", "count then keep"),
            ("min(c.values())", "count then smallest"),
            ("[x for x in c if c[x] > 1]", "count then keep"),
            ("c[a[0]]", "count then first"),
            ("c[a[-1]]", "count then last"),
        )
    )
    lines = [
        *("def f(a):", "    c = {}", "    for x in a:"),
        *("        c[x] = c.get(x, 0) + 1", f"    return {result}"),
    ]
    if rng.random() < 0.5:
        lines.insert(1, "    a = a[::-1]" if rng.random() < 0.5 else "    a = a + a[:1]")
    return lines, REPEATING, f"first loop {word}"


def _two_functions(rng: random.Random) -> _Drawn:
    kind = _kind(rng)
    (inner, word), (outer, other) = _endo(rng, kind, "b"), _endo(rng, kind)
    combined, joined = rng.choice(
        (("g(g(a))", ""), ("g(a) + g(a)", " then double"), (f"g({outer})", f" then {other}"))
    )
    lines = ["def g(b):", f"    return {inner}", "def f(a):", f"    return {combined}"]
    return lines, kind, f"first {word}{joined}"


def _recursion(rng: random.Random) -> _Drawn:
    kind = rng.choice((INT, STR, LIST))
    if kind == INT:
        limit, step, more = rng.randint(1, 4), rng.randint(2, 5), rng.randint(1, 3)
        lines = [
            *("def f(a):", f"    if a < {limit}:", f"        return {rng.choice(('a', '0', '1'))}"),
            f"    return f(a - {step}) + {more}",
        ]
        return lines, INT, "first loop subtract then add"
    last, word = rng.choice((("a[0]", "first"), ("a[0] + a[0]", "double")))
    last = f"[{last}]" if kind == LIST else last
    lines = ["def f(a):", "    if len(a) < 2:", "        return a", f"    return f(a[1:]) + {last}"]
    return lines, kind, f"first loop behead then {word}"


def _wrapped(expression: str) -> str:
    """In parentheses if it has an operator outside brackets."""
    depth = 0
    for character in expression:
        depth += (character in "([") - (character in ")]")
        if character == " " and depth == 0:
            return f"({expression})"
    return expression


STRUCTURES: dict[str, Callable[[random.Random], _Drawn]] = {
    "long chain": _long_chain,
    "composed": _composed,
    "if else": _if_else,
    "early return": _early_return,
    "two values": _two_values,
    "while": _while_loop,
    "branch in loop": _branch_in_loop,
    "nested loop": _nested_loop,
    "accumulate": _accumulate,
    "build text": _build_text,
    "build list": _build_list,
    "comprehension": _comprehension,
    "count items": _count_items,
    "two functions": _two_functions,
    "recursion": _recursion,
}
"""By name, in the order in which the suite takes turns."""
