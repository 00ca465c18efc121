"""The task policy: which programs are well-posed reasoning tasks.

An allow-list of pure modules and lists of refused names, attributes and uses (see
`rules`), checked on the text before anything runs. It keeps time, randomness,
addresses, I/O and state that outlives a call out of tasks. It is not the security
boundary; the jail is, and the determinism check finds what no reading of a text can.

Three principles make it hard to talk around. A module is no value: its name may only
be followed by a dot. Attributes are named in the text: no `getattr(x, name)`, no
formatter or decorator that looks one up by a computed name. What is imported is not
changed.
"""

import ast
from types import ModuleType

from .rules import (
    ALLOWED_MODULES,
    BANNED_DEFINITIONS,
    BANNED_NAMES,
    BY_NAME,
    BY_TEXT,
    COPIERS,
    SPECIAL,
    SUSPICIOUS,
    attribute_allowed,
    member,
    member_allowed,
    name_allowed,
    names_attribute,
    refused_members,
    star_allowed,
)
from .scopes import free_names

type Violation = tuple[str, str]
"""(verdict name, what was refused)."""

_ASYNC = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)


def surely_allowed(source: str) -> bool:
    """Whether the text alone shows that `violation` finds nothing; true of most programs."""
    return source.isascii() and not SUSPICIOUS.search(source)


def violation(tree: ast.Module, source: str = "") -> Violation | None:
    """The first thing in a program that the policy refuses, or None.

    `source` is the text of the tree: with it, most programs need no walk at all.
    """
    if source and surely_allowed(source):
        return None
    try:
        return _Reading(tree).violation()
    except RecursionError:
        return "banned_construct", "nesting"


class _Reading:
    """One program under examination."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.nodes = list(ast.walk(tree))
        self.modules: dict[str, set[str]] = {}
        """Under each name, every module that the program ever imports as it."""
        self.imported: set[str] = set()
        """Names of what the program imports from modules."""
        self.refused = BANNED_NAMES
        """Names that may only be a function's own."""
        self.owners: set[int] = set()
        """ids of expressions followed by a dot."""
        self.fine: set[int] = set()
        """ids of names that stand in a form in which they are allowed."""

    def violation(self) -> Violation | None:
        for node in self.nodes:
            if found := self._import(node):
                return found
            if isinstance(node, ast.Attribute):
                self.owners.add(id(node.value))
        for node in self.nodes:
            if found := self._construct(node) or self._changes(node) or self._member(node):
                return found
            self._allow(node)
        return self._misuse()

    # --- imports ------------------------------------------------------------------------------

    def _import(self, node: ast.AST) -> Violation | None:
        """Check an import statement and note what its names mean."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name not in ALLOWED_MODULES:
                    return "banned_import", alias.name
                top = alias.name.partition(".")[0]
                self._know(alias.asname or top, alias.name if alias.asname else top)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module not in ALLOWED_MODULES:
                return "banned_import", "." * node.level + (node.module or "")
            for alias in node.names:
                if not self._may_import(node.module, alias):
                    return "banned_import", f"{node.module}.{alias.name}"
        elif isinstance(node, ast.ClassDef) and _imports_in(node.body):
            return "banned_construct", "import in a class"  # as an attribute it has many names
        return None

    def _may_import(self, module: str, alias: ast.alias) -> bool:
        if alias.name == "*":
            self.refused |= refused_members(module)
            return star_allowed(module)
        if not member_allowed(module, alias.name):
            return False
        name = alias.asname or alias.name
        found = member(module, alias.name)
        if isinstance(found, ModuleType):
            self._know(name, found.__name__)
        else:
            self.imported.add(name)
        return alias.name not in SPECIAL or name == alias.name

    def _know(self, name: str, module: str) -> None:
        self.modules.setdefault(name, set()).add(module)

    # --- single nodes -------------------------------------------------------------------------

    def _construct(self, node: ast.AST) -> Violation | None:
        if isinstance(node, ast.Attribute) and not attribute_allowed(node.value, node.attr):
            return "banned_construct", f".{node.attr}"
        if isinstance(node, ast.Name) and not name_allowed(node):
            return "banned_construct", node.id
        if isinstance(node, ast.Call) and _makes_class(node):
            return "banned_construct", "type"
        if isinstance(node, ast.MatchClass):  # `case object(__class__=c)` reads attributes too
            for attribute in node.kwd_attrs:
                if not attribute_allowed(None, attribute):
                    return "banned_construct", f".{attribute}"
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in BANNED_DEFINITIONS:
            return "banned_construct", node.name
        if isinstance(node, _ASYNC) or (isinstance(node, ast.comprehension) and node.is_async):
            return "banned_construct", "async"
        return None

    def _changes(self, node: ast.AST) -> Violation | None:
        """Whether something imported is assigned to, and so may differ in the next call."""
        if not isinstance(node, ast.Attribute | ast.Subscript) or isinstance(node.ctx, ast.Load):
            return None
        if not self._is_imported(node.value):
            return None
        return "banned_construct", f"{ast.unparse(node)} ="

    def _is_imported(self, node: ast.expr) -> bool:
        """Whether an expression starts at an imported name."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        return isinstance(node, ast.Name) and (node.id in self.modules or node.id in self.imported)

    def _member(self, node: ast.AST) -> Violation | None:
        """Check `module.member`, and that a member that is a module is followed by a dot."""
        if not isinstance(node, ast.Attribute):
            return None
        for module in self._modules_of(node.value):
            if not member_allowed(module, node.attr):
                return "banned_import", f"{module}.{node.attr}"
        if id(node) not in self.owners and self._modules_of(node):
            return "banned_construct", f"{ast.unparse(node)} as a value"
        return None

    def _modules_of(self, node: ast.expr) -> set[str]:
        """The modules that an expression may be; empty if it is something else."""
        if isinstance(node, ast.Name):
            return self.modules.get(node.id, set())
        if isinstance(node, ast.Attribute):
            found = [member(module, node.attr) for module in self._modules_of(node.value)]
            return {value.__name__ for value in found if isinstance(value, ModuleType)}
        return set()

    # --- uses that depend on where they stand -------------------------------------------------

    def _misuse(self) -> Violation | None:
        """A module as a value, a banned builtin, or a special name in another form."""
        for node in self.nodes:
            if (
                isinstance(node, ast.Attribute)
                and node.attr in SPECIAL
                and id(node) not in self.fine
                and self._modules_of(node.value)
            ):
                return "banned_construct", f".{node.attr}"
        suspects = self.refused | SPECIAL | frozenset(self.modules)
        for name in free_names(self.tree, suspects):
            if name.id in self.modules and id(name) in self.owners:
                continue
            if isinstance(name.ctx, ast.Load) and id(name) not in self.fine:
                is_module = name.id in self.modules
                return "banned_construct", f"{name.id} as a value" if is_module else name.id
        return None

    def _allow(self, node: ast.AST) -> None:
        """Note names that stand in a form in which they are allowed."""
        match node:
            case ast.Call(func=called):
                if self._call_allowed(node, _last_name(called)):
                    self.fine.add(id(called))
                self._allow_type_argument(node)
            case ast.ClassDef(decorator_list=decorators, keywords=keywords):
                self.fine.update(id(word.value) for word in keywords if word.arg == "metaclass")
                for decorator in decorators[-1:]:  # the one that is handed this very class
                    called = decorator.func if isinstance(decorator, ast.Call) else decorator
                    self._allow_named(called, "dataclass")
            case ast.FunctionDef(name="__hash__"):
                self._allow_named(node, "hash")
            case ast.FunctionDef(returns=ast.expr() as annotation):
                self._allow_named(annotation, "type")
            case (
                ast.arg(annotation=ast.expr() as annotation) | ast.AnnAssign(annotation=annotation)
            ):
                self._allow_named(annotation, "type")
            case ast.Compare(comparators=parts):
                for part in parts:
                    self._allow_named(part, "type")
            case _:
                pass

    def _call_allowed(self, call: ast.Call, name: str) -> bool:
        starred = any(isinstance(argument, ast.Starred) for argument in call.args)
        if starred or call.keywords:
            return False
        if name == "type":
            return len(call.args) == 1
        if name in COPIERS:
            return len(call.args) <= COPIERS[name]
        if name in BY_TEXT:
            texts = call.args if name == "attrgetter" else call.args[:1]
            return bool(texts) and all(map(names_attribute, texts))
        if name in BY_NAME and len(call.args) >= 2:
            changes = name != "getattr" and self._is_imported(call.args[0])
            return names_attribute(call.args[1]) and not changes
        return False

    def _allow_type_argument(self, call: ast.Call) -> None:
        function = _last_name(call.func)
        if function in ("isinstance", "issubclass") or (function == "map" and len(call.args) == 2):
            for argument in call.args:
                self._allow_named(argument, "type")

    def _allow_named(self, node: ast.AST, name: str) -> None:
        self.fine.update(id(child) for child in ast.walk(node) if _last_name(child) == name)


def _imports_in(statements: list[ast.stmt]) -> bool:
    """Whether a class body imports, in a branch perhaps, but not in its methods."""
    pending: list[ast.AST] = [*statements]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            pending += ast.iter_child_nodes(node)
    return False


def _makes_class(call: ast.Call) -> bool:
    """Whether a call is `type(int)(name, bases, namespace)`: type(int) is type."""
    maker = call.func
    return isinstance(maker, ast.Call) and _last_name(maker.func) == "type" and len(call.args) > 2


def _last_name(node: ast.AST) -> str:
    """`b` of `b` and of `a.b`; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
