"""How a grader makes its grade, read from its code: what it returns, and what it gives the score and the threshold."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from pytest_rltask.source.written import written_at
from pytest_rltask.task import Grade

__all__ = ["wrong_grades"]

FIELDS = [field.name for field in dataclasses.fields(Grade)]
NUMBERS = ("score", "threshold")
WRITE = "write `return Grade(score=..., threshold=...)`"


def wrong_grades(kind: type, method: Any) -> Iterator[str]:
    """Yield what is certainly wrong with the grades that a method of an episode makes."""
    function = inspect.unwrap(method)
    if not isinstance(function, FunctionType):
        return
    try:
        lines, first = inspect.getsourcelines(function)
        (tree,) = ast.parse(textwrap.dedent("".join(lines))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return
    if not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    own = list(_own(tree))
    name = f"{kind.__name__}.{method.__name__}"

    def at(node: ast.AST) -> str:
        return written_at(function, first + getattr(node, "lineno", 1) - 1)

    returns = [node for node in own if isinstance(node, ast.Return)]
    if not returns and not any(isinstance(node, ast.Raise) for node in own) and not _is_stub(tree):
        yield f"{at(tree)}: {name} returns nothing; {WRITE}"
    for one in returns:
        if what := _no_grade(one.value, function):
            yield f"{at(one)}: {name} returns {what}, not a Grade; {WRITE}"
    for node in own:
        if isinstance(node, ast.Call) and _is_grade(node.func, function):
            yield from (f"{at(node)}: {name}: {wrong}" for wrong in _wrong_call(node))


def _own(tree: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions and classes within it."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _is_stub(tree: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return all(isinstance(node, ast.Expr | ast.Pass) and not _calls(node) for node in tree.body)


def _calls(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Call) for one in ast.walk(node))


def _is_grade(node: ast.AST | None, function: FunctionType) -> bool:
    return isinstance(node, ast.Name) and function.__globals__.get(node.id) is Grade


def _no_grade(value: ast.expr | None, function: FunctionType) -> str:
    """Say what a statement returns if that is certainly no grade; empty if it may be one."""
    match value:
        case None:
            return "None"
        case ast.Constant(value=constant):
            return repr(constant)
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return "whether something holds"
        case ast.Tuple() | ast.List() | ast.Dict() | ast.Set() | ast.JoinedStr():
            return f"a {type(value).__name__.lower().replace('joinedstr', 'string')}"
        case _ if _is_grade(value, function):
            return "the class Grade itself"
    return ""


def _wrong_call(node: ast.Call) -> Iterator[str]:
    if any(isinstance(one, ast.Starred) for one in node.args) or any(one.arg is None for one in node.keywords):
        return  # nobody knows what it is given
    given = dict(zip(FIELDS, node.args, strict=False)) | {str(one.arg): one.value for one in node.keywords}
    if len(node.args) > len(FIELDS):
        yield f"Grade takes at most {len(FIELDS)} values; write Grade(score=..., threshold=...)"
    for name in given.keys() - set(FIELDS):
        near = difflib.get_close_matches(name, FIELDS, n=1) or ["metrics={...}"]
        yield f"Grade has no {name!r}: it has {', '.join(FIELDS)}; write {near[0]}"
    if "score" not in given:
        yield "Grade needs a score; write Grade(score=...)"
    for name in NUMBERS:
        yield from _wrong_number(name, given.get(name))
    for name in ("passed", "cheated"):
        value = given.get(name)
        if isinstance(value, ast.Constant) and not isinstance(value.value, bool) and value.value is not None:
            yield f"{name}={value.value!r} is neither True nor False; write {name}=True or {name}=False"


def _wrong_number(name: str, value: ast.expr | None) -> Iterator[str]:
    match value:
        case ast.Constant(value=bool() as constant):
            instead = f"Grade(score={float(constant)}, passed={constant})" if name == "score" else "threshold=0.5"
            yield f"{name}={constant} is no number; write {instead}"
        case ast.Constant(value=None) if name == "score":
            yield "score=None is no number; write Grade(score=0.0, reason=...), or raise for a fault of the grader"
        case ast.Constant(value=str() | bytes() as text):
            yield f"{name}={text!r} is no number; write {name}=0.5"
