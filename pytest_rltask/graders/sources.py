"""What a Python file says, comments and layout aside, part by part: its functions, methods, classes, and the rest.

A part is known by a digest of its syntax tree, and it mentions names: so whoever asks what a function may reach
follows names rather than guess at calls. What cannot be followed (a name made at run time, an import of one) is told,
so that everything can be taken to be reached.
"""

from __future__ import annotations

import ast
import hashlib
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

__all__ = [
    *("ANY_FILE", "ANY_NAME", "IMPORTERS", "TOP_LEVEL", "WORD"),
    *("Import", "Part", "Source", "digest_of", "read_source", "with_values"),
]

GIVEN = ".given"
"""Ends the name of a part that is a test without the values of its parameters, where each row tells its own."""
TOP_LEVEL = "top level"
"""Name of the part that holds a module's statements other than definitions and plain assignments."""

_LAYOUT = {"ctx", "kind", "type_comment"}
"""Fields of a syntax tree that say how something was written, or what its place says already."""
ANY_NAME = {
    "__dict__", "__init_subclass__", "__subclasses__", "attrgetter", "dir", "eval", "exec", "getmembers", "globals",
    "iter_modules", "locals", "methodcaller", "vars", "walk_packages",
}  # fmt: skip
"""Names with which code reaches others that it does not mention."""
ANY_FILE = {
    "SourceFileLoader", "iter_modules", "module_from_spec", "run_module", "run_path", "spec_from_file_location",
    "walk_packages",
}  # fmt: skip
"""Names with which code runs files that no import statement names."""
IMPORTERS = {"__import__", "import_module"}
_SAYING = {ast.Name, ast.Attribute, ast.alias, ast.Constant, ast.FunctionDef}
_MENTIONING = {*_SAYING, ast.arg, ast.keyword, ast.AsyncFunctionDef, ast.ClassDef}
_REACHING = {*_SAYING, ast.Import, ast.ImportFrom, ast.Call, ast.Assign}
"""Nodes that mention a name, and those that may reach a file: most do neither."""
_PLAIN_DECORATORS = {"dataclass", "pytest.mark", "dataclasses.dataclass", "pytest.fixture", "fixture"}
"""Decorators that keep no list of what they decorate."""
_PARSE_DISTURBS = sys.version_info < (3, 11, 8) or (3, 12) <= sys.version_info < (3, 12, 2)
"""Whether threads that parse at once may fail each other (CPython's issue 106905): pytest parses to show an error."""
_APART = """
import importlib.util, pathlib, pickle, sys
name, file, path = sys.argv[1:]
spec = importlib.util.spec_from_file_location(name, file)
sys.modules[name] = module = importlib.util.module_from_spec(spec)
sys.modules[name.partition(".")[0]] = module  # pickle asks for the package as well
spec.loader.exec_module(module)
sys.stdout.buffer.write(pickle.dumps(module.read_source(pathlib.Path(path))))
"""
WORD = re.compile(r"[^\W\d]\w*")
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


@dataclass(frozen=True)
class Part:
    """A function, method, class without its methods, or a statement of a module."""

    name: str
    digest: str
    mentions: frozenset[str]
    always: bool
    """Whether it counts though nothing mentions it: it runs on import, or hands itself to somebody."""
    shape: str = ""
    """Its digest without the thresholds; empty if it has none."""
    thresholds: tuple[float, ...] = ()
    """Literal thresholds of the grades that it makes, in order."""
    threshold_names: frozenset[str] = frozenset()
    """Attributes that are thresholds of the grades that it makes."""
    other_mentions: frozenset[str] = frozenset()
    """What it mentions elsewhere than there."""


@dataclass(frozen=True)
class Import:
    """A module that a file imports, wherever in it."""

    level: int
    """Leading dots."""
    module: str
    names: tuple[str, ...] = ()
    """What is imported from it; each may be a module of its own."""


@dataclass
class Source:
    """What a file says."""

    parts: dict[str, Part] = field(default_factory=dict)
    imports: list[Import] = field(default_factory=list)
    scripts: set[str] = field(default_factory=set)
    """Python files that it names in a string."""
    reaches_any_name: bool = False
    runs_any_file: bool = False


def read_source(path: Path) -> Source:
    """Return what a file says; one that is no Python, or broken, is known by its bytes alone.

    Raises:
        OSError: it cannot be read.
    """
    if _PARSE_DISTURBS and threading.current_thread() is not threading.main_thread():
        return _read_apart(path)
    return _read_here(path)


def _read_apart(path: Path) -> Source:
    """Read a file in a process of its own."""
    with path.open("rb"):  # what cannot be read is told here
        command = [sys.executable, "-I", "-S", "-c", _APART, __name__, __file__, str(path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        return _read_here(path)
    source = pickle.loads(done.stdout)
    assert isinstance(source, Source), "it ran this module"
    return source


def _read_here(path: Path) -> Source:
    data = path.read_bytes()
    if path.suffix in (".py", ".pyw"):
        try:
            return _parsed(ast.parse(data))
        except (SyntaxError, ValueError, RecursionError):
            pass
    return Source({"": Part("", digest_of(data), frozenset(), always=True)})


def with_values(parts: Mapping[str, Part], without: str) -> dict[str, Part]:
    """Return a file's parts, tests with the values of their parameters, save one by name."""
    kept = {name: part for name, part in parts.items() if not name.endswith(GIVEN)}
    if bare := parts.get(f"{without}{GIVEN}"):
        kept[without] = replace(bare, name=without)
    return kept


def digest_of(data: bytes | str) -> str:
    """Return 16 hex digits that identify data."""
    return hashlib.sha256(data.encode(errors="replace") if isinstance(data, str) else data).hexdigest()[:16]


def _parsed(tree: ast.Module) -> Source:
    source = Source()
    groups: dict[str, tuple[list[ast.AST], bool]] = {}

    def add(name: str, node: ast.AST, *, always: bool) -> None:
        nodes, counts = groups.get(name, ([], False))
        groups[name] = [*nodes, node], counts or always

    for name, node, always in _split(_without_docstring(tree.body)):
        add(name, node, always=always)
    source.parts = {name: _part(name, nodes, always=always) for name, (nodes, always) in groups.items()}
    for node in _nodes(tree):
        if node.__class__ in _REACHING:
            _note_reach(node, source)
    return source


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if is_docstring else body


def _split(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.AST, bool]]:
    """Yield a module's parts: name, syntax tree, and whether it counts though nothing mentions it."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, _unmarked(node), node.name.startswith("pytest_") or _is_handed_out(node)
                yield from ((f"{node.name}.marker", mark, False) for mark in node.decorator_list if _is_ours(mark))
                if any(map(_gives_values, node.decorator_list)):
                    yield f"{node.name}{GIVEN}", _unmarked(node, values=False), False
            case ast.ClassDef():
                always = bool(node.keywords) or _is_handed_out(node)
                yield from ((name, part, always) for name, part in _split_class(node))
            case _:
                yield _assigned(node) or TOP_LEVEL, node, True


def _split_class(node: ast.ClassDef) -> Iterator[tuple[str, ast.AST]]:
    rest = []
    for inner in node.body:
        name = inner.name if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) else _assigned(inner)
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{node.name}.{name}", _unmarked(inner)
            yield from ((f"{node.name}.{name}.marker", mark) for mark in inner.decorator_list if _is_ours(mark))
            if any(map(_gives_values, inner.decorator_list)):
                yield f"{node.name}.{name}{GIVEN}", _unmarked(inner, values=False)
        elif name:
            yield f"{node.name}.{name}", inner
        else:
            rest.append(inner)
    yield node.name, ast.ClassDef(node.name, node.bases, node.keywords, rest, node.decorator_list)


def _assigned(node: ast.AST) -> str:
    """Return the name to which a statement assigns, if it does that alone."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return ""


def _unmarked(node: ast.FunctionDef | ast.AsyncFunctionDef, *, values: bool = True) -> ast.AST:
    """Leave the marker of a test's task out, which is a part of its own, and maybe the values of its parameters."""
    kept = [mark for mark in node.decorator_list if not _is_ours(mark) and (values or not _gives_values(mark))]
    copied = type(node)(**{name: getattr(node, name) for name in node._fields if hasattr(node, name)})
    copied.decorator_list = kept
    return copied


def _is_ours(decorator: ast.AST) -> bool:
    return _dotted(decorator).endswith("mark.rltask")


def _gives_values(decorator: ast.AST) -> bool:
    return _dotted(decorator).rpartition(".")[2] == "parametrize"


def _is_handed_out(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Say whether a decorator may put a definition into a list from which others take it."""
    for decorator in node.decorator_list:
        name = _dotted(decorator)
        plain = name.startswith("pytest.mark.") or name in _PLAIN_DECORATORS
        is_fixture_by_other_means = name.endswith("fixture") and isinstance(decorator, ast.Call)  # autouse, or a name
        if not plain or is_fixture_by_other_means:
            return True
    return False


def _dotted(node: ast.AST) -> str:
    """Return a name with its dots, as in ``pytest.mark.rltask(...)``; what is called or indexed by its name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_dotted(value)}.{name}"
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _dotted(inner)
    return ""


def _part(name: str, trees: list[ast.AST], *, always: bool) -> Part:
    texts, imports = list[str](), list[str]()
    told = [one for tree in trees for one in _lambdas(tree)] if name.endswith(".marker") else trees
    for tree in told:
        (imports if isinstance(tree, ast.Import | ast.ImportFrom) else texts).append(_dump(tree, None))
    nodes = [node for tree in trees for node in _nodes(tree)]
    grades = {id(keyword): keyword for node in nodes for keyword in _grade_keywords(node)}
    names = {number: _threshold_name(keyword) for number, keyword in grades.items()}
    numbers = {number: _threshold(keyword) for number, keyword in grades.items()}
    thresholds: list[float] = []

    def blank(node: ast.AST) -> bool:
        value = numbers.get(id(node))
        thresholds.extend([] if value is None else [value])
        return value is not None

    is_literal = any(number is not None for number in numbers.values())
    shape = "".join(_dump(tree, blank) for tree in trees) if is_literal else ""  # which lists the thresholds
    mentions = frozenset(_mentions(nodes))
    other = mentions
    if told is not trees or any(names.values()) or is_literal:
        marks = {number for number in grades if names[number] or numbers[number] is not None}
        other = frozenset(_mentions(node for tree in told for node in _nodes(tree, but=marks)))
    return Part(
        name,
        digest_of("".join([*texts, *sorted(imports)])),  # the order of imports is layout
        mentions,
        always,
        digest_of(shape) if thresholds else "",
        tuple(thresholds),
        frozenset(filter(None, names.values())),
        other,
    )


def _lambdas(marker: ast.AST) -> list[ast.AST]:
    """Return what of a marker is code. What else it makes, the task's fields tell; runs and band grade nothing."""
    return [node for node in ast.walk(marker) if isinstance(node, ast.Lambda)]


def _grade_keywords(node: ast.AST) -> list[ast.keyword]:
    """Return the keywords of a grade that is made; other functions may take a threshold that makes a score."""
    is_grade = isinstance(node, ast.Call) and _dotted(node.func).rpartition(".")[2] == "Grade"
    return node.keywords if is_grade else []  # type: ignore[attr-defined]


def _dump(node: object, blank: Callable[[ast.AST], bool] | None) -> str:
    """Return a syntax tree as text, the same in every version of Python; nodes may be left blank."""
    if isinstance(node, list):
        return f"[{','.join([_dump(one, blank) for one in node])}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if blank is not None and blank(node):
        return "threshold"
    inside = []
    for name in _telling(node._fields):
        value = getattr(node, name, None)
        if value is None or value == []:
            continue
        inside.append(f"{name}={_dump(value, blank)}")
    return f"{node.__class__.__name__}({','.join(inside)})"


@cache
def _telling(fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in fields if name not in _LAYOUT)


def _threshold(node: ast.AST) -> float | None:
    """Return the number of a keyword ``threshold=0.8``."""
    match node:
        case ast.keyword(arg="threshold", value=ast.Constant(value=float() | int() as value)):
            return float(value)
    return None


def _threshold_name(node: ast.AST) -> str:
    """Return the attribute of a keyword ``threshold=self.task.min_accuracy``."""
    match node:
        case ast.keyword(arg="threshold", value=ast.Attribute(attr=name)):
            return name
    return ""


def _nodes(tree: ast.AST, but: Container[int] = ()) -> list[ast.AST]:
    """Return a tree's nodes, level by level, without what tells layout; those left out of which the id is told."""
    found = [] if id(tree) in but else [tree]
    for node in found:  # which grows meanwhile
        for value in [getattr(node, name, None) for name in _telling(node._fields)]:
            if value.__class__ is list:
                found += [one for one in value if isinstance(one, ast.AST) and id(one) not in but]
            elif isinstance(value, ast.AST) and id(value) not in but:
                found.append(value)
    return found


def _mentions(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if node.__class__ not in _MENTIONING:
            continue
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.Constant(value=str() as text):
                yield from WORD.findall(text)
            case ast.keyword(arg=str() as name):
                yield name
            case ast.alias(name=name, asname=str()):
                yield from name.split(".")  # what is imported under its own name is mentioned where it is used
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def _note_reach(node: ast.AST, source: Source) -> None:
    """Take in what a node imports, runs, or reaches by a name that it does not mention."""
    match node:
        case ast.Import(names=names):
            source.imports += [Import(0, alias.name) for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            source.imports.append(Import(level, module or "", tuple(alias.name for alias in names)))
        case ast.Call():
            _note_call(node, source)
        case ast.Constant(value=str() as text) if text.endswith(".py"):
            source.scripts.add(text)
        case ast.Constant(value=str() as text) if _DOTTED.fullmatch(text):
            source.imports.append(Import(0, text))  # python -m pkg.module, a plugin, a name to be loaded
        case ast.Assign(targets=[ast.Name(id="pytest_plugins")]):
            texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
            source.imports += [Import(0, text) for text in texts if isinstance(text, str)]
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) | ast.FunctionDef(name=name):
            source.reaches_any_name |= name in ANY_NAME
            source.runs_any_file |= name in ANY_FILE


def _note_call(node: ast.Call, source: Source) -> None:
    name = _dotted(node.func).rpartition(".")[2]
    text = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
    if name in IMPORTERS:
        if isinstance(text, str):
            dots = len(text) - len(text.lstrip("."))
            source.imports.append(Import(dots, text.lstrip(".")))
        else:
            source.runs_any_file = True
    elif name == "getattr" and not (len(node.args) > 1 and isinstance(node.args[1], ast.Constant)):
        source.reaches_any_name = True
