"""What process 1 does once, so that each fork is cheap.

A fork's price is paid in page faults: a page that parent and child share is copied when
one of them first writes to it, and CPython writes to whatever it looks at, because it
counts references. So before the first fork all code of a job runs on programs of our
own, which fills caches; then memory is arranged so that a child writes to few shared
pages: reference counts are pinned, and free blocks between live objects are used up,
so that what a child allocates lies together in pages that nobody shares.
"""

import ctypes
import gc
import importlib
import sys
from collections.abc import Callable

_PRELOAD = """
    bisect cmath collections collections.abc copy dataclasses enum fractions functools heapq
    itertools json math numbers operator re string textwrap typing
"""
"""Allowed modules that cost a job milliseconds to import and a fork nearly nothing.

Not statistics or queue: random and threading register after-fork hooks.
"""

REHEARSALS = (
    (
        "def f(a: str, n=2, *rest, **more) -> dict:\n"
        "    counts = {}\n"
        "    for i, ch in enumerate(a.lower()):\n"
        "        counts[ch] = counts.get(ch, 0) + i % n\n"
        "    words = [w[::-1] + str(len(w)) for w in a.split() if w]\n"
        "    total = sum(ord(c) for c in a) // 3 - n ** 2\n"
        "    while total > 100 and not rest:\n"
        "        total -= 17\n"
        "    return {'counts': counts, 'words': sorted(words), 'total': (total, -1.5)}\n",
        "'Ab ab c', n=3",
    ),
    (
        "import math\nfrom collections import Counter\n"
        "class Account:\n"
        "    def __init__(self, start=0):\n"
        "        self.balance = start\n"
        "    def add(self, amount):\n"
        "        if amount < 0:\n"
        "            raise ValueError(f'{amount!r} is negative')\n"
        "        self.balance += amount\n"
        "        return self\n"
        "def f(numbers, limit):\n"
        "    account = Account()\n"
        "    for number in numbers:\n"
        "        try:\n"
        "            account.add(number)\n"
        "        except ValueError:\n"
        "            continue\n"
        "    big = {k for k, v in Counter(numbers).items() if v >= limit}\n"
        "    key = lambda pair: (pair[1], pair[0])\n"
        "    return [account.balance, max(zip(numbers, numbers), key=key), big, math.sqrt(16.0),\n"
        "            any(n is None for n in numbers) or ','.join(map(str, numbers)), b'x']\n",
        "[1, -2, 3, 3], 2",
    ),
    ("def f(d):\n    return d", "{'k': [1, (2, None)], 3: {4}, 'x': \"y\"}"),
)
"""Programs and calls that use what most programs use."""
_REPETITIONS = 12
"""Until the interpreter has specialised the code of a job."""

_IMMORTAL = 0xFFFF_FFFF
"""A reference count that CPython 3.12 and 3.13 never change (PEP 683)."""
_SMALL_BLOCKS_BYTES = range(16, 513, 16)
_POOL_BYTES, _POOL_HEADER_BYTES = 16_384, 48
_MAX_FREE_BLOCKS = 20_000
"""Of one size; far more than there can be after start-up."""
_BYTES_OVERHEAD = sys.getsizeof(b"")
_LARGE_BLOCKS_BYTES = (65_536, 32_768, 16_384, 8_192, 4_096, 2_048, *range(1_040, 16, -16))


def preload() -> None:
    """Import what programs may import, where that is worth it."""
    for module in _PRELOAD.split():
        importlib.import_module(module)


def settle(rehearse: Callable[[str, str], object], *, heap_shift: int) -> list[object]:
    """Warm caches and arrange memory; what is returned must stay alive.

    `heap_shift` moves where a child's first objects of each size lie within a page, which
    address randomisation does not: programs whose result depends on it are found out.
    """
    for _ in range(_REPETITIONS):
        for program, call in REHEARSALS:
            rehearse(program, call)
    gc.collect()
    gc.disable()  # a collection now would move what the next lines arrange
    if sys.version_info < (3, 14) and sys.maxsize > 1 << 32 and sys.byteorder == "little":
        _immortalise(gc.get_objects())
    fillers = _use_up_small_blocks(extra_blocks=heap_shift % 7)
    _use_up_large_blocks(extra_bytes=16 * heap_shift)
    gc.freeze()
    gc.enable()
    return fillers


def _immortalise(roots: list[object]) -> None:
    """Pin the reference count of everything that can be reached from `roots`."""
    count_at = ctypes.c_uint32.from_address
    seen: set[int] = set()
    found: list[object] = []
    pending = [*roots]
    own = {id(seen), id(found), id(pending), id(roots)}
    while pending:
        thing = pending.pop()
        if id(thing) not in seen and id(thing) not in own:
            seen.add(id(thing))
            found.append(thing)
            pending.extend(gc.get_referents(thing))
    for thing in found:
        count_at(id(thing)).value = _IMMORTAL


def _use_up_small_blocks(*, extra_blocks: int) -> list[object]:
    """Objects in every free block of pymalloc's half-used pools, and some in a new one."""
    fillers: list[object] = []
    for size in _SMALL_BLOCKS_BYTES:
        for _ in range(_MAX_FREE_BLOCKS):
            filler = _filler(size)
            if id(filler) % _POOL_BYTES == _POOL_HEADER_BYTES:
                break  # the first block of a pool: no older one had room
            fillers.append(filler)
        fillers += [_filler(size) for _ in range(extra_blocks)]
    return fillers


def _filler(size: int) -> object:
    """An object that takes a block of `size` bytes."""
    if size == 16:
        return object()
    if size == 32:
        return float(size) + 0.5
    return bytes(size - _BYTES_OVERHEAD)


def _use_up_large_blocks(*, extra_bytes: int) -> None:
    """Take what malloc has free below a block that lies at the heap's end."""
    malloc = ctypes.PyDLL(None).malloc
    malloc.restype, malloc.argtypes = ctypes.c_size_t, [ctypes.c_size_t]
    end = malloc(100_000)
    for size in _LARGE_BLOCKS_BYTES:
        while malloc(size - 8) < end:
            pass
    malloc(extra_bytes)
