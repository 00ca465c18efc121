"""The operations of the synthetic language: what they read as, do, and undo.

Each is one Python expression over a variable and perhaps a constant, with its
own evaluation, so that nothing is ever executed. `undo` gives one simple
preimage, which teaches abduction a rule that can be learned; it may be wrong
for a given output, so callers check it with `apply`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

type Datum = int | str | list[int]
"""A value of the synthetic language. Lists hold small ints."""

INT, STR, LIST = "int", "str", "list"
LETTERS = "abcdefghxyz"
WORDS = ("Hello world", "Hello", "hello", "cat", "dog", "Abc", "test")


@dataclass(frozen=True, slots=True)
class Operation:
    """`template` has `{v}` for the variable and `{c}` for the constant's text."""

    word: str
    takes: str
    gives: str
    template: str
    apply: Callable[[Any, Any], Datum]
    undo: Callable[[Any, Any], Datum | None]
    draw: Callable[[random.Random, Any], Any] = lambda _rng, _value: None
    """A constant for the value it will meet; None when the template has none."""
    weight: float = 1.0


def kind_of(value: Datum) -> str:
    """`int`, `str` or `list`."""
    return type(value).__name__


def draw_int(rng: random.Random) -> int:
    """Mostly one digit, sometimes two, now and then negative."""
    roll = rng.random()
    if roll < 0.6:
        return rng.randint(0, 9)
    return rng.randint(10, 30) if roll < 0.9 else -rng.randint(1, 9)


def draw_datum(rng: random.Random, kind: str) -> Datum:
    """An input of this kind."""
    if kind == INT:
        return draw_int(rng)
    if kind == LIST:
        return [rng.randint(0, 9) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.04:
        return rng.choice(WORDS)
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 5)))


def is_small(value: Datum) -> bool:
    """Whether a value is short enough to appear in a trace."""
    if isinstance(value, int):
        return -50 < value < 100
    if isinstance(value, str):
        return len(value) <= 11
    return len(value) <= 6 and all(-20 < item < 50 for item in value)


def _between(low: int, high: int) -> Callable[[random.Random, Any], int]:
    return lambda rng, _value: rng.randint(low, high)


def _letters(rng: random.Random, _value: object) -> str:
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 2)))


def _letter_in(rng: random.Random, value: str) -> str:
    return rng.choice([*value, rng.choice(LETTERS)])


def _swap(rng: random.Random, value: str) -> tuple[str, str]:
    return _letter_in(rng, value), rng.choice(LETTERS)


def _item_near(rng: random.Random, value: list[int]) -> int:
    return rng.choice([*value, rng.randint(0, 9)])


def _cut_tail[S: (str, list[int])](out: S, tail: S) -> S | None:
    return out[: len(out) - len(tail)] if out[len(out) - len(tail) :] == tail else None


def _cut_head[S: (str, list[int])](out: S, head: S) -> S | None:
    return out[len(head) :] if out[: len(head)] == head else None


def _halve(out: str) -> str:
    return out[: len(out) // 2]


def _exact(out: int, factor: int) -> int | None:
    return out // factor if out % factor == 0 else None


def _exact_all(out: list[int], factor: int) -> list[int] | None:
    return [x // factor for x in out] if all(x % factor == 0 for x in out) else None


def _number(out: str) -> int | None:
    return int(out) if out.lstrip("-").isdecimal() and out.isascii() else None


def _same[T](out: T, _constant: object) -> T:
    return out


_INT_TO = (
    Operation(
        "add", INT, INT, "{v} + {c}", lambda v, c: v + c, lambda o, c: o - c, _between(1, 9), 2
    ),
    Operation(
        "subtract",
        INT,
        INT,
        "{v} - {c}",
        lambda v, c: v - c,
        lambda o, c: o + c,
        _between(1, 9),
        2,
    ),
    Operation("multiply", INT, INT, "{v} * {c}", lambda v, c: v * c, _exact, _between(2, 3), 1.5),
    Operation("remainder", INT, INT, "{v} % {c}", lambda v, c: v % c, _same, _between(2, 5)),
    Operation(
        "divide", INT, INT, "{v} // {c}", lambda v, c: v // c, lambda o, c: o * c, _between(2, 3)
    ),
    Operation("absolute", INT, INT, "abs({v})", lambda v, _c: abs(v), _same, weight=0.7),
    Operation(
        "flip",
        INT,
        INT,
        "{c} - {v}",
        lambda v, c: c - v,
        lambda o, c: c - o,
        lambda rng, _value: rng.choice((9, 10, 20)),
    ),
    Operation(
        "raise", INT, INT, "max({v}, {c})", lambda v, c: max(v, c), _same, _between(0, 12), 0.7
    ),
    Operation(
        "cap", INT, INT, "min({v}, {c})", lambda v, c: min(v, c), _same, _between(0, 12), 0.7
    ),
    Operation(
        "text", INT, STR, "str({v})", lambda v, _c: str(v), lambda o, _c: _number(o), weight=0.7
    ),
    Operation(
        "pair",
        INT,
        LIST,
        "[{v}, {c}]",
        lambda v, c: [v, c],
        lambda o, _c: o[0],
        _between(0, 9),
        0.7,
    ),
    Operation(
        "repeat",
        INT,
        STR,
        "{c} * {v}",
        lambda v, c: c * v,
        lambda o, _c: len(o),
        lambda r, _v: r.choice(LETTERS),
        0.7,
    ),
)
_STR_TO = (
    Operation("append", STR, STR, "{v} + {c}", lambda v, c: v + c, _cut_tail, _letters, 1.5),
    Operation("prepend", STR, STR, "{c} + {v}", lambda v, c: c + v, _cut_head, _letters, 1.5),
    Operation("reverse", STR, STR, "{v}[::-1]", lambda v, _c: v[::-1], lambda o, _c: o[::-1]),
    Operation("upper", STR, STR, "{v}.upper()", lambda v, _c: v.upper(), lambda o, _c: o.lower()),
    Operation("lower", STR, STR, "{v}.lower()", lambda v, _c: v.lower(), _same, weight=0.5),
    Operation("double", STR, STR, "{v} * 2", lambda v, _c: v * 2, lambda o, _c: _halve(o)),
    Operation("behead", STR, STR, "{v}[1:]", lambda v, _c: v[1:], lambda o, _c: "a" + o),
    Operation("curtail", STR, STR, "{v}[:-1]", lambda v, _c: v[:-1], lambda o, _c: o + "a"),
    Operation("first", STR, STR, "{v}[0]", lambda v, _c: v[0], _same, weight=0.4),
    Operation("replace", STR, STR, "{v}.replace({c})", lambda v, c: v.replace(*c), _same, _swap),
    Operation("length", STR, INT, "len({v})", lambda v, _c: len(v), lambda o, _c: "a" * o),
    Operation(
        "count",
        STR,
        INT,
        "{v}.count({c})",
        lambda v, c: v.count(c),
        lambda o, c: c * o,
        _letter_in,
        0.7,
    ),
)
_LIST_TO = (
    Operation(
        "append",
        LIST,
        LIST,
        "{v} + [{c}]",
        lambda v, c: [*v, c],
        lambda o, c: _cut_tail(o, [c]),
        _between(0, 9),
        1.5,
    ),
    Operation(
        "prepend",
        LIST,
        LIST,
        "[{c}] + {v}",
        lambda v, c: [c, *v],
        lambda o, c: _cut_head(o, [c]),
        _between(0, 9),
        1.5,
    ),
    Operation("reverse", LIST, LIST, "{v}[::-1]", lambda v, _c: v[::-1], lambda o, _c: o[::-1]),
    Operation("sort", LIST, LIST, "sorted({v})", lambda v, _c: sorted(v), _same),
    Operation("behead", LIST, LIST, "{v}[1:]", lambda v, _c: v[1:], lambda o, _c: [0, *o]),
    Operation("curtail", LIST, LIST, "{v}[:-1]", lambda v, _c: v[:-1], lambda o, _c: [*o, 0]),
    Operation(
        "shift",
        LIST,
        LIST,
        "[x + {c} for x in {v}]",
        lambda v, c: [x + c for x in v],
        lambda o, c: [x - c for x in o],
        _between(1, 9),
    ),
    Operation(
        "scale",
        LIST,
        LIST,
        "[x * {c} for x in {v}]",
        lambda v, c: [x * c for x in v],
        _exact_all,
        _between(2, 3),
    ),
    Operation(
        "keep",
        LIST,
        LIST,
        "[x for x in {v} if x > {c}]",
        lambda v, c: [x for x in v if x > c],
        _same,
        _item_near,
    ),
    Operation("sum", LIST, INT, "sum({v})", lambda v, _c: sum(v), lambda o, _c: [o], weight=0.8),
    Operation(
        "length", LIST, INT, "len({v})", lambda v, _c: len(v), lambda o, _c: [0] * o, weight=0.6
    ),
    Operation(
        "largest", LIST, INT, "max({v})", lambda v, _c: max(v), lambda o, _c: [o], weight=0.5
    ),
    Operation(
        "smallest", LIST, INT, "min({v})", lambda v, _c: min(v), lambda o, _c: [o], weight=0.5
    ),
    Operation("first", LIST, INT, "{v}[0]", lambda v, _c: v[0], lambda o, _c: [o], weight=0.4),
    Operation("last", LIST, INT, "{v}[-1]", lambda v, _c: v[-1], lambda o, _c: [o], weight=0.4),
)
OPERATIONS: dict[str, tuple[Operation, ...]] = {INT: _INT_TO, STR: _STR_TO, LIST: _LIST_TO}
"""By the kind they take. `{v}[0]`, `max` and `min` fail on empty values: callers skip those."""


@dataclass(frozen=True, slots=True)
class Joining:
    """An operation with a second argument `b`; `undo` gives both, in order."""

    word: str
    takes: tuple[str, str]
    template: str
    apply: Callable[[Any, Any], Datum]
    undo: Callable[[Any], tuple[Any, Any]]


JOININGS: tuple[Joining, ...] = (
    Joining("plus", (INT, INT), "{v} + b", lambda a, b: a + b, lambda o: (o - 1, 1)),
    Joining("minus", (INT, INT), "{v} - b", lambda a, b: a - b, lambda o: (o + 1, 1)),
    Joining("times", (INT, INT), "{v} * b", lambda a, b: a * b, lambda o: (o, 1)),
    Joining("join", (STR, STR), "{v} + b", lambda a, b: a + b, lambda o: (o, "")),
    Joining("copies", (STR, INT), "{v} * b", lambda a, b: a * b, lambda o: (o, 1)),
    Joining("join", (LIST, LIST), "{v} + b", lambda a, b: a + b, lambda o: (o, [])),
    Joining("push", (LIST, INT), "{v} + [b]", lambda a, b: [*a, b], lambda o: (o[:-1], o[-1])),
)
