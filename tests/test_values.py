"""Canonical values agree with Python itself about equality, literals and text."""

from __future__ import annotations

import ast
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr import values
from azr.types import Value

finite = st.floats(allow_nan=False, allow_infinity=False)
look_alikes = st.sampled_from(
    [0, 1, True, False, 0.0, -0.0, 1.0, 1 + 0j, 1j, "1", b"1", "", b"", None, 2**53 + 1, 2.0**53]
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
atoms = look_alikes | st.integers() | finite | text | st.binary(max_size=5)
hashables = st.recursive(atoms, lambda inner: st.lists(inner, max_size=2).map(tuple), max_leaves=3)
literals = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
    ),
    max_leaves=8,
)


@given(literals, literals)
def test_equality_is_pythons(a: object, b: object) -> None:
    assert values.equal(values.from_python(a), values.from_python(b)) == (a == b)


@given(literals)
def test_a_value_equals_what_its_literal_means(obj: object) -> None:
    value = values.from_python(obj)
    again = ast.literal_eval(values.literal(value))
    assert again == obj
    assert values.equal(values.from_python(again), value)


@given(literals)
def test_the_literal_of_a_value_without_sets_is_its_repr(obj: object) -> None:
    value = values.from_python(obj)
    if '{"s":' not in value.canonical:
        assert ast.literal_eval(values.literal(value)) == ast.literal_eval(repr(obj))
        assert values.literal(value) == repr(obj)


@given(literals)
def test_canonical_text_is_its_own_normal_form(obj: object) -> None:
    value = values.from_python(obj)
    assert values.parse_canonical(value.canonical) == value


@given(literals, literals)
def test_strict_equality_is_identity_of_text(a: object, b: object) -> None:
    one, other = values.from_python(a), values.from_python(b)
    assert values.equal(one, other, strict=True) == (one.canonical == other.canonical)


@given(st.text())
def test_any_text_is_either_a_value_or_refused(claimed: str) -> None:
    try:
        value = values.parse_canonical(claimed)
    except ValueError:
        return
    ast.literal_eval(values.literal(value))


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("tdsbcf"), inner, min_size=1, max_size=2)
    ),
    max_leaves=10,
)


@given(json_trees)
def test_any_tagged_tree_is_either_a_literal_or_refused(tree: object) -> None:
    try:
        value = values.parse_canonical(json.dumps(tree))
    except ValueError:
        return
    assert values.equal(values.from_python(ast.literal_eval(values.literal(value))), value)


def test_nan_equals_nan_so_that_determinism_can_be_judged() -> None:
    nan, also_nan = values.from_python([math.nan]), values.from_python([-math.nan])
    assert values.equal(nan, also_nan)
    assert not values.equal(nan, values.from_python([math.inf]))
    assert values.equal(values.from_python(math.inf), values.from_python(complex(math.inf, 0)))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, complex(0, math.inf)])
def test_non_finite_numbers_have_no_literal(number: complex) -> None:
    value = values.from_python([number])
    with pytest.raises(ValueError, match="finite"):
        values.literal(value)
    with pytest.raises(ValueError):  # noqa: PT011 -- any refusal will do
        values.parse_canonical(value.canonical)


@pytest.mark.parametrize(
    ("obj", "canonical"),
    [
        (1, "1"),
        (1.0, "1.0"),
        (True, "true"),
        (1e22, "1e+22"),
        ("é\n", '"é\\n"'),
        ((1,), '{"t":[1]}'),
        ({"b": 1, "a": [None]}, '{"d":[["b",1],["a",[null]]]}'),
        ({2, 1}, '{"s":[1,2]}'),
        (b"\x00\xff", '{"b":"00ff"}'),
        (1 - 2j, '{"c":[1.0,-2.0]}'),
    ],
)
def test_canonical_text_is_compact_tagged_json(obj: object, canonical: str) -> None:
    assert values.from_python(obj) == Value(canonical)


class _Lookalike(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


@pytest.mark.parametrize("obj", [..., object(), int, frozenset({1}), _Lookalike(1), range(3)])
def test_only_exact_literal_types_are_values(obj: object) -> None:
    with pytest.raises(TypeError):
        values.from_python(obj)


def test_values_are_bounded_in_depth_and_size() -> None:
    nested: object = 1
    for _ in range(values.MAX_DEPTH):
        nested = [nested]
    assert values.parse_canonical(values.from_python(nested).canonical)
    with pytest.raises(ValueError, match="nested"):
        values.from_python([nested])
    with pytest.raises(ValueError, match="nested"):
        values.parse_canonical("[" * 100_000)
    with pytest.raises(ValueError, match="bits"):
        values.from_python(1 << values.MAX_INT_BITS)
    with pytest.raises(UnicodeEncodeError):
        values.from_python("\ud800")
