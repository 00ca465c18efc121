"""The literals that inputs and answers are made of, read from a syntax tree.

    literal   = constant | number | complex | name | call | container
    constant  = int, float, str, bytes, True, False or None; adjacent strings are joined
    number    = ("+" | "-") (int | float | imaginary | name | float call)
    complex   = (int | float | number) ("+" | "-") imaginary
    name      = "nan" | "inf"
    call      = "set()" | "frozenset()" | "frozenset(" list, tuple or set ")" | float call
    float call = "float('nan')" | "float('inf')" | "float('-inf')"
    container = list, tuple, set or dict of literals; no "*" and no "**"

The names and calls are what `repr` writes for values that have no literal of their own;
nothing is ever looked up or called. All that is not listed is refused: f-strings,
`...`, other names, other calls, operators, comprehensions.
"""

import ast
from collections.abc import Callable

NAN, INF = float("nan"), float("inf")

_NAMES = {"nan": NAN, "inf": INF}
_FLOAT_TEXTS = {**_NAMES, "-inf": -INF}
_CONSTANTS = frozenset({int, str, float, bytes, bool, type(None), complex})


class NotLiteralError(Exception):
    """The syntax is not a literal's."""


def value_of(node: ast.expr) -> object:
    """What a literal means: a fresh object for each call of this on the same tree.

    Raises:
        NotLiteralError: the tree is not a literal.
        TypeError: a set member or a key of a dict cannot be hashed.
    """
    read = _READERS.get(type(node))
    if read is None:
        raise NotLiteralError
    return read(node)


def _constant(node: ast.Constant) -> object:
    if type(node.value) not in _CONSTANTS:
        raise NotLiteralError
    return node.value


def _name(node: ast.Name) -> float:
    if node.id not in _NAMES:
        raise NotLiteralError
    return _NAMES[node.id]


def _dict(node: ast.Dict) -> dict[object, object]:
    pairs: dict[object, object] = {}
    for key, item in zip(node.keys, node.values, strict=True):
        if key is None:  # {**other}
            raise NotLiteralError
        pairs[value_of(key)] = value_of(item)
    return pairs


def _signed(node: ast.UnaryOp) -> int | float | complex:
    if type(node.operand) not in (ast.Constant, ast.Name, ast.Call):
        raise NotLiteralError
    number = value_of(node.operand)
    if not isinstance(number, int | float | complex) or isinstance(number, bool):
        raise NotLiteralError
    if type(node.op) is ast.USub:
        return -number
    if type(node.op) is ast.UAdd:
        return number
    raise NotLiteralError


def _complex(node: ast.BinOp) -> complex:
    left, right = node.left, node.right
    real = value_of(left) if isinstance(left, ast.Constant | ast.UnaryOp) else None
    imaginary = right.value if isinstance(right, ast.Constant) else None
    if type(real) not in (int, float) or not isinstance(real, int | float):
        raise NotLiteralError
    if not isinstance(imaginary, complex):
        raise NotLiteralError
    if type(node.op) is ast.Add:
        return real + imaginary
    if type(node.op) is ast.Sub:
        return real - imaginary
    raise NotLiteralError


def _called(node: ast.Call) -> object:
    if not isinstance(node.func, ast.Name) or node.keywords:
        raise NotLiteralError
    match node.func.id, node.args:
        case "set", []:
            return set()
        case "frozenset", []:
            return frozenset()
        case "frozenset", [ast.List() | ast.Tuple() | ast.Set() as members]:
            return frozenset(_items(members))
        case "float", [ast.Constant(value=str(text))] if text in _FLOAT_TEXTS:
            return _FLOAT_TEXTS[text]
        case _:
            raise NotLiteralError


def _items(node: ast.List | ast.Tuple | ast.Set) -> list[object]:
    return [value_of(item) for item in node.elts]


_READERS: dict[type, Callable[..., object]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.List: _items,
    ast.Tuple: lambda node: tuple(_items(node)),
    ast.Set: lambda node: set(_items(node)),
    ast.Dict: _dict,
    ast.UnaryOp: _signed,
    ast.BinOp: _complex,
    ast.Call: _called,
}
