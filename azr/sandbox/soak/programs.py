"""Random programs: generated from a grammar, mutated from real ones, or broken byte by byte.

The n-th program depends on the seed and n alone, so that any of a million can be made
again by itself.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from azr.sandbox.rows import SeedRow
from azr.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class RandomProgram:
    """A program with one call, of which nothing is known."""

    kind: str
    """`generated`, `mutated` or `bytes`."""
    program: str
    call: str


DEFAULT_ROWS: tuple[SeedRow, ...] = tuple(
    SeedRow(program, inputs, ("",) * len(inputs))
    for program, inputs in (
        ("def f(a):\n    return a", ("1", "'x'", "[1, (2,)]")),
        ("def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)", ("12", "3")),
        (
            "def f(words):\n    counts = {}\n    for word in words:\n"
            "        counts[word] = counts.get(word, 0) + 1\n"
            "    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))",
            ("['a', 'b', 'a']", "[]"),
        ),
        (
            "import math\nfrom collections import deque\n\ndef f(n, k=2):\n"
            "    queue, seen = deque([n]), set()\n    while queue:\n        m = queue.popleft()\n"
            "        if m in seen or m > 500:\n            continue\n        seen.add(m)\n"
            "        queue.append(m * k)\n        queue.append(m + math.isqrt(m) + 1)\n"
            "    return sorted(seen)",
            ("1", "7, k=3"),
        ),
        (
            "import re\nclass Stack:\n    def __init__(self):\n        self._items = []\n"
            "    def push(self, item):\n        self._items.append(item)\n"
            "    def pop(self):\n        return self._items.pop()\n\ndef f(text):\n"
            "    stack = Stack()\n    for token in re.findall(r'\\d+|[-+*]', text):\n"
            "        if token.isdigit():\n            stack.push(int(token))\n        else:\n"
            "            b, a = stack.pop(), stack.pop()\n"
            "            stack.push(a + b if token == '+' else a - b if token == '-' else a * b)\n"
            "    return stack.pop()",
            ("'1 2 + 3 *'", "'5'"),
        ),
        (
            "def f(grid):\n    rows, columns = len(grid), len(grid[0])\n"
            "    return [[grid[r][c] for r in range(rows)] for c in range(columns)]",
            ("[[1, 2], [3, 4], [5, 6]]", "[]"),
        ),
        (
            "from functools import lru_cache\nfrom itertools import product\n\ndef f(s, t):\n"
            "    @lru_cache(None)\n    def go(i, j):\n        if i == 0 or j == 0:\n"
            "            return i + j\n        cost = s[i - 1] != t[j - 1]\n"
            "        return min(go(i - 1, j) + 1, go(i, j - 1) + 1, go(i - 1, j - 1) + cost)\n"
            "    return go(len(s), len(t)), len(list(product(s, t)))",
            ("'kitten', 'sitting'",),
        ),
    )
)
"""What is mutated where no file is given."""

_ATOMS = (
    "a",
    "x",
    "y",
    "0",
    "1",
    "-1",
    "2.5",
    "'ab'",
    "b'c'",
    "[]",
    "{}",
    "()",
    "None",
    "True",
)
_OPERATORS = (
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "<<",
    ">>",
    "&",
    "|",
    "^",
    "==",
    "!=",
    "<",
    "<=",
    "and",
    "or",
    "in",
    "is",
)
_CALLS = (
    "len",
    "sorted",
    "list",
    "set",
    "str",
    "sum",
    "max",
    "repr",
    "tuple",
    "range",
    "abs",
    "int",
)
_IMPORTS = (
    "math",
    "re",
    "collections",
    "itertools",
    "json",
    "copy",
    "os",
    "sys",
    "random",
    "time",
)
_SWAPS = {"+": "-", "<": ">", "==": "!=", "and": "or", "True": "False", "append": "remove"}
_TOKENS = re.compile(r"\w+|[^\w\s]+|\s+")


def random_program(seed: int, number: int, rows: Sequence[SeedRow]) -> RandomProgram:
    """The `number`-th program of a seed; `rows` are what is mutated."""
    rng = random.Random(derive_seed(seed, "program", number))  # noqa: S311
    row = rng.choice(rows)
    call = rng.choice(row.inputs) if row.inputs else "1"
    kind = rng.choice(("generated", "mutated", "bytes"))
    if kind == "generated":
        return RandomProgram(kind, _generated(rng), rng.choice(("1", "'ab'", "[3, 1, 2]", call)))
    if kind == "mutated":
        return RandomProgram(kind, _mutated(rng, row.program, rng.choice(rows).program), call)
    broken = _broken(rng, call) if rng.random() < 0.3 else call
    return RandomProgram(kind, _broken(rng, row.program), broken)


# --- from a grammar ---------------------------------------------------------------------------


def _generated(rng: random.Random) -> str:
    imports = [f"import {name}" for name in rng.sample(_IMPORTS, rng.randint(0, 2))]
    lines = [line for _ in range(rng.randint(1, 5)) for line in _statement(rng, 2)]
    body = [f"    {line}" for line in ["x, y = a, [a]", *lines, f"return {_expression(rng, 3)}"]]
    return "\n".join([*imports, "def f(a):", *body])


def _statement(rng: random.Random, depth: int) -> list[str]:
    value = _expression(rng, 2)
    simple = [[f"x = {value}"], [f"y.append({value})"], [f"x += {value}"], [f"a = {value}"]]
    if depth == 0 or rng.random() < 0.5:
        return rng.choice(simple)
    inside = [f"    {line}" for line in _statement(rng, depth - 1)]
    heads = (
        f"for x in {value}:",
        f"if {value}:",
        f"while {value} and len(y) < 50:",
        f"with {value}:",
        "try:",
        "def g(a):",
    )
    head = rng.choice(heads)
    tail = ["except Exception:", f"    x = {value}"] if head == "try:" else []
    return [head, *inside, *tail]


def _expression(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(_ATOMS)
    one, other = _expression(rng, depth - 1), _expression(rng, depth - 1)
    return rng.choice(
        (
            f"({one} {rng.choice(_OPERATORS)} {other})",
            f"{rng.choice(_CALLS)}({one})",
            f"[{one}, {other}]",
            f"{{{one}: {other}}}",
            f"[{one} for x in {other}]",
            f"({one} if {other} else {rng.choice(_ATOMS)})",
            f"(lambda x: {one})({other})",
            f"{one}[{other}]",
            f"f'{{{one}}}'",
        )
    )


# --- from real programs -----------------------------------------------------------------------


def _mutated(rng: random.Random, program: str, other: str) -> str:
    """One to three edits that mostly keep the syntax: lines and tokens change for their like."""
    for _ in range(rng.randint(1, 3)):
        lines = program.split("\n")
        at = rng.randrange(len(lines))
        alike = [
            line for line in (*lines, *other.split("\n")) if _indent(line) == _indent(lines[at])
        ]
        match rng.randrange(6):
            case 0:
                lines[at] = " " * _indent(lines[at]) + "pass"
            case 1:
                lines.insert(at, rng.choice(alike))
            case 2:
                lines[at] = rng.choice(alike)
            case _:
                lines[at] = _with_other_token(rng, lines[at])
        program = "\n".join(lines)
    return program


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _with_other_token(rng: random.Random, line: str) -> str:
    tokens = _TOKENS.findall(line)
    if not tokens:
        return line
    at = rng.randrange(len(tokens))
    token = tokens[at]
    if token.isdigit():
        tokens[at] = str(rng.choice((0, 1, -1, 10**6, int(token[:9]) + 1)))
    elif token in _SWAPS:
        tokens[at] = _SWAPS[token]
    elif token.isidentifier():
        tokens[at] = rng.choice([word for word in tokens if word.isidentifier()])
    return "".join(tokens)


def _broken(rng: random.Random, text: str) -> str:
    """One to eight bytes changed, lost or added; what is no UTF-8 then becomes other text."""
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(3):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randint(1, 4)]
            case _:
                data[at:at] = rng.randbytes(rng.randint(1, 4))
    errors = rng.choice(("replace", "surrogateescape"))
    return bytes(data).decode("utf-8", errors)
