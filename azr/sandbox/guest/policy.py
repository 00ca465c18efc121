"""The task policy: which programs are well-posed reasoning tasks.

An allow-list of pure modules and a short list of refused names and attributes,
checked on the AST before anything runs. It keeps time, randomness, addresses and
I/O out of tasks. It is not the security boundary; the jail is.
"""

import ast
import sys
from types import ModuleType


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED_MODULES = _words("""
    abc array bisect cmath collections collections.abc copy dataclasses decimal enum fractions
    functools heapq itertools json math numbers operator queue re statistics string textwrap
    typing unicodedata
""")
BANNED_NAMES = _words("""
    __builtins__ __import__ __loader__ __spec__ __build_class__ breakpoint compile eval exec
    exit globals hash help id input locals memoryview open quit vars
""")
ALLOWED_DUNDERS = frozenset(
    f"__{name}__"
    for name in _words("""
        abs add and bool call contains copy deepcopy delitem div doc enter eq exit float
        floordiv ge getitem gt hash iadd imul index init int invert isub iter le len lshift lt
        matmul missing mod mul name ne neg next new or pos post_init pow radd repr reversed rmul
        round rshift rsub setitem slots str sub truediv xor
    """)
)

type Violation = tuple[str, str]
"""(verdict name, what was refused)."""


def violation(tree: ast.Module) -> Violation | None:
    """The first thing in a program that the policy refuses, or None."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        found = _imported(node, aliases) or _construct(node)
        if found:
            return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = aliases.get(node.value.id)
            if module is not None and _is_foreign_module(module, node.attr):
                return "banned_import", f"{module}.{node.attr}"
    return None


def _imported(node: ast.AST, aliases: dict[str, str]) -> Violation | None:
    """Check an import statement and note under which names modules become known."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name not in ALLOWED_MODULES:
                return "banned_import", alias.name
            top = alias.name.partition(".")[0]
            aliases[alias.asname or top] = alias.name if alias.asname else top
    elif isinstance(node, ast.ImportFrom):
        if node.level or node.module not in ALLOWED_MODULES:
            return "banned_import", "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name != "*" and (
                alias.name.startswith("_") or _is_foreign_module(node.module, alias.name)
            ):
                return "banned_import", f"{node.module}.{alias.name}"
            if alias.name == "*" and _star_leaks(node.module):
                return "banned_import", f"{node.module}.*"
    return None


def _construct(node: ast.AST) -> Violation | None:
    if isinstance(node, ast.Name) and node.id in BANNED_NAMES:
        return "banned_construct", node.id
    if isinstance(node, ast.Attribute) and not _attribute_allowed(node.value, node.attr):
        return "banned_construct", f".{node.attr}"
    if isinstance(node, ast.MatchClass):  # `case object(__class__=c)` reads attributes too
        for attribute in node.kwd_attrs:
            if not _attribute_allowed(None, attribute):
                return "banned_construct", f".{attribute}"
    if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
        return "banned_construct", "async"
    if isinstance(node, ast.comprehension) and node.is_async:
        return "banned_construct", "async"
    return None


def _attribute_allowed(owner: ast.expr | None, attribute: str) -> bool:
    if not attribute.startswith("_"):
        return True
    if attribute.startswith("__"):
        return attribute in ALLOWED_DUNDERS or not attribute.endswith("__")  # self.__mangled
    return isinstance(owner, ast.Name) and owner.id in ("self", "cls", "other")


def _is_foreign_module(module: str, attribute: str) -> bool:
    """Whether an allowed module re-exports another that is not (`statistics.random`)."""
    found = getattr(_load(module), attribute, None)
    return isinstance(found, ModuleType) and found.__name__ not in ALLOWED_MODULES


def _star_leaks(module: str) -> bool:
    loaded = _load(module)
    names = getattr(loaded, "__all__", None) or [n for n in vars(loaded) if not n.startswith("_")]
    return any(_is_foreign_module(module, name) for name in names)


def _load(module: str) -> ModuleType:
    __import__(module)
    return sys.modules[module]
