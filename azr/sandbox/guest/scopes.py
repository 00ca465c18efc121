"""Which names of a program are surely its own: bound in a function around them.

Python looks a name up in the builtins only if no function around it binds it. At
module and class level a name falls through to the builtins until it is assigned,
so only function scopes count here.
"""

import ast
from collections.abc import Iterable, Iterator

type Bindings = tuple[frozenset[str], frozenset[str]]
"""Names bound in a scope; those of them that an import binds."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def free_names(tree: ast.Module, suspects: frozenset[str]) -> Iterator[ast.Name]:
    """Uses of `suspects` that may mean a module's or a builtin name, not a local variable."""
    yield from _free(tree, suspects, ())


def _free(
    node: ast.AST, suspects: frozenset[str], scopes: tuple[Bindings, ...]
) -> Iterator[ast.Name]:
    if isinstance(node, ast.Name):
        if node.id in suspects and not _own(node.id, scopes):
            yield node
        return
    if isinstance(node, _FUNCTIONS):
        outside, inside = _parts(node)
        inner = (*scopes, _bound_in(node))
    elif isinstance(node, ast.ClassDef):
        outside = [*node.decorator_list, *node.bases, *node.keywords, *node.type_params]
        inside = list[ast.AST](node.body)
        inner = (*scopes, _unclear(node))
    elif isinstance(node, _COMPREHENSIONS):
        first = node.generators[0]
        outside = [first.iter]
        inside = [child for child in ast.iter_child_nodes(node) if child is not first]
        inside += [first.target, *first.ifs]
        inner = (*scopes, (frozenset(_targets(node.generators)), frozenset[str]()))
    else:
        outside, inside, inner = ast.iter_child_nodes(node), (), scopes
    for child in outside:
        yield from _free(child, suspects, scopes)
    for child in inside:
        yield from _free(child, suspects, inner)


def _own(name: str, scopes: tuple[Bindings, ...]) -> bool:
    """Whether the innermost function that binds the name binds it to no module."""
    for bound, imported in reversed(scopes):
        if name in bound:
            return name not in imported
    return False


def _parts(
    function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
) -> tuple[list[ast.AST], list[ast.AST]]:
    """What is evaluated outside the function (defaults, decorators, annotations), and inside."""
    arguments = function.args
    outside: list[ast.AST] = [*arguments.defaults, *filter(None, arguments.kw_defaults)]
    if isinstance(function, ast.Lambda):
        return outside, [function.body]
    outside += [*function.decorator_list, *function.type_params]
    outside += [item.annotation for item in _arguments(arguments) if item.annotation]
    outside += [function.returns] if function.returns else []
    return outside, list[ast.AST](function.body)


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    variadic = [item for item in (arguments.vararg, arguments.kwarg) if item]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *variadic]


def _bound_in(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Bindings:
    bound = {item.arg for item in _arguments(function.args)}
    imported: set[str] = set()
    elsewhere: set[str] = set()
    pending: list[ast.AST] = [function.body] if isinstance(function, ast.Lambda) else []
    pending += [] if isinstance(function, ast.Lambda) else function.body
    while pending:
        node = pending.pop()
        match node:
            case ast.Global(names) | ast.Nonlocal(names):
                elsewhere.update(names)
            case ast.Name(id=name, ctx=ast.Store()):
                bound.add(name)
            case ast.Import(names) | ast.ImportFrom(names=names):
                imported.update(alias.asname or alias.name.partition(".")[0] for alias in names)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bound.add(name)
                pending += _parts(node)[0]  # runs here
                continue
            case ast.Lambda():
                pending += _parts(node)[0]
                continue
            case ast.ClassDef(name=name):
                bound.add(name)  # what its body binds is its own
                continue
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                bound.add(name)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                bound.add(name)
            case _:
                pass
        pending += _here(node)
    return frozenset(bound | imported) - elsewhere, frozenset(imported)


def _unclear(node: ast.ClassDef) -> Bindings:
    """What a class body may bind falls through to the builtins until then: nobody's own."""
    stored = frozenset(
        child.id
        for child in ast.walk(node)
        if isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load)
    )
    return stored, stored


def _here(node: ast.AST) -> Iterable[ast.AST]:
    """Children whose bindings belong to the function around: no targets of comprehensions."""
    if isinstance(node, ast.comprehension):
        return [node.iter, *node.ifs]
    return ast.iter_child_nodes(node)


def _targets(generators: list[ast.comprehension]) -> Iterator[str]:
    for generator in generators:
        for node in ast.walk(generator.target):
            if isinstance(node, ast.Name):
                yield node.id
