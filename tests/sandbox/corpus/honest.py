"""Programs without malice, odd ones among them: the jail and the policy must let them be."""

from __future__ import annotations

from .case import CONSTRUCT, IMPORT, Theme, body

theme = Theme("honest")
case = theme.case

case("identity", body("return a"), off="ok")
case("prints are lost", body("print('x' * 10_000)\nreturn a"), off="ok")
case("no arguments", "def f():\n    return 7", "", off="ok")
case("keywords and defaults", "def f(a, b=1):\n    return a + b", "2, b=3", off="ok")
case("returns its mutated input", body("a.append(1)\nreturn a"), "[0]", off="ok")
case(
    "a data class",
    body(
        "return P(a).__repr__()",
        before="from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int",
    ),
    off="ok",
)
case(
    "private attributes of self",
    body(
        "return C().get()",
        before="class C:\n    def __init__(self): self._x = 1\n    def get(self): return self._x",
    ),
    off="ok",
)
case(
    "a hash of its own",
    body(
        "return len({P(1), P(1)})",
        before="class P:\n    def __init__(self, x): self.x = x\n"
        "    def __eq__(self, other): return self.x == other.x\n"
        "    def __hash__(self): return hash((self.x, 1))",
    ),
    off="ok",
)
case("a parameter called input", "def f(input, id=0):\n    return [input, id]", off="ok")
case(
    "allowed imports",
    body(
        "return math.floor(Counter('aab')['a'] / 2)",
        before="import math\nfrom collections import Counter",
    ),
    off="ok",
)
case(
    "star imports",
    body("return [floor(a), Optional is None]", before="from math import *\nfrom typing import *"),
    off="ok",
)
case("statistics", body("return mean([1, 2])", before="from statistics import mean"), off="ok")
case(
    "named tuples",
    body(
        "return tuple(P(1, 2)._replace(x=3))",
        before="from collections import namedtuple\nP = namedtuple('P', 'x y')",
    ),
    off="ok",
)
case(
    "an error of the decoder",
    body(
        "try: json.loads('{')\nexcept json.decoder.JSONDecodeError: return a", before="import json"
    ),
    off="ok",
)
case("a main guard", "if __name__ == '__main__':\n    1 / 0\ndef f(a):\n    return a", off="ok")
case("recursion to a depth", body("return 0 if a == 0 else f(a - 1)"), "500", off="ok")
case(
    "a cached recursion",
    "from functools import lru_cache\n@lru_cache(None)\ndef f(n):\n"
    "    return n if n < 2 else f(n - 1) + f(n - 2)",
    "80",
    off="ok",
)
case(
    "every kind of value",
    body("return [None, True, 1, -2.5, 'é', b'x', 1j, (1,), {'a': {1, 2}}, frozenset([1])]"),
    off="ok",
)
case("numbers beyond the finite", body("return [1e308 * 10, float('nan')]"), off="ok")
case("no f", "def g(a):\n    return a", off="runtime_error:NameError")
case("f is no function", "f = 3", off="runtime_error:TypeError")
case("wrong arity", "def f(a, b):\n    return a", off="runtime_error:TypeError")
case("raises", body("raise ValueError(a)"), off="runtime_error:ValueError")
case("raises at import", "1 / 0\ndef f(a):\n    return a", off="runtime_error:ZeroDivisionError")
case("reads standard input", body("return input()"), off="runtime_error:EOFError", on=CONSTRUCT)
case("an empty program", "", off="runtime_error:NameError")
case("a syntax error", "def f(a:\n", off="syntax_error:SyntaxError")
case("bad indentation", "def f(a):\nreturn 1", off="syntax_error:IndentationError")
case("a null byte", "def f(a):\n    return 1\0", off="syntax_error")
case("a lone surrogate", "x = '\ud800'\ndef f(a):\n    return 1", off="syntax_error")
case("names the separator", body("return os.sep", before="import os"), off="ok", on=IMPORT)
