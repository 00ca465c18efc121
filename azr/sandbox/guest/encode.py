"""Results as the canonical JSON of `azr.values`, written under a size budget.

Exact builtin types only: a subclass could lie about itself. The host checks the
text again, because the program shares this process and may have replaced it.
"""

import json
import math
from collections.abc import Collection, Iterable

from .literals import NAN

MAX_DEPTH = 50
MAX_INT_BITS = 13_000


class UnserialisableError(Exception):
    """The value has no canonical form; the argument says why, mostly by naming a type."""


class TooLargeError(Exception):
    """The canonical text would be longer than allowed."""


_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def encode(value: object, max_chars: int) -> str:
    """Canonical text of `value`, at most `max_chars` long."""
    tree = _Encoder(max_chars).tree(value, 0)
    text = _dump(tree)
    if len(text) > max_chars:
        raise TooLargeError
    return text


class _Encoder:
    """Builds the tree; `budget` is what is left of a lower bound on the text's length."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.has_nan = False
        """Whether a NaN was met so far."""

    def spend(self, chars: int) -> None:
        self.budget -= chars
        if self.budget < 0:
            raise TooLargeError

    def tree(self, value: object, depth: int) -> object:
        kind = type(value)
        if value is None or kind is bool:
            self.spend(4)
            return value
        if kind in (int, float, str, bytes, complex):
            return self.atom(value)
        if depth >= MAX_DEPTH:
            raise UnserialisableError("depth")
        self.spend(2)
        if kind is list and isinstance(value, list):
            return self.trees(value, depth)
        if kind is tuple and isinstance(value, tuple):
            return {"t": self.trees(value, depth)}
        if kind is dict and isinstance(value, dict):
            return {"d": self.pairs(value, depth)}
        if kind is set and isinstance(value, set):
            return {"s": self.members(value, depth)}
        if kind is frozenset and isinstance(value, frozenset):
            return {"z": self.members(value, depth)}
        raise UnserialisableError(kind.__name__)

    def trees(self, items: Iterable[object], depth: int) -> list[object]:
        return [self.tree(item, depth + 1) for item in items]

    def pairs(self, mapping: dict[object, object], depth: int) -> list[object]:
        pairs: list[object] = [self.trees(pair, depth) for pair in mapping.items()]
        self.require_distinct(mapping)
        return pairs

    def members(self, items: Collection[object], depth: int) -> list[object]:
        trees = sorted(self.trees(items, depth), key=_dump)
        self.require_distinct(items)
        return trees

    def require_distinct(self, keys: Collection[object]) -> None:
        """Refuse keys that are equal once NaN equals NaN; the host would, too."""
        if self.has_nan and len({_with_one_nan(key) for key in keys}) < len(keys):
            raise UnserialisableError("repeated nan")

    def atom(self, value: object) -> object:
        """The tree of a value of exactly one of the atomic types."""
        if isinstance(value, int):
            if value.bit_length() > MAX_INT_BITS:
                raise TooLargeError
            self.spend(max(1, value.bit_length() * 3 // 10))
            return value
        if isinstance(value, str):
            self.spend(2 + len(value))
            try:
                value.encode()
            except UnicodeEncodeError:
                raise UnserialisableError("surrogate") from None
            return value
        if isinstance(value, bytes):
            self.spend(8 + 2 * len(value))
            return {"b": value.hex()}
        if isinstance(value, complex):
            self.spend(12)
            if not (math.isfinite(value.real) and math.isfinite(value.imag)):
                raise UnserialisableError("non-finite complex")
            return {"c": [value.real + 0.0, value.imag + 0.0]}
        self.spend(3)
        if not isinstance(value, float) or math.isfinite(value):
            return value
        self.has_nan |= math.isnan(value)
        return {"f": repr(value)}


def _with_one_nan(key: object) -> object:
    """`key` with NAN in place of every NaN: identical objects are equal to Python."""
    if isinstance(key, float) and math.isnan(key):
        return NAN
    if isinstance(key, tuple):
        return tuple([_with_one_nan(item) for item in key])
    if isinstance(key, frozenset):
        return frozenset([_with_one_nan(item) for item in key])
    return key
