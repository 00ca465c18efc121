"""The guest's own rules, tested on the host: policy, encoding, system-call filter."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr import values
from azr.sandbox.guest.encode import TooLargeError, UnserialisableError, encode
from azr.sandbox.guest.literals import INF, NAN, NotLiteralError, value_of
from azr.sandbox.guest.policy import violation
from azr.sandbox.guest.warmup import REHEARSALS

nans = st.builds(float, st.sampled_from(["nan", "1", "inf"])).map(lambda number: number + 0)
objects = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=3)
        | st.sets(st.integers() | st.text(max_size=3), max_size=3)
        | st.frozensets(st.integers() | st.floats() | st.tuples(st.floats()), max_size=3)
        | st.dictionaries(nans | st.frozensets(nans, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(objects)
def test_the_guest_writes_what_the_host_would(obj: object) -> None:
    try:
        text = encode(obj, 10_000)
    except (UnserialisableError, TooLargeError):
        with pytest.raises((ValueError, TypeError)):
            values.from_python(obj)
        return
    assert text == values.from_python(obj).canonical
    assert values.parse_canonical(text).canonical == text


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("[1, 2.5, 'a' 'b', b'c', True, None]", [1, 2.5, "ab", b"c", True, None]),
        ("{1: (2,), 'k': {3}, (): []}", {1: (2,), "k": {3}, (): []}),
        ("(inf, -inf, float('inf'), float('-inf'), -float('inf'))", (INF, -INF, INF, -INF, -INF)),
        ("{nan, float('nan'), nan}", {NAN}),
        ("[set(), frozenset(), frozenset({1}), frozenset([2]), frozenset((3, 3))]",
         [set(), frozenset(), frozenset({1}), frozenset({2}), frozenset({3})]),
        ("[+1, -2, -0.0, 1e999, 1+2j, -1-2j, -3j]", [1, -2, -0.0, INF, 1 + 2j, -1 - 2j, -3j]),
    ],
)  # fmt: skip
def test_a_literal_means_what_python_would_make_of_it(text: str, means: object) -> None:
    assert value_of(ast.parse(text, mode="eval").body) == means


@pytest.mark.parametrize(
    "text",
    [
        "x", "NaN", "infinity", "...", "f''", "f'{1}'", "--1", "~1", "not 1", "-True", "-'a'",
        "1 + 1", "1j + 1", "True + 1j", "2 * 1j", "1 if 1 else 2", "(1)(2)", "[*[1]]", "{**{}}",
        "[i for i in ()]", "lambda: 1", "(x := 1)", "a.b", "[1][0]", "{[]}", "{{}: 1}", "1 < 2",
        "set([1])", "set(())", "frozenset({1: 2})", "frozenset('ab')", "frozenset(set())",
        "frozenset([1], [2])", "frozenset(*[1])", "frozenset(x=1)", "float('1')", "float(1)",
        "float('NaN')", "float()", "float(nan)", "float(x='nan')", "float('nan', 1)", "int('1')",
        "dict()", "dict(a=1)", "list()", "a.set()", "set.x()", "float(b'nan')",
    ],
)  # fmt: skip
def test_whatever_else_is_no_literal(text: str) -> None:
    with pytest.raises((NotLiteralError, TypeError)):
        value_of(ast.parse(text, mode="eval").body)


@given(objects)
def test_a_size_limit_is_exact(obj: object) -> None:
    try:
        text = encode(obj, 10_000)
    except (UnserialisableError, TooLargeError):
        return
    assert encode(obj, len(text)) == text
    with pytest.raises(TooLargeError):
        encode(obj, len(text) - 1)


@pytest.mark.parametrize(
    "program",
    [
        "import math, collections.abc as c\nfrom typing import *",
        "class A:\n    def __init__(self): self._x = 1\n    @classmethod\n    def g(cls): cls._y",
        "class A:\n    def f(self, other): return super().__init__() or other._x",
        "def f(a): return getattr(a, 'x', None) or isinstance(a, type(1)) or print(a)",
        "match 1:\n    case int(real=r): pass",
        "x = [i for i in range(3)]\nglobal y\nlambda: (yield)",
    ],
)
def test_the_policy_allows(program: str) -> None:
    assert violation(ast.parse(program)) is None


@pytest.mark.parametrize(
    ("program", "verdict", "what"),
    [
        ("import os", "banned_import", "os"),
        ("import math as m, os.path as p", "banned_import", "os.path"),
        ("from os import path", "banned_import", "os"),
        ("from . import x", "banned_import", "."),
        ("from collections import _sys", "banned_import", "collections._sys"),
        ("import statistics as s\ns.random", "banned_import", "statistics.random"),
        ("if 0:\n    def g():\n        import time", "banned_import", "time"),
        ("open", "banned_construct", "open"),
        ("x.__class__", "banned_construct", ".__class__"),
        ("x._private", "banned_construct", "._private"),
        ("async def f(): pass", "banned_construct", "async"),
        ("match x:\n    case object(__class__=c): pass", "banned_construct", ".__class__"),
    ],
)
def test_the_policy_refuses(program: str, verdict: str, what: str) -> None:
    assert violation(ast.parse(program)) == (verdict, what)


@pytest.mark.parametrize(("program", "call"), REHEARSALS)
def test_what_is_rehearsed_is_an_ordinary_job(program: str, call: str) -> None:
    assert violation(ast.parse(program)) is None
    namespace: dict[str, object] = {}
    exec(program, namespace)  # noqa: S102 -- our own
    returned = eval(f"f({call})", namespace)  # noqa: S307 -- our own
    assert encode(returned, 10_000) == values.from_python(returned).canonical
