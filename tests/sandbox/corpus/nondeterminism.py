"""Programs that answer differently the next time, in the next process or the next job."""

from __future__ import annotations

from .case import CONSTRUCT, IMPORT, Theme, body

theme = Theme("nondeterminism")
UNSTABLE = "nondeterministic"
SAME, OTHER = "nondeterministic:same process", "nondeterministic:other hash seed"
WORDS = "{'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta', 'theta', 'iota', 'kappa'}"


def case(
    name: str, lines: str, before: str = "", call: str = "1", *, off: str = UNSTABLE, on: str = ""
) -> None:
    program = lines if "def f" in lines else body(lines, before=before)
    theme.case(name, program, call, off=off, on=on, validated=True)


# --- the clock, chance, the machine -----------------------------------------------------------
for name, expression in {
    "the time": "time.time()", "a counter": "time.perf_counter_ns()",
    "the monotonic clock": "time.monotonic_ns()", "its own time": "time.process_time_ns()",
    "the time of day": "time.strftime('%f') + str(time.time_ns())",
}.items():  # fmt: skip
    case(name, f"return {expression}", "import time", on=IMPORT)
case("the date", "return str(datetime.now())", "from datetime import datetime", on=IMPORT)
case("a clock from the queue", "return time()", "from queue import time", on=IMPORT)
for name, expression, module in (
    ("random", "random.random()", "random"),
    ("random seeded anew", "random.seed(); return random.random()", "random"),
    ("a fresh generator", "random.Random().random()", "random"),
    ("the system's generator", "random.SystemRandom().random()", "random"),
    ("a shuffle", "x = list(range(99)); random.shuffle(x); return x", "random"),
    ("bytes of the kernel", "os.urandom(8)", "os"),
    ("random through statistics", "statistics.random.random()", "statistics"),
    ("a sample", "statistics.NormalDist().samples(3)", "statistics"),
):  # fmt: skip
    lines = expression if "return" in expression else f"return {expression}"
    case(name, lines, f"import {module}", on=UNSTABLE if "Normal" in expression else IMPORT)
case(
    "a seeded generator is no chance",
    "return random.Random(7).random()",
    "import random",
    off="ok",
    on=IMPORT,
)
case("the process", "return os.getpid()", "import os", off=OTHER, on=IMPORT)
case("a thread's identity", "return threading.get_ident()", "import threading", on=IMPORT)
case("what a child has used", "return time.thread_time_ns()", "import time", on=IMPORT)
case(
    "the collector's counts",
    "x = [[] for _ in range(a)]\nreturn [gc.get_count(), id(x)]",
    "import gc",
    on=IMPORT,
)
case(
    "a file's time",
    "return time.time_ns() - os.stat('/dev/null').st_mtime_ns",
    "import os, time",
    on=IMPORT,
)

# --- addresses --------------------------------------------------------------------------------
case("an address", "return id(a)", call="'x'", on=CONSTRUCT)
case("low bits of many addresses", "return [id([i]) // 16 % 4096 for i in range(64)]", on=CONSTRUCT)
case("an address without id", "return object.__hash__(object())")
case("a representation", "return repr(object())")
case("a function's representation", "return str(f)")
case("a lambda's representation", "return str([lambda: 1])")
case("a generator's representation", "return f'{(i for i in [1])}'")
case("a method's representation", "return repr(A().g)", "class A:\n    def g(self): pass")
case(
    "an instance's representation in an exception",
    "try: raise ValueError(A())\nexcept ValueError as e: return str(e)",
    "class A: pass",
)
case("a formatted instance", "return '{!r:>99}'.format(A())", "class A: pass")
case(
    "an order by address",
    "return [x.i for x in sorted([A(i) for i in range(40)], key=object.__hash__)]",
    "class A:\n    def __init__(self, i): self.i = i",
    off=f"{UNSTABLE}|ok",
)
case(
    "an order by a set of objects",
    "keep = [[A(i), 'x' * i] for i in range(200)]\nreturn [x.i for x in {k[0] for k in keep}]",
    "class A:\n    def __init__(self, i): self.i = i",
)
case(
    "memory never written",
    "return bytes(ctypes.c_char * 64)",
    "import ctypes",
    off=f"ok|{UNSTABLE}|runtime_error",
    on=IMPORT,
)

# --- hashes -----------------------------------------------------------------------------------
case("the hash of a string", "return hash('a')", off=OTHER, on=CONSTRUCT)
case("the hash of bytes", "return hash(b'a')", off=OTHER, on=CONSTRUCT)
case("the hash of a tuple of strings", "return ('a', 1).__hash__()", off=OTHER)
case("the hash of a frozen set", "return frozenset('ab').__hash__()", off=OTHER)
case("the hash of a type", "return object.__hash__(int) if a else 0")
case(
    "a hash smuggled through a class",
    "return A().__hash__()",
    "class A:\n    def __hash__(self): return hash('a')",
    off=OTHER,
)
case("the order of a set", f"return list({WORDS})", off=OTHER)
case("the order of a frozen set", f"return list(frozenset({WORDS}))", off=OTHER)
case("the first of a set", f"return [{WORDS}.pop() for _ in range(9)]", off=f"{OTHER}|ok")
case("a set as text", f"return str({WORDS})", off=OTHER)
case("a joined set", f"return ','.join({WORDS})", off=OTHER)
case("an unpacked set", f"first, *rest = {WORDS}\nreturn rest", off=OTHER)
case("a dict from a set", f"return list(dict.fromkeys({WORDS}))", off=OTHER)
case("ranks from a set", f"return {{w: i for i, w in enumerate({WORDS})}}", off=OTHER)
case(
    "the difference of two dicts' keys",
    f"return list(dict.fromkeys({WORDS}).keys() - {{'x'}})",
    off=OTHER,
)
case("a maximum with ties", f"return max({WORDS}, key=lambda w: 0)", off=f"{OTHER}|ok")
case(
    "a sum of floats over a set",
    f"return repr(functools.reduce(lambda x, w: x * 1.1 + len(w) / 3 + ord(w[0]), {WORDS}, 0.1))",
    "import functools",
    off=OTHER,
)
case(
    "the hash seed itself",
    "return sys.flags.hash_randomization, hash('x')",
    "import sys",
    off=OTHER,
    on=IMPORT,
)
case("the environment's trace", "return repr(os.environ) + repr(object())", "import os", on=IMPORT)

# --- state between calls ----------------------------------------------------------------------
case(
    "state in a module",
    "math.n = getattr(math, 'n', 0) + 1\nreturn math.n",
    "import math",
    off=SAME,
    on=CONSTRUCT,
)
case(
    "state in a builtin module",
    "builtins.n = getattr(builtins, 'n', 0) + 1\nreturn builtins.n",
    "import builtins",
    off=SAME,
    on=IMPORT,
)
case(
    "state in a library class",
    "C.n = getattr(C, 'n', 0) + 1\nreturn C.n",
    "from collections import Counter as C",
    off=SAME,
    on=CONSTRUCT,
)
case(
    "state in a library's table",
    "t = copy.dispatch_table\nt[f] = 1\nreturn len(t)",
    "import copy",
    off=SAME,
    on=IMPORT,
)
case(
    "state in the module table",
    "sys.modules[str(len(sys.modules))] = sys\nreturn len(sys.modules)",
    "import sys",
    off=SAME,
    on=IMPORT,
)
case(
    "state in the decimal context",
    "getcontext().prec += 1\nreturn getcontext().prec",
    "from decimal import getcontext",
    off=SAME,
)
case(
    "state in an abstract class",
    "known = isinstance('a', Number)\nNumber.register(str)\nreturn known",
    "from numbers import Number",
    off=SAME,
)
case(
    "state in the recursion limit",
    "sys.setrecursionlimit(sys.getrecursionlimit() + 1)\nreturn sys.getrecursionlimit()",
    "import sys",
    off=SAME,
    on=IMPORT,
)
case("state in the interned strings' addresses", "return id('x' * 2)", on=CONSTRUCT)
case(
    "state in a default starts afresh",
    "def f(a, seen=[]):\n    seen.append(a)\n    return len(seen)",
    off="ok",
)
case(
    "state in a global starts afresh",
    "n = 0\ndef f(a):\n    global n\n    n += 1\n    return n",
    off="ok",
)
case(
    "state in its class starts afresh",
    "class A: n = 0\ndef f(a):\n    A.n += 1\n    return A.n",
    off="ok",
)
case(
    "state in its function starts afresh",
    "def f(a):\n    f.n = getattr(f, 'n', 0) + 1\n    return f.n",
    off="ok",
)
case(
    "state in a cache starts afresh",
    "import functools\ncalls = []\n@functools.cache\ndef g(x):\n    calls.append(x)\n    return x\n"
    "def f(a):\n    return [g(a), len(calls)]",
    off="ok",
)
case("mutated input starts afresh", "a.append(1)\nreturn a", call="[]", off="ok")
case("mutated input inside starts afresh", "a[0].clear()\nreturn a", call="[{1: 2}]", off="ok")

# --- no nondeterminism at all -----------------------------------------------------------------
case("a set is one value in any order", f"return {WORDS}", off="ok")
case("a set inside a dict is one value", f"return {{1: [{WORDS}]}}", off="ok")
case("a sorted set", f"return sorted({WORDS})", off="ok")
case("a set of small numbers", "return list({3, 1, 2})", off="ok")
case("the order of a dict", "return list({'b': 1, 'a': 2})", off="ok")
case("NaN is deterministic", "return [float('nan')]", off="ok")
case("a failure is no nondeterminism", "raise KeyError", off="runtime_error:KeyError")
case("an endless loop is judged once", "while True: pass", off="timeout")
case(
    "fails every other time",
    "math.n = getattr(math, 'n', 0) + 1\nif math.n % 2: raise KeyError\nreturn 1",
    "import math",
    off=SAME,
    on=CONSTRUCT,
)
case(
    "fails under one hash seed",
    f"if list({WORDS})[0] < 'gamma': raise KeyError\nif list({WORDS})[0] < 'iota': raise OSError\n"
    "return 1",
    off=f"{OTHER}|runtime_error|ok",
)
case(
    "fails with an address",
    "raise type('E%d' % (id(a) // 16 % 10**9), (Exception,), {})",
    off=f"runtime_error|{UNSTABLE}",
    on=CONSTRUCT,
)
