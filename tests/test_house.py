"""The house keeps its order: imports point downwards, in no circle, and to what a folder shows others.

FLOORS states the order once, from the top to the bottom; CONTRIBUTING.md draws it. Imports inside of functions, and
those for type checkers alone, count as well: an order with exceptions is none.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import pytest_rltask

ROOT = Path(__file__).parents[1]
PACKAGE = "pytest_rltask"
FLOORS = (
    ("__main__",),
    ("plugin", "cli"),
    ("suite", "commands"),
    ("audit", "export", "envs"),
    ("engines",),
    ("analysis",),
    ("report", "starter"),
    ("trial",),
    ("models",),
    ("verdict",),
    ("proof",),
    ("coding",),
    ("sandbox",),
    ("sandbox.backends",),
    ("sandbox.watcher",),
    ("sandbox.inside",),
    ("sandbox.result",),
    ("graders",),
    ("run",),
    ("task",),
    ("media",),
    ("judges",),
    ("tools",),
    ("source",),
    ("clock",),
)
CLOSED = ("sandbox",)
"""Folders of which others may use what they export, and no file."""
MOST_MODULES, MOST_LINES = 9, 400
HEAVY = {"anthropic", "asyncio", "httpx", "jinja2", "numpy", "pydantic", "ray", "sklearn", "torch", "yaml"}
"""Libraries that an unrelated run of pytest must not wait for."""
STANDARD = set(sys.stdlib_module_names)


@dataclass(frozen=True)
class Import:
    """One imported name."""

    file: str
    """Module that imports."""
    line: int
    module: str
    """Module that it imports, or imports from."""
    name: str
    """What of it; empty for the module itself."""
    at_start: bool
    """Whether it is imported as soon as the importing module is."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}{'.' * bool(self.name)}{self.name}"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}


def imports_of(module: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = {id(one) for node in tree.body if _is_for_types(node) for one in ast.walk(node)}
    inner = {
        id(one)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for one in ast.walk(node)
    }
    for node in ast.walk(tree):
        at_start = id(node) not in unread | inner
        if isinstance(node, ast.ImportFrom):
            if node.level:
                continue  # within a suite; ruff lets nobody write it here
            for alias in node.names:
                named = f"{node.module}.{alias.name}"
                target, name = (named, "") if named in FILES else (node.module or "", alias.name)
                yield Import(module, node.lineno, target, name, at_start)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name, "", at_start)


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


IMPORTS = [one for module, path in FILES.items() for one in imports_of(module, path)]
OURS = [one for one in IMPORTS if one.module.partition(".")[0] == PACKAGE]


def room_of(module: str) -> str:
    """Return which entry of FLOORS a module belongs to: the longest that begins its name."""
    inner = module.removeprefix(PACKAGE).removeprefix(".")
    rooms = [room for floor in FLOORS for room in floor if inner == room or inner.startswith(f"{room}.")]
    assert rooms or not inner, f"{module} stands on no floor: put it into a folder, or name it in FLOORS"
    return max(rooms, key=len, default="")


def floor_of(module: str) -> int:
    room = room_of(module)
    return next((number for number, floor in enumerate(FLOORS) if room in floor), -1)


def folder_of(module: str) -> str:
    return module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]


def test_imports_point_downwards() -> None:
    wrong = [
        str(one)
        for one in OURS
        if one.module != PACKAGE and one.file != PACKAGE and not _is_parent(one.file, one.module)
        if floor_of(one.file) > floor_of(one.module)
        or (floor_of(one.file) == floor_of(one.module) and room_of(one.file) != room_of(one.module))
    ]
    assert wrong == []


def _is_parent(package: str, module: str) -> bool:
    """A folder's front door names what lies in it, be that on a lower floor."""
    return module.startswith(f"{package}.")


def test_no_files_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in FILES}
    for one in OURS:
        if one.module in FILES and not _is_parent(one.file, one.module) and one.file != PACKAGE:
            graph[one.file].add(one.module)
    circles, done = [], set[str]()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            circles.append(" -> ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for below in sorted(graph[module]):
                visit(below, [*path, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    assert circles == []


def test_no_folder_reaches_into_anothers_own_names() -> None:
    wrong = [
        str(one)
        for one in OURS
        if one.file != PACKAGE and one.module in FILES and folder_of(one.file) != folder_of(one.module)
        if any(part.startswith("_") and not part.startswith("__") for part in [*one.module.split("."), one.name])
    ]
    assert wrong == []


@pytest.mark.parametrize("room", CLOSED)
def test_a_closed_folder_is_used_by_its_front_door(room: str) -> None:
    folder = f"{PACKAGE}.{room}"
    inside = (folder, f"{folder}.")
    wrong = [
        str(one)
        for one in OURS
        if one.file != folder and not one.file.startswith(inside[1]) and one.module.startswith(inside[1])
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ["inside", "watcher"])
def test_programs_beside_the_agent_need_nothing_but_the_standard_library(room: str) -> None:
    folder = f"{PACKAGE}.sandbox.{room}"
    own = {"watcher": f"{folder}."}.get(room, "nothing")
    programs = [
        one for one in IMPORTS if one.file.startswith(f"{folder}.") and one.at_start
    ]  # substitutes patch others
    wrong = [
        str(one) for one in programs if one.module.partition(".")[0] not in STANDARD and not one.module.startswith(own)
    ]
    assert wrong == []


def test_benchmarks_use_what_the_package_exports() -> None:
    exported = set(pytest_rltask.__all__)
    made = [one for path in sorted((ROOT / "benchmarks").rglob("*.py")) for one in imports_of(module_of(path), path)]
    ours = [one for one in made if one.module.partition(".")[0] == PACKAGE]
    wrong = [str(one) for one in ours if one.module != PACKAGE or one.name not in exported]
    assert wrong == []


def test_what_the_plugin_loads_in_any_run_is_light() -> None:
    """Follow the imports that are made as the plugin is loaded, and look for a heavy one."""
    seen, todo = set[str](), [f"{PACKAGE}.plugin"]
    wrong = []
    while todo:
        module = todo.pop()
        parents = [module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)]
        for one in {module, *parents} & FILES.keys() - seen:
            seen.add(one)
            for made in (made for made in IMPORTS if made.file == one and made.at_start):
                todo.append(made.module)
                if made.module.partition(".")[0] in HEAVY:
                    wrong.append(str(made))
    assert wrong == []
    assert f"{PACKAGE}.suite.options" in seen, "the walk has found the way"


def test_loading_the_plugin_loads_nothing_heavy() -> None:
    code = (
        f"import sys, pytest; before = set(sys.modules); import {PACKAGE}.plugin; print(*(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & {name.partition(".")[0] for name in loaded} == set()


def test_the_top_of_the_package_is_short() -> None:
    assert len([module for module in FILES if module.count(".") <= 1 and FILES[module].parent.name == PACKAGE]) <= (
        MOST_MODULES
    )


@pytest.mark.parametrize("folder", [PACKAGE, "benchmarks", "tests", ".ci"])
def test_no_file_is_long(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES} == {}


def test_each_folder_says_what_it_is_for() -> None:
    doors = [path for path in FILES.values() if path.name == "__init__.py"]
    silent = [str(path) for path in doors if len(ast.get_docstring(ast.parse(path.read_text())) or "") < 60]
    assert silent == []


def test_no_test_file_takes_the_name_of_another_module() -> None:
    """Pytest puts folders of tests on the import path, where every process of theirs looks first."""
    names = [path.stem for path in sorted((ROOT / "tests").rglob("*.py")) if path.stem not in ("conftest", "__init__")]
    assert [name for name in names if name in STANDARD or names.count(name) > 1] == []
