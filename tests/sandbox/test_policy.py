"""The task policy: what it lets through, what it refuses, and the ways around it."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr.sandbox.guest.policy import violation
from azr.sandbox.guest.rules import BANNED_ATTRIBUTES, BANNED_NAMES, SPECIAL


@pytest.mark.parametrize(
    "program",
    [
        "from typing import *\nfrom dataclasses import *\nfrom math import *",
        "import collections\nx = collections.abc.Mapping",
        "import json\ntry: pass\nexcept json.decoder.JSONDecodeError: pass",
        "from collections import abc, namedtuple\nx = abc.Mapping\np._replace(x=1)._asdict()",
        "def f(input, id, hash): return input + [id for id in input] + [hash]",
        "def f(a):\n    vars = [a]\n    def g(): return vars\n    return g()",
        "f = lambda input: input",
        "def f(a): return [input for input in a]",
        "def f(a):\n    try: pass\n    except OSError as exit: print(exit)",
        "class P:\n    def __hash__(self): return hash((1, 2))\n    __eq__ = __lt__",
        "def f(a): return type(a) is type(1) and isinstance(a, type) and list(map(type, [a]))",
        "def f(a: type, b: list[type] = ()) -> type: return type(a)(b)",
        "def f(a): return getattr(a, f'visit_{a}', None) or getattr(a, 'on_' + a)",
        "from operator import attrgetter, methodcaller\nx = attrgetter('a.b', 'c')",
        "import operator\nx = operator.methodcaller('count', 1)",
        "import functools\ndef d(g):\n    @functools.wraps(g)\n    def h(): return g()",
        "import dataclasses as d\n@d.dataclass(frozen=True)\nclass A: x: int = 1",
        "from abc import ABC, ABCMeta\nclass A(metaclass=ABCMeta): pass\nclass B(ABC): pass",
        "def f(self): self.types = self.random = 1; return self.types",
        "__all__ = ['f']\n__version__ = 1",
        "import copy\ndef f(a):\n    b = copy.deepcopy(a); b.x = 1; b[0] = 2; return b",
        "def f(a): return hasattr(a, '__iter__') and a.__len__()",
    ],
)
def test_ordinary_programs_pass(program: str):
    assert violation(ast.parse(program), program) is None


@pytest.mark.parametrize(
    ("program", "what"),
    [
        # a module under another name
        ("import statistics as s, math as s\ns.random", "statistics.random"),
        ("import statistics\ns = statistics\ns.random", "statistics as a value"),
        ("import statistics\n[statistics][0].random", "statistics as a value"),
        ("import statistics\ndef g(m=statistics): return m.random", "statistics as a value"),
        ("import statistics\nclass A: m = statistics", "statistics as a value"),
        ("class A:\n    import statistics\nA.statistics.random", "import in a class"),
        ("class A:\n    if 1:\n        import statistics", "import in a class"),
        ("import statistics\nmatch statistics:\n    case m: m.random", "statistics as a value"),
        ("def f(s):\n    import statistics as s\n    return [s][0].random", "s as a value"),
        ("import collections\nx = collections.abc\nx._sys", "collections.abc as a value"),
        ("import collections as self\nself._sys", "collections._sys"),
        ("import json\njson.decoder.scanner", "json.decoder.scanner"),
        ("import json as j\nj.decoder.re.copyreg", "re.copyreg"),
        # clocks, locks and code that allowed modules carry
        ("from queue import time", "queue.time"),
        ("import queue\nqueue.time()", "queue.time"),
        ("from dataclasses import FunctionType", "dataclasses.FunctionType"),
        ("from typing import *\nget_type_hints(f)", "get_type_hints"),
        ("import string\nstring.Formatter().get_field('0.x', (1,), {})", "string.Formatter"),
        # attributes by a computed name
        ("getattr((), '__cl' + 'ass__')", "getattr"),
        ("getattr(x, name)", "getattr"),
        ("getattr(x, 'gi_' + 'frame')", "getattr"),
        ("getattr(x, f'{y}')", "getattr"),
        ("getattr(x, *['__class__'])", "getattr"),
        ("g = getattr", "getattr"),
        ("list(map(getattr, [1], ['__class__']))", "getattr"),
        ("from operator import attrgetter\nattrgetter('__class__')", "attrgetter"),
        ("from operator import attrgetter\nattrgetter('a.__class__')", "attrgetter"),
        ("from operator import attrgetter as a\na('__class__')", "operator.attrgetter"),
        ("import operator\ng = operator.attrgetter", ".attrgetter"),
        ("import operator\noperator.methodcaller('__subclasses__')", ".methodcaller"),
        ("import functools as t\nt.update_wrapper(a, b, ['__globals__'])", ".update_wrapper"),
        ("from functools import *\nwraps(a, assigned=['__globals__'])", "wraps"),
        ("match x:\n    case object(gi_frame=g): pass", ".gi_frame"),
        # frames
        ("(i for i in x).gi_frame.f_back.f_globals", ".f_globals"),
        ("try: x\nexcept E as e: e.__traceback__", ".__traceback__"),
        # classes from dictionaries, and code from annotations
        ("type('A', (), {})", "type"),
        ("T = type", "type"),
        ("class M(type): pass", "type"),
        ("type(x)(*y) and type(*x)", "type"),
        ("from abc import ABCMeta\nABCMeta('A', (), {})", "ABCMeta"),
        ("class A: __annotations__ = {'x=1/0': int}", "__annotations__"),
        ("class A: pass\nA.__annotations__ = {}", ".__annotations__"),
        ("from dataclasses import dataclass\ndataclass(A)", "dataclass"),
        ("from dataclasses import dataclass\n@dataclass\n@evil\nclass A: pass", "dataclass"),
        ("from dataclasses import *\nlist(map(dataclass, [A]))", "dataclass"),
        ("class A:\n    def __reduce_ex__(self, n): return (print, ())", "__reduce_ex__"),
        ("class A: __reduce__ = print", "__reduce__"),
        # what outlives a call
        ("import math\nmath.n = 1", "math.n ="),
        ("import math\nmath.n += 1", "math.n ="),
        ("import math\nfor math.n in [1]: pass", "math.n ="),
        ("from collections import Counter as C\nC.seen = []", "C.seen ="),
        ("from collections import Counter\nsetattr(Counter, 'seen', [])", "setattr"),
        ("from copy import dispatch_table", "copy.dispatch_table"),
        ("import copy\ncopy.dispatch_table[int] = 1", "copy.dispatch_table[int] ="),
        # builtins in disguise
        ("open = 1\nopen('/x')", "open"),
        ("class A:\n    x = open('/x')\n    open = 1", "open"),
        ("def f(open):\n    class A:\n        x = open('/x')\n        open = 1", "open"),
        ("[open for open in []]\nopen('/x')", "open"),
        ("def f():\n    [open for open in []]\n    return open('/x')", "open"),
        ("def f():\n    global open\n    open = open('/x')", "open"),
        ("def f(a=open): open = 1", "open"),
        ("def f():\n    def g(open): pass\n    return open", "open"),
        ("lambda: open", "open"),
        ("eval.__call__('1')", "eval"),
        ("print(*[exec])", "exec"),
        ("\uff4f\uff50\uff45\uff4e('/x')", "open"),  # identifiers are normalised
        ("__build_class__(f, 'A', type)", "__build_class__"),
        ("__builtins__['open']", "__builtins__"),
        ("__builtins__ = {}", "__builtins__"),
        ("x . \\\n __class__", ".__class__"),
    ],
)
def test_no_way_around_is_left_open(program: str, what: str):
    found = violation(ast.parse(program), program)
    assert found is not None
    assert found[1] == what


WORDS = sorted(BANNED_NAMES | BANNED_ATTRIBUTES | SPECIAL | {"__class__", "_x", "x", "math", "os"})


@given(
    st.lists(
        st.sampled_from([*WORDS, *"()[].,:=*'\n ", "import ", "lambda ", "class "]), max_size=9
    )
)
def test_the_short_cut_decides_nothing_else(words: list[str]):
    program = "".join(words)
    try:
        tree = ast.parse(program)
    except SyntaxError:
        return
    assert violation(tree, program) == violation(tree)


@pytest.mark.parametrize("depth", [500, 800, 900])
def test_a_program_nested_too_deeply_to_read_is_refused_and_raises_nothing(depth: int):
    deep = "1" + "+1" * depth + "\ndef f(a): return open(a)"
    found = violation(ast.parse(deep), deep)
    assert found in (("banned_construct", "nesting"), ("banned_construct", "open"))
