r"""Canonical values: Python literals as tagged JSON text, compared without evaluating anything.

A program's output, a model's answer and a stored example are all a
`azr.types.Value`: compact JSON in which the types that JSON lacks carry a tag.

    None True 7 1.5 "a"      null true 7 1.5 "a"     (1.0 stays 1.0, never 1)
    [1]                      [1]
    (1,)                     {"t":[1]}
    {"k": 1}                 {"d":[["k",1]]}          in insertion order
    {2, 1}                   {"s":[1,2]}              sorted by canonical text
    frozenset({2, 1})        {"z":[1,2]}              equal to the set, but hashable
    b"\x00"                  {"b":"00"}
    1+2j                     {"c":[1.0,2.0]}          finite parts; -0.0 becomes 0.0
    nan inf -inf             {"f":"nan"}              one NaN, equal to itself

The literal of a value is what `repr` writes: `nan`, `-inf`, `set()` and
`frozenset({1, 2})` are the forms that Python itself would not read back as literals;
the jail's parser (`azr.sandbox.guest.literals`) does. Since NaN equals NaN, a set or
dict with two keys that differ only by which NaN they hold is no value.

Everything here works on that text or on trees parsed from it, so a hostile
value costs at most time proportional to its (bounded) length.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import cast

from azr.types import Value

type Tree = bool | int | float | str | list[Tree] | dict[str, Tree] | None
"""What `json.loads` makes of canonical text."""

MAX_DEPTH = 50
"""Nested containers; deeper values are refused by the jail and by this module."""
MAX_INT_BITS = 13_000
"""Integers must print within CPython's limit of 4300 digits."""

_NON_FINITE = ("nan", "inf", "-inf")


def equal(a: Value, b: Value, *, strict: bool = False) -> bool:
    """Whether two values are equal as Python's `==` would say, computed on their text.

    1 == 1.0 == True, set and dict order is ignored, a list is never a tuple.
    Unlike Python, NaN equals NaN: a program that returns it is still
    deterministic. `strict` asks for identical canonical text instead.
    """
    if a.canonical == b.canonical:
        return True
    return not strict and _key(json.loads(a.canonical)) == _key(json.loads(b.canonical))


def literal(value: Value) -> str:
    """The Python literal of a value, as `repr` writes it; this is what prompts show."""
    return _literal(json.loads(value.canonical))


def from_python(obj: object) -> Value:
    """The canonical value of a Python object of exactly the builtin literal types.

    Raises:
        TypeError: for any other type, subclasses included.
        ValueError: for values that are too deep, too large or not valid Unicode, for
            complex numbers that are not finite and for keys that repeat a NaN.
    """
    return Value(_dump(_tree(obj, 0)))


def parse_canonical(text: str) -> Value:
    """Check text that claims to be canonical and bring it to the one normal form.

    The jail's results pass here: what ran inside may have written anything.

    Raises:
        ValueError: if the text is not the canonical form of any literal.
    """
    try:
        tree = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return Value(_dump(_checked(tree, 0)))


def _refuse_constant(name: str) -> Tree:
    raise ValueError(f"{name} is written with a tag")


# Made once: `json.dumps` and `json.loads` with options make one for each call.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _tagged(tree: dict[str, Tree]) -> tuple[str, Tree]:
    if len(tree) != 1:
        raise ValueError("a tagged value has exactly one tag")
    return next(iter(tree.items()))


# --- from Python objects --------------------------------------------------------------------


def _tree(obj: object, depth: int) -> Tree:
    """The canonical tree of an object, `depth` containers down."""
    if obj is None or type(obj) is bool:
        return cast("Tree", obj)
    atom = _ATOMS.get(type(obj))
    if atom is not None:
        return atom(obj)
    if depth >= MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    container = _CONTAINERS.get(type(obj))
    if container is None:
        raise TypeError(f"{type(obj).__name__} has no literal")
    return container(obj, depth + 1)


def _int_tree(number: int) -> Tree:
    if number.bit_length() > MAX_INT_BITS:
        raise ValueError(f"integer over {MAX_INT_BITS} bits")
    return number


def _float_tree(number: float) -> Tree:
    return number if math.isfinite(number) else {"f": repr(number)}


def _text_tree(text: str) -> Tree:
    text.encode()  # lone surrogates raise UnicodeEncodeError, a ValueError: nothing can store them
    return text


def _complex_tree(number: complex) -> dict[str, Tree]:
    # Adding zero turns -0.0 into 0.0: no literal of a complex number keeps that sign.
    return {"c": [_finite(number.real) + 0.0, _finite(number.imag) + 0.0]}


def _trees(items: Iterable[object], depth: int) -> list[Tree]:
    return [_tree(item, depth) for item in items]


def _set_trees(items: Iterable[object], depth: int) -> list[Tree]:
    trees = _trees(items, depth)
    _require_distinct_keys(trees)
    return sorted(trees, key=_dump)


def _pair_trees(mapping: dict[object, object], depth: int) -> list[Tree]:
    keys = _trees(mapping, depth)
    _require_distinct_keys(keys)
    return [[key, _tree(item, depth)] for key, item in zip(keys, mapping.values(), strict=True)]


_ATOMS: dict[type, Callable[..., Tree]] = {
    int: _int_tree,
    float: _float_tree,
    str: _text_tree,
    bytes: lambda data: {"b": data.hex()},
    complex: _complex_tree,
}
_CONTAINERS: dict[type, Callable[..., Tree]] = {
    list: _trees,
    tuple: lambda items, depth: {"t": _trees(items, depth)},
    set: lambda items, depth: {"s": _set_trees(items, depth)},
    frozenset: lambda items, depth: {"z": _set_trees(items, depth)},
    dict: lambda items, depth: {"d": _pair_trees(items, depth)},
}


# --- checking trees that came from the jail -------------------------------------------------


def _checked(tree: Tree, depth: int) -> Tree:
    """The normal form of a parsed tree; ValueError if no literal has it."""
    if tree is None or isinstance(tree, bool):
        return tree
    if isinstance(tree, int):
        return _int_tree(tree)
    if isinstance(tree, str):
        return _text_tree(tree)
    if isinstance(tree, float):
        return _finite(tree)
    if isinstance(tree, dict) and not tree.keys().isdisjoint(_CHECKED_ATOMS):
        tag, payload = _tagged(tree)
        return {tag: _CHECKED_ATOMS[tag](payload)}
    if depth >= MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(tree, list):
        return [_checked(item, depth + 1) for item in tree]
    return _checked_container(*_tagged(tree), depth + 1)


def _checked_container(tag: str, payload: Tree, depth: int) -> Tree:
    if tag not in ("t", "d", "s", "z") or not isinstance(payload, list):
        raise ValueError("unknown tag or payload")
    if tag == "d":
        return {"d": _checked_pairs(payload, depth)}
    items = [_checked(item, depth) for item in payload]
    if tag in ("s", "z"):
        _require_distinct_keys(items)
        items.sort(key=_dump)
    return {tag: items}


def _checked_pairs(pairs: list[Tree], depth: int) -> list[Tree]:
    checked: list[list[Tree]] = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError("a dict is a list of pairs")
        checked.append([_checked(pair[0], depth), _checked(pair[1], depth)])
    _require_distinct_keys([key for key, _ in checked])
    return list(checked)


def _checked_hex(payload: Tree) -> Tree:
    if not isinstance(payload, str):
        raise ValueError("bytes are written as hex text")  # noqa: TRY004 -- malformed data
    return bytes.fromhex(payload).hex()


def _checked_parts(payload: Tree) -> Tree:
    match payload:
        case [float(real), float(imag)]:
            return _complex_tree(complex(real, imag))["c"]
        case _:
            raise ValueError("complex is written as two floats")


def _checked_non_finite(payload: Tree) -> Tree:
    if payload not in _NON_FINITE:
        raise ValueError("not the name of a float")
    return payload


def _finite(number: float) -> float:
    if not math.isfinite(number):  # json reads 1e999 as infinity
        raise ValueError("non-finite float")
    return number


_CHECKED_ATOMS: dict[str, Callable[[Tree], Tree]] = {
    "b": _checked_hex,
    "c": _checked_parts,
    "f": _checked_non_finite,
}


def _require_distinct_keys(keys: list[Tree]) -> None:
    if not all(map(_hashable, keys)):
        raise ValueError("unhashable key")
    if len({_key(key) for key in keys}) != len(keys):
        raise ValueError("repeated key")


def _hashable(tree: Tree) -> bool:
    if isinstance(tree, dict):
        tag, payload = _tagged(tree)
        return tag in ("b", "c", "f", "z") or (
            tag == "t" and isinstance(payload, list) and all(map(_hashable, payload))
        )
    return not isinstance(tree, list)


# --- equality -------------------------------------------------------------------------------


def _key(tree: Tree) -> str:
    """Text that is the same for exactly those trees that are equal in Python."""
    if tree is None:
        return "N"
    if isinstance(tree, bool | int | float):
        return "#" + _number_key(tree)
    if isinstance(tree, str):
        return json.dumps(tree)
    if isinstance(tree, list):
        return "[" + ",".join(map(_key, tree)) + "]"
    tag, payload = _tagged(tree)
    match tag:
        case "t":
            return "(" + ",".join(map(_key, _list(payload))) + ")"
        case "s" | "z":
            return "{" + ",".join(sorted(map(_key, _list(payload)))) + "}"
        case "d":
            return "<" + ",".join(sorted(_key(k) + ":" + _key(v) for k, v in _pairs(payload))) + ">"
        case "c":
            return _complex_key(*cast("list[float]", payload))
        case "b":
            return f"b{payload}"
        case _:
            return f"#{payload}"  # nan, inf or -inf


def _complex_key(real: float, imag: float) -> str:
    if imag == 0:  # a complex number on the real axis equals the real number
        return "#" + _number_key(real)
    return f"c{_number_key(real)};{_number_key(imag)}"


def _number_key(number: float) -> str:
    """One text per numeric value: 1, 1.0, True and -0.0 == 0 coincide; large ints stay exact."""
    if number == int(number):
        return str(int(number))
    return float(number).hex()


def _list(payload: Tree) -> list[Tree]:
    return cast("list[Tree]", payload)


def _pairs(payload: Tree) -> list[tuple[Tree, Tree]]:
    return cast("list[tuple[Tree, Tree]]", payload)


# --- literals -------------------------------------------------------------------------------


def _literal(tree: Tree) -> str:
    if tree is None or isinstance(tree, bool | int | float | str):
        return repr(tree)
    if isinstance(tree, list):
        return "[" + _listing(tree) + "]"
    tag, payload = _tagged(tree)
    match tag:
        case "b":
            return repr(bytes.fromhex(cast("str", payload)))
        case "c":
            return repr(complex(*cast("list[float]", payload)))
        case "t":
            comma = "," if len(_list(payload)) == 1 else ""
            return "(" + _listing(_list(payload)) + comma + ")"
        case "s":
            return _set_literal(_list(payload)) or "set()"
        case "z":
            return f"frozenset({_set_literal(_list(payload))})"
        case "d":
            pairs = [f"{_literal(key)}: {_literal(item)}" for key, item in _pairs(payload)]
            return "{" + ", ".join(pairs) + "}"
        case _:
            return str(payload)  # nan, inf or -inf


def _set_literal(items: list[Tree]) -> str:
    return "{" + _listing(items) + "}" if items else ""


def _listing(items: list[Tree]) -> str:
    return ", ".join(map(_literal, items))
