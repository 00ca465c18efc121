"""Programs that want everything: time, memory, processes, descriptors, encoder."""

from __future__ import annotations

from .case import CONSTRUCT, DENIED, IMPORT, Theme, body

theme = Theme("exhaustion")
case = theme.case
HUNGRY = "oom|timeout"  # touching memory is slow on a busy machine
TOO_LARGE = "output_too_large"

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
    body("D()\nreturn 1", before="class D:\n    def __del__(self):\n        while True: pass"),
    off="timeout",
)
case("loop in C", body("return sum(itertools.repeat(0))", before="import itertools"), off="timeout")
case(
    "loop in a comparison",
    body("return 1 in itertools.repeat(0)", before="import itertools"),
    off="timeout",
)
case(
    "loop in a decorator", "def d(g):\n    while True: pass\n@d\ndef f(a): return a", off="timeout"
)
case("loop in a class body", "class A:\n    while True: pass", off="timeout")
case(
    "loop when its value is looked at",
    body("class A(dict):\n    def items(self):\n        while True: pass\nreturn A()"),
    off="unserialisable",
)
case(
    "loop when its type is named",
    body(
        "return A()",
        before="class M(type):\n    @property\n    def __name__(cls):\n"
        "        while True: pass\nclass A(metaclass=M): pass",
    ),
    off="timeout",
    on=CONSTRUCT,
)
case(
    "ignores SIGXCPU",
    body("while True: pass", before="import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)"),
    off="timeout|runtime_error",
    on=IMPORT,
)
case(
    "blocks every signal",
    body(
        "while True: pass",
        before="import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
    ),
    off="timeout|runtime_error",
    on=IMPORT,
)
case("sleeps", body("time.sleep(60)", before="import time"), off="timeout:wall", on=IMPORT)
case(
    "waits for a lock it holds",
    body("x = functools.RLock()\nq = queue.Queue()\nq.get()", before="import functools, queue"),
    off="timeout:wall",
    on=IMPORT,
)
case(
    "waits for an empty queue",
    body("queue.Queue().get()", before="import queue"),
    off="timeout:wall",
)
case("one long C call", body("return len(str(7 ** (10 ** 7)))"), off="timeout|runtime_error")
case("a factorial", body("return math.factorial(10**7) % 7", before="import math"), off="timeout")
case("a power", body("return pow(7, 10**9) % 10"), off=f"{HUNGRY}|ok")
case(
    "sorts with an endless comparison",
    body(
        "return sorted([A(), A()])",
        before="class A:\n    def __lt__(self, other):\n        while True: pass",
    ),
    off="timeout",
)
case(
    "hashes endlessly",
    body("return {A()}", before="class A:\n    def __hash__(self):\n        while True: pass"),
    off="timeout",
)
case(
    "collides every key",
    body(
        "return len({A(i) for i in range(20000)})",
        before="class A:\n    def __init__(self, i): self.i = i\n"
        "    def __hash__(self): return 1\n    def __eq__(self, o): return self.i == o.i",
    ),
    off="timeout",
)

# --- regular expressions ----------------------------------------------------------------------
for name, pattern, text in (
    ("nested", "(a+)+$", "'a' * 60 + 'b'"),
    ("alternating", "(a|aa)+$", "'a' * 60 + 'b'"),
    ("back-referring", r"(.*)(.*)(.*)(.*)(.*)\\5x", "'a' * 400"),
):
    case(
        f"regex that backtracks: {name}",
        body(f"return bool(re.match('{pattern}', {text}))", before="import re"),
        off="timeout",
    )
case(
    "regex of great size",
    body("return bool(re.compile('(?:' * 90 + 'a{1,9}' + '){1,9}' * 90))", before="import re"),
    off="ok|runtime_error|oom|timeout",
)
case(
    "regex nested too deeply",
    body("return bool(re.compile('(' * 5000 + ')' * 5000))", before="import re"),
    off="runtime_error:RecursionError|ok|killed",
)

# --- memory -----------------------------------------------------------------------------------
case("allocates at once", body("return len(bytearray(1 << 40))"), off="oom")
case("allocates slowly", body("x = []\nwhile True: x.append(bytes(1 << 24))"), off=HUNGRY)
case("allocates small things", body("x = []\nwhile True: x.append([x])"), off=HUNGRY)
case("allocates at import", "x = [0] * 10**11", off="oom")
case("doubles a string", body("x = 'x'\nwhile True: x += x"), off=HUNGRY)
case("pads a string", body("return len(' '.ljust(10**12))"), off="oom")
case("formats a wide field", body("return len('%0*d' % (10**9, 1))"), off="oom")
case("repeats a pattern", body("return len('ab'.replace('', 'x' * 10**6) * 10**6)"), off="oom")
case("an integer of great size", body("return (1 << (1 << 34)) & 1"), off="oom|runtime_error")
case("a table of great size", body("return len([[0] * 10**6 for _ in range(10**6)])"), off=HUNGRY)
case(
    "permutations in a list",
    body("return len(list(itertools.permutations(range(12))))", before="import itertools"),
    off=HUNGRY,
)
case(
    "a product that is stored first",
    body("return bool(itertools.product(range(10**10), repeat=2))", before="import itertools"),
    off="oom|runtime_error",
)
case(
    "a decimal of great precision",
    body(
        "getcontext().prec = 10**9\nreturn str(Decimal(1) / 3)[:3]", before="from decimal import *"
    ),
    off="oom|timeout|runtime_error|killed",
)
case(
    "swallows MemoryError",
    body("try: bytearray(1 << 40)\nexcept MemoryError: return 'caught'"),
    off="ok",
)
case(
    "maps anonymous memory",
    body("mmap.mmap(-1, 1 << 40)", before="import mmap"),
    off="runtime_error:OSError",
    on=IMPORT,
)
case(
    "maps memory without reserve",
    body("mmap.mmap(-1, 1 << 36, flags=0x4022)", before="import mmap"),
    off="runtime_error:OSError",
    on=IMPORT,
)
case(
    "moves the break",
    body(
        "return 1 // (libc.sbrk(1 << 30) in (-1, 0xffffffffffffffff))",
        before="import ctypes\nlibc = ctypes.CDLL(None)\nlibc.sbrk.restype = ctypes.c_ssize_t\n"
        "libc.sbrk.argtypes = [ctypes.c_ssize_t]",
    ),
    off="ok",
    on=IMPORT,
)
case(
    "a deque that grows",
    body("d = deque()\nwhile True: d.extend(range(10**6))", before="from collections import deque"),
    off=f"{HUNGRY}|runtime_error:SystemError",
)

# --- processes, threads, descriptors, disk ----------------------------------------------------
case("a fork bomb", body("while True: os.fork()", before="import os"), off=DENIED, on=IMPORT)
case(
    "a fork bomb that persists",
    body("while True:\n    try: os.fork()\n    except OSError: pass", before="import os"),
    off="timeout",
    on=IMPORT,
)
case(
    "a thread bomb",
    body("while True: _thread.start_new_thread(print, ())", before="import _thread"),
    off="runtime_error:RuntimeError",
    on=IMPORT,
)
case(
    "a timer",
    body("threading.Timer(0, print).start()", before="import threading"),
    off="runtime_error",
    on=IMPORT,
)
case(
    "opens without end",
    body("x = []\nwhile True: x.append(open('/dev/null'))"),
    off="runtime_error:OSError",
    on=CONSTRUCT,
)
case(
    "fills the disk",
    body("with open('/tmp/x', 'wb') as file:\n    while True: file.write(bytes(1 << 20))"),
    off="runtime_error",
    on=CONSTRUCT,
)
case(
    "fills shared memory",
    body(
        "shared_memory.SharedMemory(create=True, size=1 << 30)",
        before="from multiprocessing import shared_memory",
    ),
    off="runtime_error",
    on=IMPORT,
)
case(
    "a temporary file",
    body("tempfile.TemporaryFile()", before="import tempfile"),
    off="runtime_error",
    on=IMPORT,
)

# --- output -----------------------------------------------------------------------------------
case("prints without end", body("while True: print('x' * 10**6)"), off="timeout")
case("prints a little and answers", body("print('x' * 10**6)\nreturn a"), off="ok")
case(
    "errs without end",
    body("while True: sys.stderr.write('x' * 10**6)", before="import sys"),
    off="timeout",
    on=IMPORT,
)
case("a million items", body("return list(range(10**6))"), off=TOO_LARGE)
case("a long string", body("return 'x' * 10**6"), off=TOO_LARGE)
case("a long string of wide letters", body("return chr(0x1F600) * 10**6"), off=TOO_LARGE)
case("long bytes", body("return bytes(10**6)"), off=TOO_LARGE)
case("a huge integer", body("return 1 << 100_000"), off=TOO_LARGE)
case("many large integers", body("return [1 << 12_000] * 999"), off=TOO_LARGE)
case("one list many times", body("x = [0] * 99\nreturn [[x] * 99] * 99"), off=TOO_LARGE)
case(
    "a value that doubles at every level",
    body("x = []\nfor _ in range(45): x = [x, x]\nreturn x"),
    off=TOO_LARGE,
)
case(
    "keys that double",
    body("x = ()\nfor _ in range(45): x = (x, x)\nreturn {(1, x): 1}"),
    off=f"{TOO_LARGE}|timeout",
)  # Python itself hashes each tuple anew
case(
    "an exception that carries much",
    body("raise ValueError('x' * 10**7)"),
    off="runtime_error:ValueError",
)

# --- recursion --------------------------------------------------------------------------------
case("recursion without end", body("return f(a)"), off="runtime_error:RecursionError")
case(
    "recursion limit lifted",
    body("return f(a) + 1", before="import sys\nsys.setrecursionlimit(10**9)"),
    off="oom|killed|runtime_error|timeout",
    on=IMPORT,
)
case(
    "recursion in repr",
    body("x = []\nfor _ in range(10**5): x = [x]\nreturn len(repr(x))"),
    off="runtime_error|killed",
)
case(
    "recursion in a comparison",
    body("x = y = 0\nfor _ in range(10**5): x, y = [x], [y]\nreturn x == y"),
    off="runtime_error|killed",
)
case(
    "recursion in deepcopy",
    body("x = []\nfor _ in range(10**5): x = [x]\nreturn copy.deepcopy(x)", before="import copy"),
    off="runtime_error|killed",
)
case(
    "recursion in a destructor",
    body("x = None\nfor _ in range(10**6): x = (x,)\ndel x\nreturn a"),
    off="ok|killed|timeout|oom",
)
case(
    "recursion in iterators",
    body(
        "x = iter([])\nfor _ in range(10**5): x = itertools.chain(x, ())\nreturn list(x)",
        before="import itertools",
    ),
    off="ok|killed|runtime_error|oom",
)
case(
    "recursion in filters",
    body("x = iter([1])\nfor _ in range(10**5): x = filter(None, x)\nreturn list(x)"),
    off="ok|killed|runtime_error|oom",
)
case(
    "recursion in json",
    body("return json.loads('[' * 10**5)", before="import json"),
    off="runtime_error|killed",
)
case(
    "recursion in getattr",
    body("return A().x", before="class A:\n    def __getattr__(self, name): return self.y"),
    off="runtime_error:RecursionError",
)
case(
    "recursion through exceptions",
    body("try: f(a)\nfinally: f(a)"),
    off="timeout|runtime_error|killed|oom",
)

# --- at exit ----------------------------------------------------------------------------------
LOOP = "def g(*a):\n    while True: pass\n"
case(
    "registers an exit handler",
    body("return a", before=f"import atexit\n{LOOP}atexit.register(g)"),
    off="ok",
    on=IMPORT,
)
case(
    "registers a finaliser",
    body(
        "return a", before=f"import weakref\n{LOOP}class A: pass\nx = A()\nweakref.finalize(x, g)"
    ),
    off="ok|timeout",
    on=IMPORT,
)
case(
    "leaves a loop in a module's destructor",
    body(
        "math.keep = D()\nreturn a",
        before="import math\nclass D:\n    def __del__(self):\n        while True: pass",
    ),
    off="ok",
    on=CONSTRUCT,
)
case(
    "leaves a trace function",
    body("return a", before=f"import sys\n{LOOP}sys.setprofile(g)"),
    off="timeout",
    on=IMPORT,
)
case(
    "leaves an excepthook",
    body("raise KeyError", before=f"import sys\n{LOOP}sys.excepthook = g"),
    off="runtime_error:KeyError",
    on=IMPORT,
)
case(
    "leaves an audit hook",
    body("return a", before=f"import sys\n{LOOP}sys.addaudithook(g)"),
    off="timeout|ok",
    on=IMPORT,
)
case(
    "leaves a collector's callback",
    body("return a", before=f"import gc\n{LOOP}gc.callbacks.append(g)\ngc.set_threshold(1)"),
    off="timeout|ok",
    on=IMPORT,
)
