"""Which small changes can be made to a module? cosmic-ray's operators, those it lacks, and a sample of what they make.

Only for the environment that has cosmic-ray: it hands a module's code to an operator, and takes the mutated code. Never
mutated are annotations, decorators, ``__all__``, and what only type checkers read.
"""

from __future__ import annotations

import ast
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator

from tests.bench.mutants_table import Module

__all__ = ["Mutant", "mutants"]

REPLACED = {
    "BinaryOperator": "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul BitOr_BitAnd BitAnd_BitOr",
    "ComparisonOperator": "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is",
    "UnaryOperator": "Delete_Not Delete_USub",
}
NAMES = [
    *(f"Replace{kind}_{pair}" for kind, pairs in REPLACED.items() for pair in pairs.split()),
    *("AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer", "ZeroIterationForLoop"),
]
"""Those of cosmic-ray's operators whose mutants differ little: most others make a TypeError at once."""

MARKS = ("parameters", "lambdef", "dictorsetmaker", "case_block")
"""Where a sign is no operator."""
Place = tuple[int, int]


class Swap(Operator):
    """What cosmic-ray lacks: ``+=`` and ``-=``, ``in`` and ``not in``, and None in place of a returned value."""

    def mutation_positions(self, node: parso.tree.NodeOrLeaf) -> Iterator[tuple[Place, Place]]:
        """Yield where a node can be mutated."""
        if self._swapped(node) is not None:
            yield node.start_pos, node.end_pos

    def mutate(self, node: parso.tree.NodeOrLeaf, index: int) -> parso.tree.NodeOrLeaf:
        """Return the mutated node."""
        return parso.parse(f"{node.get_first_leaf().prefix}{self._swapped(node)}")

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return none."""
        return ()

    def _swapped(self, node: parso.tree.NodeOrLeaf) -> str | None:
        code = node.get_code(include_prefix=False)
        if node.type == "return_stmt" and code not in ("return None", "return False"):
            return "return None"
        if node.parent is not None and node.parent.type in ("comparison", "expr_stmt"):
            return {"in": "not in", "not in": "in", "+=": "-=", "-=": "+="}.get(code)
        return None


@dataclass(frozen=True)
class Mutant:
    """A module with one small change."""

    module: Module
    line: int
    old: str
    new: str
    code: str
    """Of the whole module."""

    def __str__(self) -> str:
        return f"{self.module.path}:{self.line}\n  - {self.old}\n  + {self.new}"


def mutants(module: Module, root: Path, *, each: int, seed: int) -> tuple[list[Mutant], int]:
    """Return a sample of a module's mutants in the order of its lines, and how many there are."""
    source = (root / module.path).read_text(encoding="utf-8")
    unread, found = list(_unread(ast.parse(source))), list[tuple[Operator, int]]()
    for name in ["Swap", *NAMES]:
        operator = Swap() if name == "Swap" else get_operator(f"core/{name}")()
        nodes = [node for node in ast_nodes(get_ast(source)) for _ in operator.mutation_positions(node)]
        for occurrence, node in enumerate(nodes):
            is_operator = node.parent.type not in MARKS and not (name == "AddNot" and _is_negated_elsewhere(node))
            if is_operator and not any(first <= node.start_pos < last for first, last in unread):
                found.append((operator, occurrence))
    made: list[Mutant] = []
    for operator, occurrence in random.Random(f"{seed} {module.path}").sample(found, len(found)):
        code = mutate_code(source, operator, occurrence)
        with contextlib.suppress(SyntaxError):  # an alternative of a pattern looks like an operator
            compile(code, module.path, "exec")
            made.append(Mutant(module, *_difference(source, code), code))
        if len(made) == each:
            break
    return sorted(made, key=lambda mutant: (mutant.line, mutant.new)), len(found)


def _is_negated_elsewhere(node: parso.tree.BaseNode) -> bool:
    """Say whether a condition begins with what other operators turn round, or with what takes no ``not``."""
    condition = node.children[2 if node.type == "test" else 1]
    first = condition.children[0] if condition.type in ("and_test", "or_test") else condition
    return first.type in ("comparison", "not_test", "namedexpr_test")


def _unread(tree: ast.Module) -> Iterator[tuple[Place, Place]]:
    """Yield the parts of a module that no program reads."""
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                parts = [node.returns, *node.decorator_list]
            case ast.ClassDef():
                parts = [*node.decorator_list]
            case ast.arg() | ast.AnnAssign():
                parts = [node.annotation]
            case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.If(test=ast.Name(id="TYPE_CHECKING")):
                parts = [node]
        for part in filter(None, parts):
            yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)  # type: ignore[attr-defined]


def _difference(source: str, code: str) -> tuple[int, str, str]:
    """Return the number of the first line that differs, and that line without and with the change."""
    pairs = enumerate(zip(source.splitlines(), code.splitlines(), strict=False), start=1)
    return next((number, old.strip(), new.strip()) for number, (old, new) in pairs if old != new)
