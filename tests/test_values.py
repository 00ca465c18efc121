"""Canonical values agree with Python itself about equality, literals and text."""

from __future__ import annotations

import ast
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr import values
from azr.sandbox.guest.literals import value_of
from azr.types import Value

numbers = st.floats(allow_nan=False)
look_alikes = st.sampled_from(
    [
        0,
        1,
        True,
        False,
        0.0,
        -0.0,
        1.0,
        1 + 0j,
        -1j,
        complex(-0.0, 2),
        math.inf,
        "1",
        b"1",
        "",
        b"",
        None,
        2**53 + 1,
        2.0**53,
    ]
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
atoms = look_alikes | st.integers() | numbers | text | st.binary(max_size=5)
hashables = st.recursive(
    atoms,
    lambda inner: st.lists(inner, max_size=2).map(tuple) | st.frozensets(inner, max_size=2),
    max_leaves=3,
)
literals = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
        | st.frozensets(hashables, max_size=3)
    ),
    max_leaves=8,
)
with_nan = st.recursive(
    literals | st.just(math.nan),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(st.just(math.nan) | st.integers(), max_size=3)
        | st.dictionaries(st.just(math.nan) | text, inner, max_size=3)
    ),
    max_leaves=8,
)


def meaning(literal: str) -> object:
    """As the jail reads it."""
    return value_of(ast.parse(literal, mode="eval").body)


@given(literals, literals)
def test_equality_is_pythons(a: object, b: object) -> None:
    assert values.equal(values.from_python(a), values.from_python(b)) == (a == b)


@given(with_nan)
def test_the_literal_of_a_value_is_read_back_as_the_same_value(obj: object) -> None:
    value = values.from_python(obj)
    assert values.from_python(meaning(values.literal(value))) == value


@given(literals)
def test_the_literal_of_a_value_without_sets_is_its_repr(obj: object) -> None:
    value = values.from_python(obj)
    if not re.search(r'{"[szc]":', value.canonical):  # sets are sorted, -0.0 leaves complex
        assert values.literal(value) == repr(obj)


@given(with_nan)
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
    assert values.from_python(meaning(values.literal(value))) == value


json_trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "a", "nan", "inf"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("tdszbcf"), inner, min_size=1, max_size=2)
    ),
    max_leaves=10,
)


@given(json_trees)
def test_any_tagged_tree_is_either_a_literal_or_refused(tree: object) -> None:
    try:
        value = values.parse_canonical(json.dumps(tree))
    except ValueError:
        return
    assert values.from_python(meaning(values.literal(value))) == value


def test_nan_equals_nan_so_that_determinism_can_be_judged() -> None:
    nan, also_nan = values.from_python([math.nan]), values.from_python([-math.nan])
    assert values.equal(nan, also_nan)
    assert not values.equal(nan, values.from_python([math.inf]))


@pytest.mark.parametrize(
    "obj",
    [
        {math.nan, float("nan")},
        {(math.nan, 1): 0, (float("nan"), True): 0},
        frozenset({frozenset({math.nan}), frozenset({float("nan")})}),
        complex(math.nan, 0),
        complex(0, math.inf),
    ],
)
def test_what_no_literal_can_mean_is_no_value(obj: object) -> None:
    with pytest.raises(ValueError, match=r"repeated|finite"):
        values.from_python(obj)


def test_a_frozenset_equals_the_set_but_is_not_identical_to_it() -> None:
    frozen, thawed = values.from_python(frozenset({1, 2})), values.from_python({2, 1})
    assert values.equal(frozen, thawed)
    assert not values.equal(frozen, thawed, strict=True)


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
        (frozenset({2, 1}), '{"z":[1,2]}'),
        ([math.nan, -math.inf], '[{"f":"nan"},{"f":"-inf"}]'),
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


@pytest.mark.parametrize(
    ("obj", "literal"),
    [
        ([math.nan, math.inf, -math.inf], "[nan, inf, -inf]"),
        (frozenset(), "frozenset()"),
        ((frozenset({1}), set()), "(frozenset({1}), set())"),
    ],
)
def test_literals_are_written_as_repr_writes_them(obj: object, literal: str) -> None:
    assert values.literal(values.from_python(obj)) == literal == repr(obj)


@pytest.mark.parametrize("obj", [..., object(), int, _Lookalike(1), range(3)])
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
