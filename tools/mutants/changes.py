"""List the single changes to the functions of a module."""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
FUNCTIONS = {"max": "min", "min": "max", "any": "all", "all": "any", "sorted": "list"}
ERRORS = ("UserError", "RowError", "ConfigError", "ArtifactError", "ProfileError", "LaunchError", "Problem")
"""What they say is not changed: the tests ask for names and values, not for wording."""
NOT_CODE = ("annotation", "returns", "decorator_list", "type_params", "keywords")
"""Fields of the syntax tree that are passed over; keywords are removed whole."""


@dataclass(frozen=True)
class Change:
    """A change to a function."""

    line: int
    what: str
    function: str
    """The qualified name of the outermost function around it."""
    first_line: int
    """Where that begins, its decorators included."""
    apply: Callable[[], None]
    """Make the change in the syntax tree."""


def list_changes(module: ast.Module) -> list[Change]:
    """List all single changes to the functions and methods of a module, in the order of its lines."""
    return [
        Change(getattr(node, "lineno", function.lineno), what, name, _first_line(function), apply)
        for name, function in _functions(module)
        for statement in function.body
        for node, what, apply in _changes_in(statement, partial(_put, function.body, statement))
    ]


Function = ast.FunctionDef | ast.AsyncFunctionDef
Replace = Callable[[ast.AST], None]


def _functions(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Function]]:
    for child in node.body:
        if isinstance(child, Function):
            yield prefix + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _first_line(function: Function) -> int:
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def _put(nodes: list[Any], old: ast.AST, new: ast.AST) -> None:
    nodes[next(index for index, node in enumerate(nodes) if node is old)] = new


def _changes_in(node: ast.AST, replace: Replace) -> Iterator[tuple[ast.AST, str, Callable[[], None]]]:
    """Yield the changes of a node and of all below it: the node, a description, and what makes the change."""
    if _is_said(node):
        return
    for new in _others(node):
        ast.fix_missing_locations(ast.copy_location(new, node))
        yield node, f"{_shown(node)}  ->  {_shown(new)}", partial(replace, new)
    for field, value in ast.iter_fields(node):
        if field in NOT_CODE:
            continue
        if isinstance(value, ast.AST):
            yield from _changes_in(value, partial(setattr, node, field))
        elif isinstance(value, list):
            for child in value:
                if isinstance(child, ast.AST):
                    yield from _changes_in(child, partial(_put, value, child))


def _is_said(node: ast.AST) -> bool:
    """Tell whether a node is a docstring, a text with values, or what an error says."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS
    )


def _others(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in the place of a node."""
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                yield _with(node, ops=[*node.ops[:index], _other_operator(operator), *node.ops[index + 1 :]])
        case ast.BoolOp() | ast.BinOp() | ast.AugAssign() if type(node.op) in OPERATORS:
            yield _with(node, op=_other_operator(node.op))
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.If() | ast.IfExp() if not isinstance(node.test, ast.Constant):
            yield from (_with(node, test=ast.Constant(value)) for value in (True, False))
        case ast.Return() if ast.unparse(node) not in ("return", "return None"):
            yield ast.Return(None)
        case ast.Raise() | ast.Continue() | ast.Break() | ast.Delete() | ast.Expr():
            yield ast.Pass()
        case ast.Assign() if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            yield ast.Pass()
        case ast.List() | ast.Set():
            yield from (_with(node, elts=_without(node.elts, index)) for index in range(len(node.elts)))
        case ast.Dict():
            yield from (
                _with(node, keys=_without(node.keys, index), values=_without(node.values, index))
                for index in range(len(node.keys))
            )
        case ast.comprehension():
            yield from (_with(node, ifs=_without(node.ifs, index)) for index in range(len(node.ifs)))
        case ast.Call():
            for index, keyword in enumerate(node.keywords):
                if keyword.arg != "strict":  # of zip: it changes nothing that should ever happen
                    yield _with(node, keywords=_without(node.keywords, index))
            if isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
                yield _with(node, func=ast.Name(FUNCTIONS[node.func.id], ast.Load()))


def _other_operator(operator: ast.AST) -> ast.AST:
    return OPERATORS[type(operator)]()


def _with[Node: ast.AST](node: Node, **fields: object) -> Node:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _without[Item](items: list[Item], index: int) -> list[Item]:
    return items[:index] + items[index + 1 :]


def _shown(node: ast.AST, most: int = 80) -> str:
    """Write the beginning of a node on one line."""
    text = " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
    return text if len(text) <= most else f"{text[:most]}\u2026"
