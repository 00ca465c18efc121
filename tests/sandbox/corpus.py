"""Hostile and odd programs, each with what the jail must make of it.

`off` is the accepted outcome without the task policy, when only the jail stands
in the way; `on` with it. An outcome is `verdict`, or `verdict:detail` where the
detail matters; several are separated by `|`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    program: str
    call: str
    off: str
    on: str
    validated: bool
    """Judged by `validate` (three runs) instead of one run."""


CASES: list[Case] = []
IMPORT, CONSTRUCT = "banned_import", "banned_construct"
DENIED = "runtime_error:PermissionError"
ABSENT = "runtime_error:FileNotFoundError"


def case(
    name: str, program: str, call: str = "1", *, off: str, on: str = "", validated: bool = False
) -> None:
    CASES.append(Case(name, program, call, off, on or off, validated))


def body(lines: str, *, before: str = "") -> str:
    """A program whose `f(a)` has these lines."""
    indented = "\n".join("    " + line for line in lines.splitlines())
    return f"{before}\ndef f(a=0, **k):\n{indented}\n"


def syscall(number: int, *arguments: str) -> str:
    """A program that makes a raw system call and raises the errno it got."""
    listed = ", ".join(map(str, (number, *arguments)))
    return body(
        f"r = libc.syscall({listed})\nif r < 0: raise OSError(ctypes.get_errno(), '')\nreturn r",
        before="import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)",
    )


# --- honest programs --------------------------------------------------------------------------
case("identity", body("return a"), off="ok")
case("prints are lost", body("print('x' * 10_000)\nreturn a"), off="ok")
case("no arguments", "def f():\n    return 7", "", off="ok")
case("keywords and defaults", "def f(a, b=1):\n    return a + b", "2, b=3", off="ok")
case("returns its mutated input", body("a.append(1)\nreturn a"), "[0]", off="ok")
case(
    "classes and dunders",
    body(
        "return P(a).__repr__()",
        before=("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int"),
    ),
    off="ok",
)
case(
    "private attributes of self",
    body(
        "return C().get()",
        before=("class C:\n    def __init__(self): self._x = 1\n    def get(self): return self._x"),
    ),
    off="ok",
)
case(
    "allowed imports",
    body(
        "return math.floor(Counter('aab')['a'] / 2)",
        before=("import math\nfrom collections import Counter"),
    ),
    off="ok",
)
case("star import of a pure module", body("return floor(a)", before="from math import *"), off="ok")
case(
    "statistics loads", body("return mean([1, 2])", before="from statistics import mean"), off="ok"
)
case("main guard", "if __name__ == '__main__':\n    1 / 0\ndef f(a):\n    return a", off="ok")
case("recursion to a depth", body("return 0 if a == 0 else f(a - 1)"), "500", off="ok")

# --- plain failures ---------------------------------------------------------------------------
case("no f", "def g(a):\n    return a", off="runtime_error:NameError")
case("f is no function", "f = 3", off="runtime_error:TypeError")
case("wrong arity", "def f(a, b):\n    return a", off="runtime_error:TypeError")
case("raises", body("raise ValueError(a)"), off="runtime_error:ValueError")
case("raises at import", "1 / 0\ndef f(a):\n    return a", off="runtime_error:ZeroDivisionError")
case("recursion without end", body("return f(a)"), off="runtime_error:RecursionError")
case("reads stdin", body("return input()"), off="runtime_error:EOFError", on=CONSTRUCT)
case("SystemExit", body("raise SystemExit(0)"), off="runtime_error:SystemExit")
case("KeyboardInterrupt", body("raise KeyboardInterrupt"), off="runtime_error:KeyboardInterrupt")
case("sys.exit", body("sys.exit(0)", before="import sys"), off="runtime_error", on=IMPORT)
case("empty program", "", off="runtime_error:NameError")

# --- text that should not parse ---------------------------------------------------------------
case("syntax error", "def f(a:\n", off="syntax_error:SyntaxError")
case("bad indentation", "def f(a):\nreturn 1", off="syntax_error:IndentationError")
case("null byte", "def f(a):\n    return 1\0", off="syntax_error")
case("lone surrogate in source", "x = '\ud800'\ndef f(a):\n    return 1", off="syntax_error")
case("parentheses bomb", "x = " + "(" * 3000 + ")" * 3000, off="syntax_error")
case("unary bomb", "x = " + "-" * 30_000 + "1", off="syntax_error|killed")
case("operator bomb", "x = " + "1+" * 15_000 + "1\ndef f(a):\n    return 1", off="ok|syntax_error")
case("huge integer literal", "x = " + "9" * 5000, off="syntax_error")
case("constant folding bomb", body("return len('a' * 10**12)"), off="oom|runtime_error")

# --- time -------------------------------------------------------------------------------------
case("loop at import", "while True: pass", off="timeout")
case(
    "loop that swallows everything",
    body("while True:\n    try:\n        while True: pass\n    except BaseException: pass"),
    off="timeout",
)
case("loop in finally", body("try: return 1\nfinally:\n    while True: pass"), off="timeout")
case(
    "loop in __del__",
    body("D()\nreturn 1", before=("class D:\n    def __del__(self):\n        while True: pass")),
    off="timeout",
)
case(
    "ignores SIGXCPU",
    body(
        "while True: pass", before=("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)")
    ),
    off="timeout|runtime_error",
    on=IMPORT,
)
case("sleeps", body("time.sleep(60)", before="import time"), off="timeout:wall", on=IMPORT)
case("one long C call", body("return len(str(7 ** (10 ** 7)))"), off="timeout|runtime_error")
case(
    "backtracking regex",
    body("return bool(re.match('(a+)+$', 'a' * 60 + 'b'))", before=("import re")),
    off="timeout",
)

# --- memory and size --------------------------------------------------------------------------
case("allocates at once", body("return len(bytearray(1 << 40))"), off="oom")
case("allocates slowly", body("x = []\nwhile True: x.append(bytes(1 << 24))"), off="oom")
case(
    "swallows MemoryError",
    body("try: bytearray(1 << 40)\nexcept MemoryError: return 'caught'"),
    off="ok",
)
case(
    "recursion limit lifted",
    body("return f(a) + 1", before=("import sys\nsys.setrecursionlimit(10**9)")),
    off="oom|killed|runtime_error|timeout",
    on=IMPORT,
)
case("a million items", body("return list(range(10**6))"), off="output_too_large")
case("a long string", body("return 'x' * 10**6"), off="output_too_large")
case("a huge integer", body("return 1 << 100_000"), off="output_too_large")
case("one list many times", body("x = [0] * 99\nreturn [[x] * 99] * 99"), off="output_too_large")

# --- values -----------------------------------------------------------------------------------
NOT_A_VALUE = "unserialisable"
case("returns a lambda", body("return lambda: 1"), off=NOT_A_VALUE)
case("returns a generator", body("return (i for i in [1])"), off=NOT_A_VALUE)
case(
    "returns an always-equal object",
    body(
        "return A()",
        before=(
            "class A:\n    def __eq__(self, other): return True\n"
            "    def __repr__(self): return '42'"
        ),
    ),
    off=NOT_A_VALUE,
)
case(
    "returns a lying subclass",
    body("return I(1)", before=("class I(int):\n    def __eq__(self, other): return True")),
    off=NOT_A_VALUE,
)
case("returns a frozenset", body("return frozenset([1])"), off="ok")
case("returns infinity", body("return 1e308 * 10"), off="ok")
case("returns NaN", body("return [float('nan')]"), off="ok")
case("returns a cycle", body("x = []\nx.append(x)\nreturn x"), off=NOT_A_VALUE)
case("returns depth 100", body("x = []\nfor _ in range(100): x = [x]\nreturn x"), off=NOT_A_VALUE)
case("returns a lone surrogate", body("return chr(0xD800)"), off=NOT_A_VALUE)
case("returns Ellipsis", body("return ..."), off=NOT_A_VALUE)
case(
    "returns everything allowed",
    body("return [None, True, 1, -2.5, 'é', b'x', 1j, (1,), {'a': {1, 2}}]"),
    off="ok",
)

# --- the file system --------------------------------------------------------------------------
case("reads /etc/passwd", body("return open('/etc/passwd').read()"), off=ABSENT, on=CONSTRUCT)
case("reads /proc", body("return open('/proc/1/environ').read()"), off=ABSENT, on=CONSTRUCT)
case(
    "lists the root",
    body("return sorted(os.listdir('/'))", before="import os"),
    off="ok",
    on=IMPORT,
)
case("writes the library", body("open('/usr/lib/x', 'w')"), off="runtime_error", on=CONSTRUCT)
case("writes /tmp", body("open('/tmp/x', 'w')"), off="runtime_error", on=CONSTRUCT)
case(
    "writes through /dev/null's folder",
    body("open('/dev/x', 'w')"),
    off="runtime_error",
    on=CONSTRUCT,
)
case("makes a folder", body("os.mkdir('/d')", before="import os"), off=DENIED, on=IMPORT)
case(
    "the environment is empty",
    body("return dict(os.environ) or 1 / 0", before="import os"),
    off="runtime_error:ZeroDivisionError",
    on=IMPORT,
)
case("leaves the root", body("os.chroot('/usr')", before="import os"), off=DENIED, on=IMPORT)

# --- processes, privileges, the network -------------------------------------------------------
case("forks", body("return os.fork()", before="import os"), off=DENIED, on=IMPORT)
case(
    "executes",
    body("os.execv('/usr/bin/python', ['x'])", before="import os"),
    off=DENIED,
    on=IMPORT,
)
case(
    "spawns",
    body("os.posix_spawn('/usr/bin/python', ['x'], {})", before="import os"),
    off=DENIED,
    on=IMPORT,
)
case(
    "starts a thread",
    body("t = threading.Thread(target=print)\nt.start()", before=("import threading")),
    off="runtime_error",
    on=IMPORT,
)
case("kills process 1", body("os.kill(1, 9)", before="import os"), off=DENIED, on=IMPORT)
case("kills everything", body("os.kill(-1, 9)", before="import os"), off=DENIED, on=IMPORT)
case(
    "signals itself",
    body("signal.raise_signal(9)", before="import signal"),
    off="runtime_error|killed",
    on=IMPORT,
)
case("becomes root", body("os.setuid(0)", before="import os"), off=DENIED, on=IMPORT)
case(
    "is not root",
    body("return 1 // os.stat('/dev/null').st_uid and 1", before="import os"),
    off="ok|runtime_error",
    on=IMPORT,
)
case(
    "lifts its limits",
    body("resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", before=("import resource")),
    off="runtime_error",
    on=IMPORT,
)
case("opens a socket", body("socket.socket()", before="import socket"), off=DENIED, on=IMPORT)
case(
    "opens a unix socket",
    body("socket.socketpair()", before="import socket"),
    off=DENIED,
    on=IMPORT,
)
for name, number in {
    "ptrace": 101,
    "process_vm_writev": 311,
    "unshare": 272,
    "mount": 165,
    "bpf": 321,
    "io_uring_setup": 425,
    "keyctl": 250,
    "shmget": 29,
    "memfd_create": 319,
    "userfaultfd": 323,
    "perf_event_open": 298,
    "setns": 308,
    "clone3": 435,
    "pidfd_open": 434,
    "prctl": 157,
    "seccomp": 317,
    "x32 getpid": 0x40000000 + 39,
}.items():
    case(f"system call {name}", syscall(number, "0", "0", "0", "0", "0"), off=DENIED, on=IMPORT)
case("aborts", body("os.abort()", before="import os"), off="killed", on=IMPORT)
case(
    "segfaults",
    body("ctypes.string_at(0)", before="import ctypes"),
    off="killed:SIGSEGV",
    on=IMPORT,
)
case("leaves with 0", body("os._exit(0)", before="import os"), off="killed:exit 0", on=IMPORT)
case("leaves with 109", body("os._exit(109)", before="import os"), off="killed:exit 109", on=IMPORT)

# --- forged results ---------------------------------------------------------------------------
FRAME = (
    "import json, os, struct\ndef frame(x):\n    t = json.dumps(x).encode()\n"
    "    return b'\\x01R' + struct.pack('<I', len(t)) + t\n"
)
PROTOCOL = "killed:protocol"
case(
    "forged and gone",
    body("os.write(9, frame(['ok', '42'])); os._exit(0)", before=FRAME),
    off="ok",
    on=IMPORT,
)  # worth what `return 42` is worth
case(
    "forged and returned",
    body("os.write(9, frame(['ok', '42'])); return 1", before=FRAME),
    off=PROTOCOL,
    on=IMPORT,
)
case(
    "forged and hanging",
    body("os.write(9, frame(['ok', '42']))\nwhile True: pass", before=FRAME),
    off="timeout",
    on=IMPORT,
)
case(
    "forged and failing",
    body("os.write(9, frame(['ok', '42'])); os._exit(3)", before=FRAME),
    off="killed:exit 3",
    on=IMPORT,
)
for name, forged in {
    "an unknown verdict": ["win", "42"],
    "a verdict only the host gives": ["nondeterministic", ""],
    "no canonical text": ["ok", "{'a': 1}"],
    "an object where text belongs": ["ok", 42],
    "a detail that is output": ["runtime_error", "x" * 500],
    "an infinite number": ["ok", "1e999"],
    "an unhashable key": ["ok", '{"d":[[[1],2]]}'],
    "three fields": ["ok", "1", "1"],
}.items():
    case(
        f"forged {name}",
        body(f"os.write(9, frame({forged!r})); os._exit(0)", before=FRAME),
        off=PROTOCOL,
        on=IMPORT,
    )
case(
    "forged length",
    body("os.write(9, b'\\x01R' + b'\\xff' * 4); return 1", before="import os"),
    off=PROTOCOL,
    on=IMPORT,
)
case(
    "garbage on the pipe",
    body("os.write(9, b'garbage'); return 1", before="import os"),
    off=PROTOCOL,
    on=IMPORT,
)
case(
    "half a frame",
    body("os.write(9, b'\\x01R'); os._exit(0)", before="import os"),
    off=PROTOCOL,
    on=IMPORT,
)
case(
    "floods the pipe",
    body("while True: os.write(9, frame(['ok', '1']))", before=FRAME),
    off="killed:protocol|output_too_large",
    on=IMPORT,
)
case(
    "closes the pipe and hangs",
    body("os.close(9)\nwhile True: pass", before="import os"),
    off="killed",
    on=IMPORT,
)
case(
    "writes to every other descriptor",
    body(
        "for fd in [*range(3, 9), *range(10, 64)]:\n    try: os.write(fd, b'x')\n"
        "    except OSError: continue\n    return fd\nreturn -1",
        before="import os",
    ),
    off="ok",
    on=IMPORT,
)
case(
    "patches builtins",
    body(
        "builtins.sorted = builtins.len = builtins.type = lambda *x, **k: 0\nreturn a",
        before="import builtins",
    ),
    off="ok|unserialisable|killed|runtime_error",
    on=IMPORT,
)
case(
    "patches the encoder",
    body(
        'json.JSONEncoder.encode = lambda self, o: \'["ok", "99"]\'\nreturn a', before="import json"
    ),
    off="ok",
    on=CONSTRUCT,
)
case(
    "registers an exit handler",
    body("return a", before=("import atexit\ndef g():\n    while True: pass\natexit.register(g)")),
    off="ok",
    on=IMPORT,
)

# --- ways around the policy -------------------------------------------------------------------
case("__import__", body("return __import__('os').getpid() > 0"), off="ok", on=CONSTRUCT)
case("eval", body("return eval('1')"), off="ok", on=CONSTRUCT)
case(
    "a module's private attribute",
    body("return collections._sys.maxsize > 0", before=("import collections")),
    off="ok",
    on=CONSTRUCT,
)
case(
    "the subclasses walk",
    body("return len(().__class__.__base__.__subclasses__()) > 0"),
    off="ok",
    on=CONSTRUCT,
)
case(
    "a match on a dunder",
    body("match a:\n    case object(__class__=c): return c is int"),
    off="ok",
    on=CONSTRUCT,
)
case(
    "a re-exported module",
    body("return statistics.random.random()", before="import statistics"),
    off="nondeterministic",
    on=IMPORT,
    validated=True,
)
case(
    "a re-export imported",
    body("return sys.maxsize > 0", before="from dataclasses import sys"),
    off="ok",
    on=IMPORT,
)
case(
    "a re-export under an alias",
    body("return e.bltns.open('/x')", before="import enum as e"),
    off=ABSENT,
    on=IMPORT,
)
case("a relative import", "from . import x", off="runtime_error", on=IMPORT)
case("an import in a branch", body("import os\nreturn os.getpid() > 0"), off="ok", on=IMPORT)
case("async", "async def f(a):\n    return a", off=NOT_A_VALUE, on=CONSTRUCT)

# --- argument texts (a solver's answers) ------------------------------------------------------
CONSTANT = body("return 42")
for name, call in {
    "a second call": "5); f(6",
    "an expression that always holds": "5) or (1",
    "starred": "*[1]",
    "double-starred": "**{'a': 1}",
    "a lambda": "lambda: 1",
    "a comprehension": "[x for x in (1, 2)]",
    "arithmetic": "5 + 6",
    "an f-string": "f'{1}'",
    "a walrus": "(y := 5)",
    "a name": "f",
    "a call": "print(1)",
    "a generator": "x for x in [1]",
    "nesting": "[" * 600 + "]" * 600,
    "a huge integer": "9" * 5000,
    "length": f"'{'x' * 20_000}'",
    "a null byte": "'\0",
    "an unhashable key": "{[]: 1}",
}.items():
    case(f"argument: {name}", CONSTANT, call, off="bad_input")
case("argument: a comment", CONSTANT, "1 # ) or (1", off="ok")
case("argument: many lines", CONSTANT, "{'a':\n 1}", off="ok")
case("argument: a keyword", CONSTANT, "a=5", off="ok")
case("argument: a set", CONSTANT, "set()", off="ok")

# --- determinism ------------------------------------------------------------------------------
SAME, OTHER = "nondeterministic:same process", "nondeterministic:other hash seed"
case(
    "the clock",
    body("return time.time()", before="import time"),
    off=SAME,
    on=IMPORT,
    validated=True,
)
case(
    "random",
    body("return random.random()", before="import random"),
    off=SAME,
    on=IMPORT,
    validated=True,
)
case(
    "an address", body("return id(a)"), "'x'", off="nondeterministic", on=CONSTRUCT, validated=True
)
case("a representation", body("return repr(object())"), off="nondeterministic", validated=True)
case(
    "the process id",
    body("return os.getpid()", before="import os"),
    off=OTHER,
    on=IMPORT,
    validated=True,
)
case(
    "state in a module",
    body("math.n = getattr(math, 'n', 0) + 1\nreturn math.n", before=("import math")),
    off=SAME,
    on=CONSTRUCT,
    validated=True,
)
case(
    "the order of a set",
    body("return list({'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta'})"),
    off=OTHER,
    validated=True,
)
case("the hash of a string", body("return hash('a')"), off=OTHER, on=CONSTRUCT, validated=True)
case(
    "a set is one value in any order",
    body("return {'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta'}"),
    off="ok",
    validated=True,
)
case(
    "a default that is mutated starts afresh",
    ("def f(a, seen=[]):\n    seen.append(a)\n    return len(seen)"),
    off="ok",
    validated=True,
)
case(
    "input that is mutated starts afresh",
    body("a.append(1)\nreturn a"),
    "[]",
    off="ok",
    validated=True,
)
case(
    "a failure is no nondeterminism",
    body("raise KeyError"),
    off="runtime_error:KeyError",
    validated=True,
)
case("an endless loop is judged once", body("while True: pass"), off="timeout", validated=True)
