"""What grades a task's trials is known by content: any change that may decide over pass or miss, and no mere layout."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.graders.fingerprint import Grader, Graders
from pytest_rltask.graders.sources import read_source
from pytest_rltask.tools import DefinitionError

TASK = """
    from dataclasses import dataclass
    from typing import Any
    from pytest_rltask import Episode, Grade, Task, tool
    from suite.scoring import score as scored
    from . import rules

    FLOOR = 0.2

    class TheEpisode(rules.Base):
        def __init__(self, task): self.task = task
        @property
        def prompt(self): return "Work."
        @tool
        def work(self) -> str:
            "Work."
            return "done"
        def grade(self):
            from suite.late import lately
            return Grade(scored(1) + lately(), threshold=self.task.floor, passed=None)

    @dataclass(frozen=True)
    class The(Task):
        floor: float = 0.5
        rule: Any = None
        def open(self, seed): return TheEpisode(self)

    @dataclass(frozen=True)
    class Other(Task):
        def open(self, seed): return other_episode()

    def other_episode():
        return 1
"""
FILES = {
    "suite/__init__.py": "SETTING = 1\n",
    "suite/task.py": TASK,
    "suite/scoring.py": "from suite import deep\ndef score(x): return deep.DEPTH * x\ndef unused():\n    return 1\n",
    "suite/deep.py": "DEPTH = 0.3\n",
    "suite/late.py": "def lately():\n    return helper()\ndef helper():\n    return 0.1\n",
    "suite/rules.py": "from pytest_rltask import Episode\nclass Base(Episode, abstract=True):\n    RULE = 3\n"
    "    def finish(self):\n        return strict()\ndef strict():\n    return 1\n",
    "suite/test_it.py": """
        import pytest
        from suite.task import Other, The

        def close_to(value): return value - 0.01

        @pytest.mark.rltask(task=The(), runs=3)
        def test_it(trial):
            assert trial.score >= close_to(0.5)

        @pytest.mark.rltask(task=Other())
        def test_other(trial):
            assert trial.score >= 0.9
    """,
    "conftest.py": "import pytest\n@pytest.fixture(autouse=True)\ndef strictness():\n    yield 1\n",
}


class Project:
    """A suite of several files, imported anew after each change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        (self.root / name).write_text(text.replace(old, new))

    def forget(self) -> None:
        """Have everything imported anew."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "suite"]:
            del sys.modules[name]
        for cache in self.root.rglob("*.pyc"):
            cache.unlink()
        importlib.invalidate_caches()

    def grader(self, make: Callable[[Any], Any] = lambda module: module.The()) -> Grader:
        self.forget()
        tests, task = importlib.import_module("suite.test_it"), importlib.import_module("suite.task")
        graders = Graders(self.root, [str(self.root / "conftest.py")])
        return graders.of(make(task), tests.test_it, path=self.root / "suite/test_it.py", name="test_it")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Project(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "suite"]:
        del sys.modules[name]


def differences(project: Project, *changes: tuple[str, str, str], **make: Any) -> list[str]:
    before = project.grader(**make)
    for change in changes:
        project.change(*change)
    return list(before.differences(project.grader(**make)))


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("suite/task.py", "passed=None", "passed=True", "suite/task.py: TheEpisode.grade"),
        ("suite/task.py", '"Work."\n        return', '"Work hard."\n        return', "suite/task.py: TheEpisode.work"),
        ("suite/task.py", "FLOOR = 0.2", "FLOOR = 0.3", "suite/task.py: FLOOR"),
        ("suite/task.py", "floor: float = 0.5", "floor: float = 0.6", "floor was 0.5, is 0.6"),
        ("suite/scoring.py", "DEPTH * x", "DEPTH + x", "suite/scoring.py: score"),
        ("suite/deep.py", "0.3", "0.4", "suite/deep.py: DEPTH"),
        ("suite/late.py", "0.1", "0.2", "suite/late.py: helper"),
        ("suite/rules.py", "return 1", "return 2", "suite/rules.py: strict"),
        ("suite/rules.py", "RULE = 3", "RULE = 4", "suite/rules.py: Base.RULE"),
        ("suite/__init__.py", "SETTING = 1", "SETTING = 2", "suite/__init__.py: SETTING"),
        ("suite/test_it.py", "close_to(0.5)", "close_to(0.6)", "suite/test_it.py: test_it"),
        ("suite/test_it.py", "value - 0.01", "value - 0.02", "suite/test_it.py: close_to"),
        ("conftest.py", "yield 1", "yield 2", "conftest.py: strictness"),
    ],
)
def test_a_change_is_told_by_file_and_function(project: Project, file: str, old: str, new: str, told: str):
    assert differences(project, (file, old, new)) == [told]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("suite/task.py", "(self, task): self", "(\n      self, task\n    ):\n        # why\n        self"),
        ("suite/task.py", "\nFLOOR", '\n\n\n# comment\nFLOOR'),
        ("suite/scoring.py", "return 1", "return 2"),  # of a function that nothing mentions
        ("suite/task.py", "return 1", "return 2"),  # of another task
        ("suite/test_it.py", ">= 0.9", ">= 0.8"),  # of another test
        ("suite/test_it.py", "runs=3", "runs=30"),
        ("suite/__init__.py", "SETTING", '"""A suite."""\nSETTING'),
    ],
)  # fmt: skip
def test_what_grades_nothing_is_no_change(project: Project, file: str, old: str, new: str):
    assert differences(project, (file, old, new)) == []


def test_a_new_helper_is_told_as_new(project: Project):
    told = differences(
        project,
        ("suite/deep.py", "DEPTH = 0.3", "DEPTH = 0.3\ndef deeper():\n    return 1"),
        ("suite/scoring.py", "DEPTH * x", "DEPTH * x * deep.deeper()"),
    )

    assert told == ["suite/deep.py: deeper (new)", "suite/scoring.py: score"]


@pytest.mark.parametrize(
    "reach",
    [
        "import importlib\nscored = importlib.import_module('suite.chosen').rate",
        "import importlib\nscored = importlib.import_module('.chosen', 'suite').rate",
        "import importlib\nscored = importlib.import_module('suite.' + 'chosen').rate",
        "import suite.chosen as other\nscored = getattr(other, 'ra' + 'te')",
        "from suite.chosen import *\nscored = rate",
        "import runpy\nscored = runpy.run_path(__file__.replace('task', 'chosen'))['rate']",
        "import pathlib\nWORKER = pathlib.Path(__file__).with_name('chosen.py')\nscored = lambda x: 1",
        "COMMAND = ['python', '-m', 'suite.chosen']\nscored = lambda x: 1",
        "try:\n    from suite.chosen import rate as scored\nexcept ImportError:\n    scored = None",
        "import suite.chosen as other\nscored = other.TABLE['rate']",
        "from suite import chosen\nscored = next(kind for kind in chosen.Kind.__subclasses__())().rate",
    ],
)
def test_code_that_is_reached_by_a_detour_counts(project: Project, reach: str):
    project.write(
        "suite/chosen.py",
        "def rate(x):\n    return 1\nTABLE = {'rate': rate}\n"
        "class Kind:\n    pass\nclass A(Kind):\n    def rate(self, x):\n        return 5\n",
    )
    project.change("suite/task.py", "from suite.scoring import score as scored", reach)
    edited = "return 5" if "Kind" in reach else "return 1"

    (told,) = differences(project, ("suite/chosen.py", edited, "return 7"))

    assert told.startswith("suite/chosen.py: ")


def test_functions_and_objects_in_fields_count(project: Project):
    project.write("suite/fields.py", "class Rule:\n    def __init__(self, n): self.n = n\n    def ok(self): return 1\n")

    def make(number: int) -> Callable[[Any], Any]:
        return lambda module: module.The(rule=importlib.import_module("suite.fields").Rule(number))

    assert list(project.grader(make(1)).differences(project.grader(make(1)))) == []
    assert len(list(project.grader(make(1)).differences(project.grader(make(2))))) == 1
    assert differences(project, ("suite/fields.py", "return 1", "return 2"), make=make(1)) == [
        "suite/fields.py: Rule.ok"
    ]


def test_a_short_representation_hides_no_change(project: Project):
    text = "class Rule:\n    def __init__(self, n): self.n = n\n    def __repr__(self): return 'Rule()'\n"
    project.write("suite/fields.py", text)

    def make(number: int) -> Callable[[Any], Any]:
        return lambda module: module.The(rule=importlib.import_module("suite.fields").Rule(number))

    assert project.grader(make(1)).digest == project.grader(make(1)).digest != project.grader(make(2)).digest


@pytest.mark.parametrize("field", ["cached", "functools.partial(plain, 1)", "Rule().bound", "[plain]", "{'a': plain}"])
def test_functions_count_however_they_are_wrapped(project: Project, field: str):
    project.write(
        "suite/wrapped.py",
        "import functools\ndef plain(n=1):\n    return 1\n@functools.cache\ndef cached():\n    return 1\n"
        "class Rule:\n    def bound(self):\n        return 1\n",
    )

    def make(module: Any) -> Any:
        names = vars(importlib.import_module("suite.wrapped"))
        return module.The(rule=eval(field, dict(names)))

    told = differences(project, ("suite/wrapped.py", "return 1", "return 2"), make=make)

    assert any(one.startswith("suite/wrapped.py: ") for one in told)


def test_a_task_without_a_source_is_known_by_its_byte_code(project: Project):
    def make(score: float) -> Callable[[Any], Any]:
        def made(module: Any) -> Any:
            space: dict[str, Any] = {"__name__": "suite.task", "Task": module.Task}
            exec(f"class Made(Task):\n    def open(self, seed): return {score}", space)
            return space["Made"]()

        return made

    grader = project.grader(make(0.5))

    assert grader.has_no_source
    assert grader.digest == project.grader(make(0.5)).digest
    assert list(grader.differences(project.grader(make(0.6)))) == ["(no source) suite.task: Made.open"]


# ---- what a task names ----


def test_named_sources_count(project: Project):
    project.write("suite/data/labels.csv", "a,1\n")
    project.write("suite/data/more.csv", "b,1\n")
    project.change(
        "suite/task.py", "class The(Task):", 'class The(Task):\n    sources = ("data/*.csv", "pytest_timeout_x",)'
    )
    with pytest.raises(DefinitionError, match=r"The.sources names 'pytest_timeout_x', which is no file .* no package"):
        project.grader()
    project.change("suite/task.py", ' "pytest_timeout_x",', ' "iniconfig",')

    assert "package iniconfig" in project.grader().files
    assert differences(project, ("suite/data/more.csv", "1", "2")) == ["suite/data/more.csv: its content"]
    project.change("suite/task.py", 'sources = ("data/*.csv", "iniconfig",)', 'sources = "data"')
    with pytest.raises(DefinitionError, match="sources is 'data'; write a tuple"):
        project.grader()


# ---- thresholds ----


def test_a_threshold_is_told_from_other_changes(project: Project):
    project.change("suite/task.py", ", passed=None", "")
    before = project.grader()

    assert before.thresholds(project.grader(lambda module: module.The(floor=0.7))) == {0.5: 0.7}
    project.change("suite/task.py", "threshold=self.task.floor", "threshold=0.6")
    literal = project.grader()
    assert before.thresholds(literal) is None
    project.change("suite/task.py", "threshold=0.6", "threshold=0.9")
    assert literal.thresholds(project.grader()) == {0.6: 0.9}
    project.change("suite/test_it.py", "close_to(0.5)", "close_to(0.6)")
    assert literal.thresholds(project.grader()) == {0.6: 0.9}
    project.change("suite/deep.py", "0.3", "0.4")
    assert literal.thresholds(project.grader()) is None


def test_a_field_that_is_read_for_more_is_no_mere_threshold(project: Project):
    project.change("suite/task.py", "scored(1)", "scored(self.task.floor)")

    assert project.grader().thresholds(project.grader(lambda module: module.The(floor=0.7))) is None


def test_a_threshold_of_another_function_is_none_of_a_grade(project: Project):
    project.change("suite/task.py", "scored(1)", "scored(1) + cut(threshold=0.5)")
    project.change("suite/task.py", ", passed=None", "")
    before = project.grader()
    project.change("suite/task.py", "cut(threshold=0.5)", "cut(threshold=0.6)")

    assert before.thresholds(project.grader()) is None


def test_code_in_the_marker_is_no_mere_assertion(project: Project):
    project.change("suite/test_it.py", "task=The()", "task=The(rule=lambda score: score > 1)")
    before = project.grader()
    project.change("suite/test_it.py", "score > 1", "score > 2")
    after = project.grader()

    assert list(before.differences(after)) == ["suite/test_it.py: test_it.marker"]
    assert before.thresholds(after) is None


# ---- files ----

statements = st.sampled_from(
    ["x = 1", "def f(a, b=2):\n    return a + b", "class C:\n    y = 1\n    def m(self): ...", "f(3)"]
)


@given(st.lists(statements, max_size=5), st.lists(st.sampled_from(["", "# note", "    # note", "\n"]), max_size=6))
def test_layout_is_no_change(tmp_path_factory: Any, lines: list[str], between: list[str]):
    folder = tmp_path_factory.getbasetemp()
    plain, spaced = folder / "plain.py", folder / "spaced.py"
    plain.write_text("\n".join(lines))
    spaced.write_text("\n".join(f"{text}\n{line}" for line, text in zip(lines, [*between, *[""] * 5], strict=False)))

    assert read_source(plain).parts == read_source(spaced).parts


@given(st.binary(max_size=40))
def test_whatever_a_file_holds_it_can_be_read(tmp_path_factory: Any, data: bytes):
    path = tmp_path_factory.getbasetemp() / "any.py"
    path.write_bytes(data)

    source = read_source(path)

    assert all(part.digest for part in source.parts.values())


def test_a_method_is_known_as_a_function_is(project: Project):
    text = (project.root / "suite/test_it.py").read_text()
    head, mark, tests = text.partition("@pytest.mark.rltask(task=The()")
    inside = head + "class TestIt:\n" + textwrap.indent(mark + tests, "    ").replace("(trial)", "(self, trial)")
    project.write("suite/test_it.py", inside)

    def grader() -> Grader:
        project.forget()
        tests, task = importlib.import_module("suite.test_it"), importlib.import_module("suite.task")
        kind = tests.TestIt
        return Graders(project.root).of(
            task.The(), kind.test_it, path=project.root / "suite/test_it.py", name="test_it", cls=kind
        )

    before = grader()
    project.change("suite/test_it.py", "runs=3", "runs=4")
    assert before.digest == grader().digest
    project.change("suite/test_it.py", "close_to(0.5)", "close_to(0.6)")
    assert list(before.differences(grader())) == ["suite/test_it.py: TestIt.test_it"]
    assert before.thresholds(grader()) == {}
