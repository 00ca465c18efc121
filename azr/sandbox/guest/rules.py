"""What the task policy refuses, as tables and as questions about one name.

Only the standard library; imported by `policy` inside the jail.
"""

import ast
import re
import sys
from types import ModuleType


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED_MODULES = _words("""
    abc array bisect cmath collections collections.abc copy dataclasses decimal enum fractions
    functools heapq itertools json json.decoder json.encoder math numbers operator queue re
    statistics string textwrap typing unicodedata
""")
REFUSED_MEMBERS = _words("""
    copy.dispatch_table dataclasses.FunctionType functools.RLock functools.singledispatch
    functools.singledispatchmethod queue.time string.Formatter typing.get_type_hints
""")
"""Of allowed modules: a clock, a lock, code from text, attributes by computed name."""
BANNED_NAMES = _words("""
    breakpoint compile eval exec exit globals hash help id input locals memoryview open quit vars
""")
"""Builtins; a function's own variable may have such a name."""
BANNED_ATTRIBUTES = _words("""
    ag_await ag_code ag_frame cr_await cr_code cr_frame cr_origin f_back f_builtins f_code f_globals
    f_locals gi_code gi_frame gi_yieldfrom tb_frame tb_next
""")
"""The ways from a generator or an exception to a frame, and from there anywhere."""
ALLOWED_DUNDERS = frozenset(
    f"__{name}__"
    for name in _words("""
        abs add and bool call contains copy deepcopy delitem div doc enter eq exit float
        floordiv ge getitem gt hash iadd imul index init int invert isub iter le len lshift lt
        matmul missing mod mul name ne neg next new or pos post_init pow radd repr reversed rmul
        round rshift rsub setitem slots str sub truediv xor
    """)
)
ALLOWED_PRIVATE = _words("_asdict _field_defaults _fields _make _replace")
"""The public methods of named tuples."""
BANNED_DEFINITIONS = _words("""
    __annotations__ __builtins__ __class__ __getstate__ __prepare__ __reduce__ __reduce_ex__
    __setstate__
""")
"""Definitions that make the library set attributes or run text."""

BY_NAME = _words("delattr getattr setattr")
"""Fine as a call whose second argument says which attribute."""
BY_TEXT = _words("attrgetter methodcaller")
"""Fine as a call whose arguments say which attributes."""
COPIERS = {"update_wrapper": 2, "wraps": 1}
"""Fine as a call with this many arguments: further ones choose attributes to copy."""
METACLASSES = _words("ABCMeta EnumMeta EnumType")
"""Fine as `metaclass=`; called, they make classes from dictionaries."""
SPECIAL = BY_NAME | BY_TEXT | METACLASSES | frozenset({*COPIERS, "type", "dataclass"})
"""Names whose use depends on where they stand: `type(x)`, `@dataclass` and those above."""

SUSPICIOUS = re.compile(
    r"(?<!\w)_\w|\b(?:import|async|await|"
    + "|".join(sorted(BANNED_NAMES | BANNED_ATTRIBUTES | SPECIAL))
    + r")\b"
)
"""A program in ASCII without a match has nothing that any rule below is about."""


def name_allowed(node: ast.Name) -> bool:
    """Whether a name may be used; dunder names are the interpreter's."""
    if not (node.id.startswith("__") and node.id.endswith("__")):
        return True
    if isinstance(node.ctx, ast.Load):
        return node.id in ALLOWED_DUNDERS or node.id == "__debug__"
    return node.id not in BANNED_DEFINITIONS


def attribute_allowed(owner: ast.expr | None, attribute: str) -> bool:
    """Whether an attribute may be named; private ones only of self, cls and other."""
    if attribute in BANNED_ATTRIBUTES:
        return False
    if not attribute.startswith("_") or attribute in ALLOWED_PRIVATE:
        return True
    if attribute.startswith("__"):
        return attribute in ALLOWED_DUNDERS or not attribute.endswith("__")  # self.__mangled
    return isinstance(owner, ast.Name) and owner.id in ("self", "cls", "other")


def names_attribute(node: ast.expr) -> bool:
    """Whether an expression is text that can only name allowed attributes.

    A constant, or one that starts with a constant, as in `f"visit_{kind}"`.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return all(attribute_allowed(None, part) for part in node.value.split("."))
    if isinstance(node, ast.JoinedStr) and node.values:
        return _starts_safely(node.values[0])
    return (
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and _starts_safely(node.left)
    )


def _starts_safely(node: ast.expr) -> bool:
    """Whether a text's constant beginning rules out private names and ways to a frame."""
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value):
        return False
    start = node.value
    return not start.startswith("_") and not any(
        attribute.startswith(start) or start.startswith(attribute)
        for attribute in BANNED_ATTRIBUTES
    )


def member(module: str, name: str) -> object:
    """A module's attribute, or None."""
    return getattr(_load(module), name, None)


def member_allowed(module: str, name: str) -> bool:
    """Whether an allowed module's attribute may be used: none that is private or foreign."""
    if name.startswith("_") or f"{module}.{name}" in REFUSED_MEMBERS:
        return False
    found = member(module, name)
    return not isinstance(found, ModuleType) or found.__name__ in ALLOWED_MODULES


def star_allowed(module: str) -> bool:
    """Whether `from module import *` brings no foreign module."""
    loaded = _load(module)
    names = getattr(loaded, "__all__", None) or [n for n in vars(loaded) if not n.startswith("_")]
    refused = refused_members(module)
    return all(name in refused or member_allowed(module, name) for name in names)


def refused_members(module: str) -> frozenset[str]:
    """Names of the module's own members that are refused."""
    prefix = f"{module}."
    return frozenset(
        name.removeprefix(prefix) for name in REFUSED_MEMBERS if name.startswith(prefix)
    )


def _load(module: str) -> ModuleType:
    __import__(module)
    return sys.modules[module]
