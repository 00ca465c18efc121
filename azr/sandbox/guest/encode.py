"""Results as the canonical JSON of `azr.values`, written under a size budget.

Exact builtin types only: a subclass could lie about itself. The host checks the
text again, because the program shares this process and may have replaced it.
"""

import json
import math
from collections.abc import Iterable

MAX_DEPTH = 50
MAX_INT_BITS = 13_000


class UnserialisableError(Exception):
    """The value has no literal; the argument names its type."""


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
        if kind is set and isinstance(value, set):
            return {"s": sorted(self.trees(value, depth), key=_dump)}
        if kind is dict and isinstance(value, dict):
            return {"d": [self.trees(pair, depth) for pair in value.items()]}
        raise UnserialisableError(kind.__name__)

    def trees(self, items: Iterable[object], depth: int) -> list[object]:
        return [self.tree(item, depth + 1) for item in items]

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
            return {"c": [_finite(value.real), _finite(value.imag)]}
        self.spend(3)
        return _finite(value)


def _finite(value: object) -> float:
    if not isinstance(value, float) or not math.isfinite(value):
        raise UnserialisableError("non-finite float")
    return value
