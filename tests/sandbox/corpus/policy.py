"""Programs that try to talk around the task policy: to a module, a builtin or a frame.

Without the policy all of this is allowed: the jail makes it harmless.
"""

from __future__ import annotations

from .case import ABSENT, CONSTRUCT, IMPORT, Theme, body

theme = Theme("around the policy")
case = theme.case


for name, lines, before, on in (
    ("__import__", "return __import__('os').getpid() > 0", "", CONSTRUCT),
    ("eval", "return eval('1')", "", CONSTRUCT),
    ("exec under another name", "g = exec\ng('x = 1')\nreturn a", "", CONSTRUCT),
    ("compile", "return bool(compile('1', '', 'eval'))", "", CONSTRUCT),
    ("globals", "return '__builtins__' in globals()", "", CONSTRUCT),
    ("the builtins by name", "return bool(__builtins__)", "", CONSTRUCT),
    ("the builtins of a function", "return bool(f.__builtins__)", "", CONSTRUCT),
    ("the globals of a function", "return bool(f.__globals__)", "", CONSTRUCT),
    ("the globals of a library function", "return bool(heapq.merge.__globals__['__builtins__'])",
     "import heapq", CONSTRUCT),
    ("a builtin's module", "return bool(print.__self__)", "", CONSTRUCT),
    ("a module's loader", "return bool(math.__loader__)", "import math", CONSTRUCT),
    ("a module's private attribute", "return collections._sys.maxsize > 0", "import collections",
     CONSTRUCT),
    ("a module that is called self", "return self._sys.maxsize > 0",
     "import collections as self", CONSTRUCT + "|" + IMPORT),
    ("a re-export imported", "return sys.maxsize > 0", "from dataclasses import sys", IMPORT),
    ("a re-export through a variable", "s = typing\nreturn s.sys.maxsize > 0", "import typing",
     CONSTRUCT),
    ("a re-export through a default", "return g()",
     "import typing\ndef g(m=typing): return m.sys.maxsize > 0", CONSTRUCT),
    ("a re-export through a list", "return [typing][0].sys.maxsize > 0", "import typing",
     CONSTRUCT),
    ("a re-export through a class", "return A.typing.sys.maxsize > 0",
     "class A:\n    import typing", CONSTRUCT),
    ("a re-export behind a second meaning", "return s.sys.maxsize > 0",
     "import typing as s\nif 0:\n    import math as s", CONSTRUCT + "|" + IMPORT),
    ("a submodule's re-export", "return bool(json.decoder.scanner)", "import json", IMPORT),
    ("an import in a branch", "import os\nreturn os.getpid() > 0", "", IMPORT),
    ("the subclasses walk", "return len(().__class__.__base__.__subclasses__()) > 0", "",
     CONSTRUCT),
    ("the subclasses walk by computed names",
     "return len(getattr(getattr((), '__cl' + 'ass__'), '__ba' + 'se__')"
     ".__getattribute__(object, '__subclasses__')()) > 0", "", CONSTRUCT),
    ("a computed getattr", "return bool(getattr(print, '__se' + 'lf__').open)", "", CONSTRUCT),
    ("getattr handed on", "return bool(list(map(getattr, [print], ['__self__'])))", "", CONSTRUCT),
    ("an attribute getter", "return bool(operator.attrgetter('__self__.open')(print))",
     "import operator", CONSTRUCT),
    ("a method caller", "return len(operator.methodcaller('__subclasses__')(object)) > 0",
     "import operator", CONSTRUCT),
    ("a formatter's field", "return bool(string.Formatter().get_field('0.__self__', [print], {}))",
     "import string", IMPORT),
    ("a wrapper that copies globals", "g = W()\nreturn '__builtins__' in g.found[0]",
     "import functools, heapq\nclass W:\n    found = []\n    def __setattr__(self, k, v):"
     " self.found.append(v)\nfunctools.update_wrapper(W(), heapq.merge, ['__globals__'])",
     CONSTRUCT),
    ("a match on a dunder", "match a:\n    case object(__class__=c): return c is int", "",
     CONSTRUCT),
    ("a generator's frame", "g = (i for i in [1])\nreturn bool(g.gi_frame.f_builtins)", "",
     CONSTRUCT),
    ("a generator's frame by match",
     "g = (i for i in [1])\nmatch g:\n    case object(gi_frame=x): return bool(x)", "", CONSTRUCT),
    ("an exception's frame",
     "try: 1 / 0\nexcept Exception as e: return bool(e.__traceback__.tb_frame)", "", CONSTRUCT),
    ("a class made by type", "return type('A', (), {'x': 1}).x", "", CONSTRUCT),
    ("a class made by type's type", "return type(int)('A', (), {'x': 1}).x", "", CONSTRUCT),
    ("a metaclass", "return bool(M('A', (), {}))", "class M(type): pass", CONSTRUCT),
    ("code from a string annotation", "return bool(typing.get_type_hints(g))",
     "import typing\ndef g(x: '[__import__(\"os\"), int][1]'): pass", IMPORT),
    ("code through dispatch", "return g(a)",
     "import functools\n@functools.singledispatch\ndef g(x): return 1\n@g.register\n"
     "def _(x: '[__import__(\"os\"), int][1]'): return 2", IMPORT),
    ("attributes set by copying", "return copy.copy(A()).x",
     "import copy\nclass B: pass\nclass A:\n"
     "    def __reduce_ex__(self, n): return B, (), (None, {'x': 1})", CONSTRUCT),
    ("a function from code", "return dataclasses.FunctionType(f.__code__, {}) is not f",
     "import dataclasses", CONSTRUCT + "|" + IMPORT),
    ("a builtin shadowed in another scope", "return [open for open in [1]] and bool(open)", "",
     CONSTRUCT),
    ("a builtin written in other letters", "return bool(\uff4f\uff50\uff45\uff4e)", "", CONSTRUCT),
    ("a name spread over lines", "return bool(f . \\\n  __globals__)", "", CONSTRUCT),
    ("vars", "return bool(vars(int))", "", CONSTRUCT),
    ("help", "return bool(callable(f)) or help", "", CONSTRUCT),
):  # fmt: skip
    case(f"around: {name}", body(lines, before=before), off="ok", on=on)
case(
    "around: code from annotations",
    body(
        "return bool(A)",
        before="from dataclasses import dataclass\n@dataclass\nclass A:\n"
        "    __annotations__ = {'x=[__import__(\"os\")]': int}",
    ),
    off="ok|runtime_error",
    on=CONSTRUCT,
)
# A residue: no reading of a text knows what a variable holds. Nothing that it can make
# leads on to a module, a frame or a built-in that is refused.
case(
    "around: a class made by a variable",
    body("t = type(int)\nreturn t('A', (), {'x': 1}).x"),
    off="ok",
)

case(
    "around: a re-export under an alias",
    body("return e.bltns.open('/x')", before="import enum as e"),
    off=ABSENT,
    on=IMPORT,
)
case(
    "around: an inherited open",
    body("return (i for i in [1]).gi_frame.f_builtins['open']('/x')"),
    off=ABSENT,
    on=CONSTRUCT,
)
case("around: a relative import", "from . import x", off="runtime_error", on=IMPORT)
case("around: a coroutine", "async def f(a):\n    return a", off="unserialisable", on=CONSTRUCT)
case(
    "around: an asynchronous generator",
    body("return {x async for x in a}"),
    off="syntax_error|runtime_error",
    on="syntax_error|banned_construct",
)
case(
    "around: a format string reads, and gets text only",
    body("return '{0.__class__.__name__}'.format(a)"),
    off="ok",
)
