"""Programs that lie: about their result, about their type, about having ended.

A forged `ok` is worth what returning the same value is worth: no expected value is
inside the jail. Everything that a correct guest would not write is KILLED(protocol).
"""

from __future__ import annotations

from .case import CONSTRUCT, IMPORT, PROTOCOL, Theme, body

theme = Theme("forgery")
case = theme.case
NOT_A_VALUE = "unserialisable"
FRAME = (
    "import json, os, struct, sys\ndef frame(x):\n    t = json.dumps(x).encode()\n"
    "    return b'\\x01R' + struct.pack('<I', len(t)) + t\n"
)

# --- frames -----------------------------------------------------------------------------------
for name, lines, off in (
    ("and gone", "os.write(9, frame(['ok', '42'])); os._exit(0)", "ok"),
    ("and returned", "os.write(9, frame(['ok', '42'])); return 1", PROTOCOL),
    ("and hanging", "os.write(9, frame(['ok', '42']))\nwhile True: pass", "timeout"),
    ("and failing", "os.write(9, frame(['ok', '42'])); os._exit(3)", "killed:exit 3"),
    ("and dying", "os.write(9, frame(['ok', '42'])); os.abort()", "killed"),
    ("twice and gone", "os.write(9, frame(['ok', '42']) * 2); os._exit(0)", PROTOCOL),
    ("byte by byte", "for b in frame(['ok', '42']): os.write(9, bytes([b]))\nos._exit(0)", "ok"),
    ("with a tail", "os.write(9, frame(['ok', '42']) + b'x'); os._exit(0)", PROTOCOL),
    ("behind a second greeting", "os.write(9, b'R' + frame(['ok', '42'])); os._exit(0)", PROTOCOL),
    ("and closed", "os.write(9, frame(['ok', '42'])); os.close(9); os._exit(0)", "ok|killed"),
    ("to every other descriptor",
     "for fd in [*range(3, 9), *range(10, 64)]:\n    try: os.write(fd, frame(['ok', '42']))\n"
     "    except OSError: continue\n    return fd\nreturn -1", "ok"),
    ("on standard output", "os.write(1, frame(['ok', '42'])); return 1", "ok"),
):  # fmt: skip
    case(f"forged {name}", body(lines, before=FRAME), off=off, on=IMPORT)
for name, forged in {
    "an unknown verdict": ["win", "42"],
    "a verdict only the host gives": ["nondeterministic", ""],
    "killed": ["killed", "SIGKILL"],
    "not run": ["not_run", ""],
    "a duplicate": ["duplicate", ""],
    "no canonical text": ["ok", "{'a': 1}"],
    "an empty text": ["ok", ""],
    "an object where text belongs": ["ok", 42],
    "a list where text belongs": ["ok", ["42"]],
    "an object": {"verdict": "ok"},
    "a number": 42,
    "nothing": [],
    "three fields": ["ok", "1", "1"],
    "a detail that is output": ["runtime_error", "x" * 500],
    "a detail with lines": ["runtime_error", "a\nb"],
    "a detail with a terminal's commands": ["runtime_error", "\x1b[2J"],
    "an infinite number": ["ok", "1e999"],
    "NaN as a number": ["ok", "NaN"],
    "an integer of many digits": ["ok", "9" * 5000],
    "an unhashable key": ["ok", '{"d":[[[1],2]]}'],
    "an unhashable member": ["ok", '{"s":[[1]]}'],
    "half a pair": ["ok", '{"d":[[1]]}'],
    "an unknown tag": ["ok", '{"x":[]}'],
    "two tags": ["ok", '{"s":[],"t":[]}'],
    "no tag": ["ok", "{}"],
    "bytes that are none": ["ok", '{"b":"zz"}'],
    "a float that is none": ["ok", '{"f":"1"}'],
    "a complex number of three": ["ok", '{"c":[1.0,2.0,3.0]}'],
    "a lone surrogate": ["ok", '"\\ud800"'],
    "a deep value": ["ok", "[" * 60 + "]" * 60],
    "a value too deep to read": ["ok", "[" * 30_000],
    "a deep frame": None,
}.items():
    text = f"frame({forged!r})" if forged is not None else "deep()"
    deep = "def deep():\n    t = b'[' * 9000\n    return b'\\x01R' + struct.pack('<I', 9000) + t\n"
    case(
        f"forged {name}",
        body(f"os.write(9, {text}); os._exit(0)", before=FRAME + deep),
        off=f"{PROTOCOL}|output_too_large",
        on=IMPORT,
    )
for name, data in {
    "garbage": "b'garbage'",
    "half a frame": "b'\\x01R'",
    "a length without end": "b'\\x01R' + b'\\xff' * 4",
    "a length of 2**31": "b'\\x01R' + b'\\0\\0\\0\\x80'",
    "an empty frame": "b'\\x01R' + b'\\0' * 4",
    "a frame that is not text": "b'\\x01R\\x02\\0\\0\\0\\xff\\xff'",
    "one byte": "b'R'",
}.items():
    case(
        f"on the pipe: {name}",
        body(f"os.write(9, {data}); os._exit(0)", before="import os"),
        off=PROTOCOL,
        on=IMPORT,
    )
case(
    "floods the pipe with frames",
    body("while True: os.write(9, frame(['ok', '1']))", before=FRAME),
    off=f"{PROTOCOL}|output_too_large",
    on=IMPORT,
)
case(
    "floods the pipe with one frame",
    body(
        "os.write(9, b'\\x01R\\xff\\xff\\x7f\\0')\nwhile True: os.write(9, b'x' * 65536)",
        before="import os",
    ),
    off=f"{PROTOCOL}|output_too_large",
    on=IMPORT,
)
case("closes the pipe", body("os.close(9); return 1", before="import os"), off="killed", on=IMPORT)
case(
    "closes the pipe and hangs",
    body("os.close(9)\nwhile True: pass", before="import os"),
    off="killed",
    on=IMPORT,
)
case(
    "puts a file in the pipe's place",
    body("os.close(9)\nwhile os.open('/dev/null', 1) != 9: pass\nreturn 1", before="import os"),
    off="killed",
    on=IMPORT,
)
case(
    "forges a verdict on the program",
    body("os.write(9, frame(['syntax_error', ''])); os._exit(0)", before=FRAME),
    off="syntax_error",
    on=IMPORT,
)

# --- the guest's code -------------------------------------------------------------------------
for name, lines, before, off in (
    ("replaces builtins",
     "builtins.sorted = builtins.len = builtins.type = lambda *x, **k: 0\nreturn a",
     "import builtins", "ok|unserialisable|killed|runtime_error"),
    ("replaces every builtin",
     "for n in dir(builtins):\n    if n[0] != '_': setattr(builtins, n, None)\nreturn a",
     "import builtins", "ok|unserialisable|killed|runtime_error"),
    ("replaces isinstance", "builtins.isinstance = lambda *x: True\nreturn lambda: 1",
     "import builtins", "unserialisable|killed"),
    ("replaces exceptions", "builtins.BaseException = builtins.MemoryError = 3\nraise KeyError",
     "import builtins", "killed|runtime_error"),
    ("replaces the json encoder",
     "json.JSONEncoder.encode = lambda self, o: '[\"ok\", \"99\"]'\nreturn a", "import json", "ok"),
    ("replaces the syntax tree's reader", "ast.parse = None\nreturn a", "import ast", "ok"),
    ("replaces write", "os.write = lambda *x: 0\nreturn a", "import os", "timeout|killed"),
    ("replaces exit", "os._exit = lambda *x: None\nreturn a", "import os", "ok|killed"),
    ("replaces struct", "struct.pack = lambda *x: b''\nreturn a", "import struct", PROTOCOL),
    ("replaces the encoder through its frame",
     "sys._getframe(1).f_globals['encode'] = lambda v, n: '42'\nreturn lambda: 1", "import sys",
     "ok"),
    ("replaces the emitter through its frame",
     "g = sys._getframe(1).f_globals\nemit = g['_emit']\n"
     "g['_emit'] = lambda frame: [emit(frame), emit(frame)]\nreturn a", "import sys", PROTOCOL),
    ("empties the list of calls",
     "x = sys._getframe(2).f_locals['calls']\nx.clear()\nreturn a", "import sys",
     "ok|runtime_error"),
    ("lengthens the list of calls",
     "x = sys._getframe(2).f_locals['calls']\nx.append(x[0])\nreturn a", "import sys",
     f"{PROTOCOL}|runtime_error"),
    ("rewrites its own code object", "f.__code__ = (lambda *x: 9).__code__\nreturn a", "", "ok"),
    ("throws away the interpreter's modules", "sys.modules.clear()\nreturn a", "import sys",
     "ok|killed|runtime_error"),
    ("lies about its memory",
     "ctypes.memset(id(0) + 24, 1, 1)\nreturn 0", "import ctypes",
     "ok|killed|runtime_error|timeout"),
):  # fmt: skip
    on = CONSTRUCT if before in ("", "import json") else IMPORT
    case(name, body(lines, before=before), off=off, on=on)

# --- endings ----------------------------------------------------------------------------------
for name in (
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "StopIteration",
    "RecursionError",
    "BaseException",
    "AssertionError",
):
    case(f"raises {name}", body(f"raise {name}"), off=f"runtime_error:{name}")
case(
    "raises a group",
    body("raise BaseExceptionGroup('x', [KeyboardInterrupt()])"),
    off="runtime_error:BaseExceptionGroup",
)
case("raises a MemoryError of its own", body("raise MemoryError"), off="oom")
case("raises no exception", body("raise 1"), off="runtime_error:TypeError")
case("exits", body("sys.exit(0)", before="import sys"), off="runtime_error:SystemExit", on=IMPORT)
case("quits", body("quit()"), off="runtime_error:NameError", on=CONSTRUCT)
HOSTILE = "type({name!r}, (Exception,), {{}})"
for name, hostile in {
    "of many letters": "x" * 5000, "of two lines": "a\nb", "that is empty": "",
    "of a terminal's commands": "\x1b[2J", "that looks like a verdict": '["ok", "42"]',
}.items():  # fmt: skip
    case(
        f"raises an exception with a name {name}",
        body(f"raise {HOSTILE.format(name=hostile)}"),
        off=f"runtime_error|{PROTOCOL}",
        on=CONSTRUCT,
    )
case(
    "raises an exception whose name raises",
    body(
        "raise E()",
        before="class M(type):\n    @property\n    def __name__(cls): raise KeyError\n"
        "class E(Exception, metaclass=M): pass",
    ),
    off="killed|runtime_error",
    on=CONSTRUCT,
)
case(
    "raises an exception whose text never ends",
    body(
        "raise E()", before="class E(Exception):\n    def __str__(self):\n        while True: pass"
    ),
    off="runtime_error:E",
)

# --- values that lie --------------------------------------------------------------------------
CLASSES = {
    "always equal": ("class A:\n    def __eq__(self, o): return True\n"
                     "    def __repr__(self): return '42'", "A()"),
    "an integer that is always equal": ("class A(int):\n    def __eq__(self, o): return True\n"
                                        "    __hash__ = None", "A(1)"),
    "a string that prints otherwise": ("class A(str):\n    def __repr__(self): return '42'",
                                       "A('x')"),
    "a list that iterates otherwise": ("class A(list):\n    def __iter__(self): return iter([42])",
                                       "A([1])"),
    "a dict with other items": ("class A(dict):\n    def items(self): return [(1, 2)]", "A()"),
    "a float that is anything": ("class A(float):\n    def __eq__(self, o): return True", "A(1)"),
    "a tuple with names": ("from collections import namedtuple\nA = namedtuple('A', 'x')", "A(1)"),
    "an ordered dict": ("from collections import OrderedDict as A", "A(x=1)"),
    "a counter": ("from collections import Counter as A", "A('aab')"),
    "a fraction": ("from fractions import Fraction as A", "A(1, 2)"),
    "a decimal": ("from decimal import Decimal as A", "A('0.1')"),
    "a member of an enumeration": ("from enum import IntEnum\nclass A(IntEnum):\n    X = 1", "A.X"),
    "a liar inside a list": ("class A(int): pass", "[[A(1)]]"),
    "a liar as a key": ("class A(str): pass", "{A('x'): 1}"),
    "a liar in a set": ("class A(int): pass", "{A(1)}"),
    "a class that says it is int": ("class A:\n    @property\n    def __class__(self): return int",
                                    "A()"),
}  # fmt: skip
for name, (before, value) in CLASSES.items():
    on = CONSTRUCT if "__class__" in before else NOT_A_VALUE
    case(f"returns {name}", body(f"return {value}", before=before), off=NOT_A_VALUE, on=on)
for name, value in {
    "a lambda": "lambda: 1", "a generator": "(i for i in [1])", "a class": "int",
    "a range": "range(3)", "a view": "{1: 2}.items()", "a byte array": "bytearray(b'x')",
    "Ellipsis": "...", "NotImplemented": "NotImplemented", "a lone surrogate": "chr(0xD800)",
    "a surrogate in a key": "{chr(0xDFFF): 1}", "itself": "f", "an iterator": "iter([1])",
    "a bound method": "[].append", "an object": "object()",
}.items():  # fmt: skip
    case(f"returns {name}", body(f"return {value}"), off=NOT_A_VALUE)
case("returns a cycle", body("x = []\nx.append(x)\nreturn x"), off=NOT_A_VALUE)
case("returns a cycle of dicts", body("x = {}\nx[1] = [x]\nreturn x"), off=NOT_A_VALUE)
case("returns depth 100", body("x = []\nfor _ in range(100): x = [x]\nreturn x"), off=NOT_A_VALUE)
case("returns a module", body("return math", before="import math"), off=NOT_A_VALUE, on=CONSTRUCT)
case("returns memory", body("return memoryview(b'x')"), off=NOT_A_VALUE, on=CONSTRUCT)
case(
    "changes its value while it is looked at",
    body(
        "x = [1]\nclass A:\n    def __hash__(self): x.append(1); return 1\nx.append(A())\nreturn x"
    ),
    off=NOT_A_VALUE,
)
